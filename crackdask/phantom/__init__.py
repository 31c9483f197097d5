"""Scans of known truth: an invented operando experiment of any size, with its own kernels.

It imports the integer arithmetic of blocks, names of array types and nothing else of the package. Begin at
`experiment`: the numbers of a phantom and what is true of it; `render` draws particles, `scanner` what a scan shows of
them, `scans` writes it to a disk.
"""

from crackdask.phantom.cell_states import FIVE_STATES, TWELVE_STATES, State, states
from crackdask.phantom.experiment import Phantom
from crackdask.phantom.scans import recipe, write

__all__ = ["FIVE_STATES", "TWELVE_STATES", "Phantom", "State", "recipe", "states", "write"]
