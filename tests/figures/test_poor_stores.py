"""A store that cannot show a figure says why, and what it can show has room."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr

from crackdask import analyse, figures
from crackdask.analysis.parameters import AnalysisError
from crackdask.phantom import FIVE_STATES, State
from tests.support.pictured import (
    CRACKS,
    NAMES,
    PARTICLES,
    collect_all,
    draw_all,
    electrode,
    empty_panes,
    faults,
)
from tests.support.tabled import balls, tables

# ---------------------------------------------------------------- what cannot be drawn says why

VOXELS = {"slices", "grey_histogram", "particle_sizes", "levels_across_scan"}


DAMAGE = {"3ab_extreme_states", "3c_damaged_on_charge", "3d_healed_on_discharge", "3e_tree_of_paths"}


MOTION = {"registration", "before_and_after", "uneven_motion"}


PROJECTED = {panel.name for panel in figures.PANELS if panel.group == "reconstruction"}


CELL = {"cell_over_time", "cell_capacity"}  # of the cell alone, whatever its particles


AGED = {"4e_aged_intensity", "4f_aged_by_size"}


A_LONG_NAME = "a long name of state {} at $4.{}$ V <b>"


def states_of(*steps: str) -> list[State]:
    return [State(f"{step} {k}", 3 + 0.1 * k, step, 0) for k, step in enumerate(steps)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("store_of", "missing", "why"),
    [
        (
            lambda: electrode(FIVE_STATES[:1]),
            DAMAGE | AGED | MOTION | {"2b_relative_intensity", "2c_intensity_by_size"},
            r"a single state|no state is of step charge|no state is of step aged|no state moved unevenly",
        ),
        (
            lambda: electrode(tracked=np.zeros(PARTICLES, bool)),
            set(NAMES) - VOXELS - MOTION - PROJECTED - CELL,
            "no particles of 40 tracked",
        ),
        (
            lambda: electrode(tracked=np.arange(PARTICLES) == PARTICLES - 1),
            set(NAMES) - VOXELS - MOTION - PROJECTED - CELL - {"1a_line_profiles"} - CRACKS,
            "1 particle of 40 tracked, and two or more are needed",
        ),
        (
            lambda: electrode(particles=1),
            set(NAMES) - VOXELS - MOTION - PROJECTED - CELL - {"1a_line_profiles"} - CRACKS,
            "1 particle of 1 tracked, and two or more are needed",
        ),
        (
            lambda: electrode(particles=2),
            {name for name in NAMES if name[:2] in ("2c", "4d", "4f")} | {"radial_profiles"},
            r"2 particles cannot make (10|4) groups",
        ),
        (
            lambda: electrode(states_of("pristine", "aged")),
            DAMAGE - {"3ab_extreme_states"},
            r"no state is of step charge|the tree needs charge at 4.2 V",
        ),
        (
            lambda: electrode(states_of("pristine", "charge", "charge")),
            AGED | {"3d_healed_on_discharge", "3e_tree_of_paths"},
            r"no state of step discharge|the tree needs|no state is of step aged",
        ),
    ],
    ids=["one state", "none tracked", "one tracked", "one particle", "two particles", "aged only", "charge only"],
)
def test_a_poor_store_shows_what_it_can(store_of: Any, missing: set[str], why: str) -> None:
    poor = store_of()
    found, reasons = collect_all(poor)
    assert set(reasons) == missing
    for words in reasons.values():
        assert re.search(why, words), words
    made = draw_all(found) if poor["particles"].sizes["state"] == 1 or poor["particles"].sizes["particle"] < 3 else {}
    assert {name: faults(picture) for name, picture in made.items() if faults(picture)} == {}
    assert not [name for name, picture in made.items() if empty_panes(picture)]


def test_twelve_states_with_long_names_have_room() -> None:
    steps = ["pristine", *["charge"] * 6, *["discharge"] * 4, "aged"]
    names = ["pristine", *(A_LONG_NAME.format(k, k) for k in range(1, 12))]
    volts = [3.0, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4, 4.2, 4.0, 3.8, 2.5, 2.5]
    found, missing = collect_all(electrode([State(*one) for one in zip(names, volts, steps, strict=True)]))  # type: ignore[arg-type]
    assert missing == {}
    made = draw_all(found)
    assert {name: faults(picture) for name, picture in made.items() if faults(picture)} == {}


def test_a_damage_definition_without_a_value(store: xr.DataTree) -> None:
    @analyse.define_damage("nothing", "1", "not a number")
    def nothing(table: xr.Dataset) -> xr.DataArray:
        return table.mean_grey.sel(region="core", drop=True) * np.nan

    try:
        for name in ("extreme_states", "damage_in_place"):
            with pytest.raises(AnalysisError, match="'nothing' is not a finite number for 240 of 240 particles and"):
                getattr(figures, name)(store, damage="nothing")
        assert figures.line_profiles(store, damage="nothing").axes  # of the largest particle
    finally:
        del analyse.DAMAGE_FACTORS["nothing"]


def test_a_store_without_volumes(store: xr.DataTree) -> None:
    bare = tables(balls([5.0, 11.0], 5), np.full((5, 2, 11), 200.0))
    for name in ("slices", "grey_histogram", "line_profiles", "damage_in_place", "crack_surface", "crack_skeleton"):
        with pytest.raises(AnalysisError, match="no volumes"):
            getattr(figures, name)(bare)
    with pytest.raises(AnalysisError, match="no table 'transforms'"):
        figures.registration(bare)


def test_states_that_were_not_registered(store: xr.DataTree) -> None:
    made = store.copy()
    made.attrs["recipe"] = {**made.attrs["recipe"], "register": {"transform": "none"}}
    for name in ("registration", "before_and_after"):
        with pytest.raises(AnalysisError, match="not registered"):
            getattr(figures, name)(made)
