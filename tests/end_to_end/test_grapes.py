"""The numbers of a run against what GRAPES, the published toolkit, measures of the same labels and grey levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask import lazy
from tests.support.grapes import Row, grapes, sphericity, surface_area

VOXEL_UM3 = float(np.prod([0.325] * 3))


def assert_equal(rows: dict[int, Row], particles: xr.Dataset, shells: xr.Dataset, voxel_um3: float) -> None:
    """Assert that each row is that of the store, with no tolerance but the float32 of the toolkit's layers."""
    there = particles.particle.values[particles.voxels.values > 0]
    assert sorted(rows) == there.tolist()
    for name, row in rows.items():
        own, rings = particles.sel(particle=name), shells.sel(particle=name)
        assert own.voxels == row.volume
        assert own.volume_um3 == row.volume * voxel_um3
        assert own.grey_mean == row.grey_mean
        assert (own.grey_min, own.grey_max) == (row.grey_min, row.grey_max)
        deepest, voxels = len(row.layers), rings.voxels.values.astype(np.int64)
        np.testing.assert_array_equal(voxels[:deepest], row.layers)
        assert not voxels[deepest:].any()
        means = (rings.grey_sum.values[:deepest] / np.maximum(voxels[:deepest], 1)).astype(np.float32)
        np.testing.assert_array_equal(means, row.layer_grey)


@pytest.mark.parametrize("state", [0, 1, 2])
def test_volumes_grey_levels_and_layers_of_a_run_are_those_of_grapes(whole_store: Path, state: int) -> None:
    tree = crackdask.open(whole_store)
    assert set(tree.attrs["found"]["blurred_by"].values()) == {0.0}, "else a run measures sharper states blurred"
    volumes, particles, shells = (
        tree[name].to_dataset().isel(state=state).load() for name in ("volumes", "particles", "shells")
    )
    rows = grapes(volumes.label.values, volumes.grey.values)
    assert len(rows) > 80
    assert max(len(row.layers) for row in rows.values()) >= 7
    assert len({round(float(grey), 3) for row in rows.values() for grey in row.layer_grey}) > 300
    assert particles.n_contacts.values.max() > 3, "touching neighbours count as outside"
    assert_equal(rows, particles, shells, VOXEL_UM3)


def test_layers_of_long_voxels_are_those_of_grapes_in_smallest_edges(whole_store: Path) -> None:
    volumes = crackdask.open(whole_store)["volumes"].to_dataset().isel(state=0)
    edges = {"z": 2.0, "y": 1.0, "x": 1.5}
    at = {axis: (axis, (np.arange(volumes.sizes[axis]) + 0.5) * edge) for axis, edge in edges.items()}
    grey, label = (volumes[name].assign_coords(at).chunk(dict.fromkeys("zyx", 30)) for name in ("grey", "label"))
    count = int(label.max())
    measured = lazy.measure(grey, label, count, max_radius=20)
    rows = grapes(label.values, grey.values, (2.0, 1.0, 1.5))
    assert len(rows) > 80
    particles, shells = (measured[name].to_dataset().load() for name in ("particles", "shells"))
    assert_equal(rows, particles, shells, 3.0)


def ball(radius: float, centre: np.ndarray) -> np.ndarray:
    """Return the voxels whose centres lie in a sphere; `centre` is off the middle of a voxel by so much."""
    half = int(radius) + 3
    axes = ((np.arange(-half, half + 1) - c) ** 2 for c in centre)
    z, y, x = np.ix_(*axes)
    return np.asarray(z + y + x <= radius**2)


@pytest.mark.parametrize(
    ("radius", "at_zero", "halfway"), [(5, 1.25, 1.08), (8, 1.19, 1.08), (12, 1.16, 1.085), (20, 1.13, 1.085)]
)
def test_surface_and_sphericity_of_spheres_beside_grapes(radius: float, at_zero: float, halfway: float) -> None:
    """A mesh follows the steps of the voxels, and at level 0 it also lies half a voxel outside; ours does neither."""
    centres = np.random.default_rng(int(radius)).random((6, 3))
    true, ours = 4 * np.pi * radius**2, []
    theirs: list[tuple[float, float]] = []
    between: list[tuple[float, float]] = []
    for centre in centres:
        inside = ball(radius, centre)
        at = {axis: (axis, np.arange(inside.shape[k]) + 0.5) for k, axis in enumerate("zyx")}
        label = xr.DataArray(inside.astype(np.uint32), dims=("z", "y", "x"), coords=at)
        (row,) = grapes(inside, label.values.astype(np.uint8)).values()
        own = lazy.measure(label.astype(np.uint8), label, 1, max_radius=24)["particles"].to_dataset().isel(particle=0)
        assert own.voxels == row.volume
        assert row.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
        ours.append((float(own.surface_area_um2) / true, float(own.sphericity)))
        for area, kept in ((surface_area(inside), theirs), (surface_area(inside, 0.5), between)):
            kept.append((area / true, sphericity(row.volume, area)))
    assert np.abs(np.array(ours) - 1).max() < 0.02
    for pairs, times in ((theirs, at_zero), (between, halfway)):
        np.testing.assert_allclose(np.mean(pairs, axis=0), [times, 1 / times], atol=0.015)
