"""The paper's figures, and those that tell whether to believe them: `from crackdask import figures`.

Each function takes what ``crackdask.open`` returns and gives a matplotlib Figure; :data:`PANELS` lists them all with
their captions and with the numbers behind them. What a store cannot show is an ``AnalysisError`` that says why.
"""

from __future__ import annotations

try:
    import matplotlib  # noqa: F401
except ImportError as error:  # pragma: no cover - depends on the installation
    raise ImportError("figures need matplotlib: pip install 'crackdask[report]'") from error

from crackdask.figures import ageing, cracks, fates, images, intensity, motion, place, quality, radial
from crackdask.figures.ageing import aged_by_size, aged_intensity, intensity_of_deciles
from crackdask.figures.cracks import crack_skeleton, crack_surface
from crackdask.figures.fates import damaged_on_charge, extreme_states, healed_on_discharge, tree_of_paths
from crackdask.figures.images import line_profiles, slices
from crackdask.figures.intensity import intensity_by_size, mean_intensity, relative_intensity
from crackdask.figures.motion import before_and_after, registration
from crackdask.figures.place import damage_in_place
from crackdask.figures.quality import grey_histogram, particle_sizes
from crackdask.figures.radial import radial_profiles
from crackdask.figures.style import Panel

#: All figures in the order of the paper, then those of quality.
PANELS: tuple[Panel, ...] = (
    images.PANELS[0],
    *intensity.PANELS,
    *fates.PANELS,
    *ageing.PANELS,
    *place.PANELS,
    *cracks.PANELS,
    *radial.PANELS,
    images.PANELS[1],
    *quality.PANELS,
    *motion.PANELS,
)

__all__ = [
    "PANELS",
    "Panel",
    "aged_by_size",
    "aged_intensity",
    "before_and_after",
    "crack_skeleton",
    "crack_surface",
    "damage_in_place",
    "damaged_on_charge",
    "extreme_states",
    "grey_histogram",
    "healed_on_discharge",
    "intensity_by_size",
    "intensity_of_deciles",
    "line_profiles",
    "mean_intensity",
    "particle_sizes",
    "radial_profiles",
    "registration",
    "relative_intensity",
    "slices",
    "tree_of_paths",
]
