"""Measured volumes: packed snow before and after a known motion, and cement with its dark pores."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask.analysis.findings import of_store
from crackdask.engine.executors import Serial
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import check
from tests.support.silence import Silent

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"the measured volumes are not there: {DATA}")

SNOW = {
    "experiment": {"name": "snow", "voxel_um": 15.0, "fill": 0},
    "states": [
        {"name": "fixed", "voltage": 3.0, "step": "pristine", "source": "snow.tif"},
        {"name": "moved", "voltage": 4.2, "step": "charge", "source": "snow_moved.tif"},
    ],
}
CEMENT = {
    "experiment": {"name": "cement", "voxel_um": 1.0},
    "states": [{"name": "pristine", "voltage": 3.0, "step": "pristine", "source": "cement.tif"}],
    "mask": {"phase": "dark"},
}


def run(content: Mapping[str, Any], store: Path) -> xr.DataTree:
    outcome = Run(Scans.of(check(content), DATA), store, Serial(), Silent())(None)
    assert not outcome.failures
    return crackdask.open(store)


@pytest.fixture(scope="module")
def snow(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    return run(SNOW, tmp_path_factory.mktemp("snow") / "snow.zarr")


def test_the_known_motion_is_found(snow: xr.DataTree) -> None:
    angle, centre = np.deg2rad(5.0), np.full(3, 49.5)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    found = snow["transforms"].to_dataset().matrix.sel(state="moved").values
    corners = np.array(list(product((0.0, 99.0), repeat=3)))
    known = (corners - centre) @ turn.T + centre + np.array([0.0, 3.0, 2.5])
    apart = corners @ found[:3, :3].T + found[:3, 3] - known
    assert np.sqrt((apart**2).sum(axis=1)).max() < 0.1


def test_a_motion_that_is_rigid_needs_no_field_and_nothing_is_told(snow: xr.DataTree) -> None:
    table = snow["transforms"].to_dataset().load()
    assert table.transform.values[1] == "rigid"
    assert not table.bent.values.any()
    assert not table.displacement.values.any()
    assert of_store(snow.attrs) == []


def test_grains_are_found_and_followed(snow: xr.DataTree) -> None:
    grains = snow["particles"].to_dataset().load()
    assert 300 <= grains.sizes["particle"] <= 400
    inside = ~(grains.touches_border | grains.touches_invalid).any("state")
    tracked = grains.tracked.any("state") & inside
    assert int(inside.sum()) >= 70
    assert int(tracked.sum()) >= 0.95 * int(inside.sum()), f"{int(tracked.sum())} of {int(inside.sum())}"


def test_grains_do_not_change_when_moved(snow: xr.DataTree) -> None:
    grains = snow["particles"].to_dataset().load()
    here = grains.tracked.any("state") & (grains.voxels.isel(state=0) > 500)
    first, second = (grains.isel(state=s).sel(particle=here) for s in (0, 1))
    change = abs(second.volume_um3 / first.volume_um3 - 1)
    assert float(change.median()) < 0.03
    shift = np.hypot(second.centroid_y_um - first.centroid_y_um, second.centroid_x_um - first.centroid_x_um)
    assert float(shift.median()) < 0.3 * 15.0, "grains lie where they lay"


def test_dark_pores_of_cement(tmp_path: Path) -> None:
    tree = run(CEMENT, tmp_path / "cement.zarr")
    pores = tree["particles"].to_dataset().load()
    volumes = tree["volumes"].to_dataset()
    label, grey = volumes.label[0].values, volumes.grey[0].values
    assert pores.sizes["particle"] > 20
    assert grey[label > 0].mean() < grey[label == 0].mean() - 50
