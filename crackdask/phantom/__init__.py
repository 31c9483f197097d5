"""Scans of known truth: an invented operando experiment of any size, with its own kernels.

It imports the integer arithmetic of blocks, names of array types and nothing else of the package. Begin at
`experiment`: the numbers of a phantom and what is true of it; `render` draws particles, `scanner` what a scan shows of
them, `scans` writes it to a disk. `alterations` are what the method does not expect: a sample that deforms
(`deformation`) and scanners that change. `Projections` of a phantom are what a detector counts of it, photons, flaws
and holder included; `write_projections` writes them as a beamline does.
"""

from crackdask.phantom.alterations import Alterations
from crackdask.phantom.cell_states import FIVE_STATES, TWELVE_STATES, State, states
from crackdask.phantom.experiment import Phantom
from crackdask.phantom.hard_phantom import hard
from crackdask.phantom.projected_scans import write_projections
from crackdask.phantom.projections import Projections
from crackdask.phantom.scans import recipe, write

__all__ = [
    "FIVE_STATES",
    "TWELVE_STATES",
    "Alterations",
    "Phantom",
    "Projections",
    "State",
    "hard",
    "recipe",
    "states",
    "write",
    "write_projections",
]
