"""How large the particles are: all that were found, and those tracked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crackdask.analysis.parameters import AnalysisError, params_of
from crackdask.analysis.tables import reference_of, table_of
from crackdask.figures.panel import Panel
from crackdask.figures.style import BLUE, VERMILION, figure, plain, styled


def particle_sizes(store: xr.DataTree, **parameters: Any) -> Figure:
    """Draw the particle size distribution in the reference state, of all particles and of the tracked ones.

    Arguments and errors are those of :func:`crackdask.figures.grey_histogram`, and parameters of the analysis:
    `reference`.
    """
    return draw_particle_sizes(collect_particle_sizes(store, **parameters))


def collect_particle_sizes(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return the numbers of particles, `found` and `tracked`, by equivalent diameter in the reference state."""
    table = table_of(store, "particles")
    reference = reference_of(table, params_of(store, parameters))
    here = table[["equivalent_diameter_um", "tracked"]].sel(state=reference).load()
    size = here.equivalent_diameter_um.values
    some = size > 0
    if not some.any():
        raise AnalysisError(f"there is no particle in the reference state, {reference!r}")
    tracked = some & here.tracked.values
    count = int(np.clip(2 * some.sum() ** (1 / 3), 5, 40))
    edges = np.linspace(0, float(size.max()) * 1.0001, count + 1)
    return xr.Dataset(
        {
            "found": ("bin", np.histogram(size[some], edges)[0]),
            "tracked": ("bin", np.histogram(size[tracked], edges)[0]),
            "from_um": ("bin", edges[:-1]),
            "to_um": ("bin", edges[1:]),
        },
        attrs={"reference": reference, "median_um": float(np.median(size[some])), "particles": int(some.sum())},
    )


@styled
def draw_particle_sizes(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_particle_sizes` returned."""
    page = figure(height=3.0)
    axes = page.add_subplot()
    left, width = numbers.from_um.values, (numbers.to_um - numbers.from_um).values
    for name, colour, words in (("found", "#C9CCD1", "all"), ("tracked", BLUE, "tracked")):
        axes.bar(left, numbers[name].values, width, align="edge", color=colour, ec="white", lw=0.5,
                 label=f"{words}, {int(numbers[name].sum())}")  # fmt: skip
    middle = numbers.attrs["median_um"]
    axes.axvline(middle, color=VERMILION, lw=1.2, ls="--", label=f"median of all, {middle:.3g} µm")
    axes.set(xlabel="diameter of the sphere of the same volume (µm)", ylabel="particles (count)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, None)
    page.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return page


def _frame(numbers: xr.Dataset) -> pd.DataFrame:
    return plain(numbers.to_dataframe().reset_index())


PANELS = (
    Panel(
        "particle_sizes",
        "Particle sizes",
        "Particles by the diameter of the sphere of the same volume in the reference state: all that were found, and "
        "those tracked.",
        collect_particle_sizes,
        draw_particle_sizes,
        _frame,
    ),
)
