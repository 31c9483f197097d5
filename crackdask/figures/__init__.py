"""The paper's figures, and those that tell whether to believe them: `from crackdask import figures`.

Each function takes what ``crackdask.open`` returns and gives a matplotlib Figure; :data:`PANELS` lists them all with
their captions and with the numbers behind them, and is what the report draws. What a store cannot show is an
``AnalysisError`` that says why.

A figure is one module: a function that users call, one that collects the numbers, one that draws them, and a
:class:`crackdask.figures.panel.Panel` of these in the module's ``PANELS``. To add one, write such a module, import it
here and name it in the order of the report, and import its function and name it in what is offered. `depth_profiles` is
one to begin from; `style`, `state_axis`, `pie_chart` and `volume_slices` are what figures have in common. Reads a store
through the analysis.
"""

from __future__ import annotations

try:
    import matplotlib  # noqa: F401
except ImportError as error:  # pragma: no cover - depends on the installation
    raise ImportError("figures need matplotlib: pip install 'crackdask[report]'") from error

from crackdask.figures import (
    across_scan,
    after_cycling,
    cracks,
    cross_sections,
    damage_map,
    damage_pies,
    depth_profiles,
    electrochemistry,
    histogram,
    intensity,
    local_motion,
    one_particle,
    path_tree,
    reconstruction,
    registration_check,
    size_distribution,
)
from crackdask.figures.across_scan import levels_across_scan
from crackdask.figures.after_cycling import aged_by_size, aged_intensity, intensity_of_deciles
from crackdask.figures.cracks import crack_skeleton, crack_surface
from crackdask.figures.cross_sections import slices
from crackdask.figures.damage_map import damage_in_place
from crackdask.figures.damage_pies import damaged_on_charge, extreme_states, healed_on_discharge
from crackdask.figures.depth_profiles import radial_profiles
from crackdask.figures.electrochemistry import cell_capacity, cell_over_time, damage_against_cell
from crackdask.figures.histogram import grey_histogram
from crackdask.figures.intensity import intensity_by_size, mean_intensity, relative_intensity
from crackdask.figures.local_motion import uneven_motion
from crackdask.figures.one_particle import line_profiles
from crackdask.figures.panel import Panel
from crackdask.figures.path_tree import tree_of_paths
from crackdask.figures.reconstruction import center_strip, detector_flaws, ring_removal, rotation_center
from crackdask.figures.registration_check import before_and_after, registration
from crackdask.figures.size_distribution import particle_sizes

#: The modules of the figures in the order of the report: those of the paper, then those of quality.
_IN_ORDER = (
    one_particle,
    intensity,
    damage_pies,
    path_tree,
    after_cycling,
    damage_map,
    cracks,
    electrochemistry,
    depth_profiles,
    cross_sections,
    histogram,
    across_scan,
    size_distribution,
    registration_check,
    local_motion,
    reconstruction,
)
PANELS: tuple[Panel, ...] = tuple(panel for module in _IN_ORDER for panel in module.PANELS)

__all__ = [
    "PANELS",
    "Panel",
    "aged_by_size",
    "aged_intensity",
    "before_and_after",
    "cell_capacity",
    "cell_over_time",
    "center_strip",
    "crack_skeleton",
    "crack_surface",
    "damage_against_cell",
    "damage_in_place",
    "damaged_on_charge",
    "detector_flaws",
    "extreme_states",
    "grey_histogram",
    "healed_on_discharge",
    "intensity_by_size",
    "intensity_of_deciles",
    "levels_across_scan",
    "line_profiles",
    "mean_intensity",
    "particle_sizes",
    "radial_profiles",
    "registration",
    "relative_intensity",
    "ring_removal",
    "rotation_center",
    "slices",
    "tree_of_paths",
    "uneven_motion",
]
