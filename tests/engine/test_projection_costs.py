"""What reconstruction is said to take before it starts: time by angles, rows, columns and rings; disk by window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crackdask.engine.block_plan import estimate
from crackdask.engine.projection_costs import Projected
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import check
from crackdask.steps.projected_scan import geometry_of, given_centers
from crackdask.steps.reconstruct import passes
from tests.support.projection_scans import Scan, write_nxtomo

FIELD = Projected((3000, 2160, 2560), 2, 3000, "column")
WIDE = np.tile(Scan().data, 2)  # in 8 columns no center is searched


def test_time_follows_what_is_done() -> None:
    row = FIELD.seconds / 2160
    assert 0.4 < row < 1.5  # the kernels alone take 0.4
    assert replace(FIELD, frames=(3000, 4320, 2560)).seconds == pytest.approx(2 * FIELD.seconds)
    assert row < replace(FIELD, rings="vo").seconds / 2160 < row + 0.3
    assert replace(FIELD, rings="none").seconds < FIELD.seconds
    twice = replace(FIELD, frames=(6000, 2160, 2560), kept=6000)
    assert 1.4 * FIELD.seconds < twice.seconds < 2 * FIELD.seconds
    wide = replace(FIELD, frames=(3000, 2160, 5120))
    assert 2 * FIELD.seconds < wide.seconds < 4 * FIELD.seconds
    assert replace(FIELD, kept=2450).seconds < FIELD.seconds
    look = replace(FIELD, leveled=True).seconds - FIELD.seconds
    assert look == pytest.approx(replace(FIELD, frames=(3000, 2165, 2560)).seconds - FIELD.seconds, rel=0.2)
    search = replace(FIELD, searched=True).seconds - FIELD.seconds
    assert 20 < search < 200
    assert replace(FIELD, frames=(3000, 4320, 2560), searched=True).seconds == pytest.approx(2 * FIELD.seconds + search)


def test_the_search_of_the_center_takes_memory_of_its_own() -> None:
    """Of a scan so large that few rows are reconstructed at once, more than these."""
    wide = Projected((6000, 4000, 6000), 2, 6000, "column", searched=True)
    assert wide.pass_bytes["center"] > 1.5 * wide.pass_bytes["slices"]
    assert "center" not in replace(wide, searched=False).pass_bytes


def planned(folder: Path, kinds: str, **keys: Any) -> Any:
    """Return what a run of two states is said to take; each is "p", projections, or "t", a tomogram."""
    scan, states = Scan(), []
    for number, kind in enumerate(kinds):
        source = f"{number}.nxs" if kind == "p" else f"{number}.npy"
        if kind == "p" and not (folder / source).exists():
            write_nxtomo(folder / source, scan, data=WIDE)
        if kind == "t":
            np.save(folder / source, np.zeros((6, 16, 16), np.float32))
        states.append({"name": f"s{number}", "source": source, "voltage": 3.0, "step": "charge"})
    content = {"experiment": {"name": "a", "voxel_um": 1.0}, "states": states, "reconstruct": keys}
    opened = Scans.of(check(content), folder)
    return estimate(opened.recipe, opened.plan(1), opened.sources[0].dtype, 1, opened.projected)


@pytest.mark.parametrize(
    "keys",
    [{}, {"window": "none"}, {"center": 3.5}, {"rings": "none", "window": [0.0, 0.1]},
     {"phase": {"delta_beta": 100.0, "energy_kev": 20.0, "distance_mm": 5.0, "pixel_um": 1.0}}],
)  # fmt: skip
def test_tasks_are_the_blocks_of_all_passes(tmp_path: Path, keys: dict[str, Any]) -> None:
    states = [{"name": f"s{k}", "source": f"{k}.nxs", "voltage": 3.0, "step": "charge"} for k in range(2)]
    for k in range(2):
        write_nxtomo(tmp_path / f"{k}.nxs", Scan(), data=WIDE)
    content = {"experiment": {"name": "a", "voxel_um": 1.0}, "states": states, "reconstruct": keys}
    scans = Scans.of(check(content), tmp_path)
    params = scans.recipe.reconstruct
    assert params is not None
    windows = (None, None if params.window == "none" else np.array([0.0, 1.0]))
    for state, window in enumerate(windows):
        projections = scans.projections(state)
        assert projections is not None
        given = given_centers(params.axes(2)[state], projections)
        made = passes(geometry_of(projections), projections.recorded.dtype, params, given, window)
        assert scans.projected[state].tasks == sum(len(each.grid) for each in made if each.grid)


def test_only_states_of_projections_take_time_and_disk(tmp_path: Path) -> None:
    one, two, none = (planned(tmp_path, kinds, window="none") for kinds in ("pt", "pp", "tt"))
    each = Projected((19, 6, 16), 2, 19, "column", searched=True)
    assert two.seconds - one.seconds == pytest.approx(each.seconds)
    assert one.seconds - none.seconds == pytest.approx(each.seconds)
    assert two.tasks - none.tasks == 2 * each.tasks
    assert one.work_bytes == two.work_bytes > none.work_bytes


def test_a_window_halves_the_tomograms(tmp_path: Path) -> None:
    real, levels = planned(tmp_path, "pp", window="none"), planned(tmp_path, "pp")
    voxels = 6 * 16 * 16
    # Two tomograms and three raw scans lie there at once.
    assert real.work_bytes - levels.work_bytes == pytest.approx(5 * 2 * voxels, abs=voxels)
