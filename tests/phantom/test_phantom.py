"""The phantom: blocks that fit, grey levels as set, truth that is true."""

from __future__ import annotations

import math
import pickle
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.grid import Box, Grid
from crackdask.phantom import FIVE_STATES, TWELVE_STATES, Phantom, State, packing, recipe, scanner, states, write

SHAPE = (44, 52, 60)
WHOLE = Box.whole(SHAPE)
PHANTOM = Phantom(shape=SHAPE, states=states(3), seed=7, max_rotation_deg=4.0)
STILL = Phantom(shape=(72, 80, 88), states=FIVE_STATES, seed=11, max_rotation_deg=0, max_shift=0, noise_sd=0)


@pytest.fixture(scope="module")
def whole():
    """Both kinds of volume, made in one piece."""
    return PHANTOM.scan(2, WHOLE), PHANTOM.labels(WHOLE)


@st.composite
def boxes(draw, shape=SHAPE):
    """Boxes inside a volume."""
    ends = [sorted(draw(st.tuples(*2 * [st.integers(0, n)]))) for n in shape]
    starts = [min(a, n - 1) for (a, _), n in zip(ends, shape, strict=True)]
    return Box(tuple(starts), tuple(max(b, a + 1) for (_, b), a in zip(ends, starts, strict=True)))


@settings(max_examples=60, deadline=None)
@given(box=boxes())
def test_any_box_equals_that_part_of_the_whole(whole, box):
    grey, label = whole
    part = PHANTOM.scan(2, box)
    assert part.dtype == grey.dtype == np.uint8
    np.testing.assert_array_equal(part, grey[box.slices])
    part = PHANTOM.labels(box)
    assert part.dtype == label.dtype == np.uint32
    np.testing.assert_array_equal(part, label[box.slices])


@settings(max_examples=12, deadline=None)
@given(block=st.tuples(*[st.integers(9, 40)] * 3))
def test_blocks_that_cut_particles_fit_together(whole, block):
    grey, label = whole
    grid = Grid(SHAPE, block)
    walls = list(range(block[0], SHAPE[0], block[0]))
    cut = [np.intersect1d(label[k - 1], label[k]) for k in walls]
    assert all((ids > 0).sum() >= 3 for ids in cut), "the walls must cut through particles"
    out = np.zeros_like(grey)
    for box in grid:
        out[box.slices] = PHANTOM.scan(2, box)
    np.testing.assert_array_equal(out, grey)


def test_tiles_inside_a_large_box_do_not_show(monkeypatch, whole):
    monkeypatch.setattr("crackdask.phantom.experiment.TILE", (13, 17, 19))
    np.testing.assert_array_equal(PHANTOM.scan(2, WHOLE), whole[0])


def test_equal_numbers_make_equal_scans_and_other_seeds_do_not(whole):
    again = pickle.loads(pickle.dumps(PHANTOM))
    assert again == PHANTOM
    np.testing.assert_array_equal(again.scan(2, WHOLE), whole[0])
    other = replace(PHANTOM, seed=8)
    assert np.mean(other.labels(WHOLE) != whole[1]) > 0.3


def test_grey_levels():
    phantom = replace(STILL, noise_sd=6.0)
    box = Box.whole(phantom.shape)
    label, grey, clean = phantom.labels(box), phantom.scan(0, box), phantom.clean(0, box)
    depth = ndimage.distance_transform_edt(label > 0)
    height = ndimage.distance_transform_edt(label == 0)
    assert 0.42 < (label > 0).mean() < 0.58
    assert abs(np.median(grey[depth > 3]) - phantom.solid_grey) <= 2
    assert abs(np.median(grey[height > 3]) - phantom.background_grey) <= 2
    noise = grey.astype(float) - clean
    assert abs(noise.std() - 6.0) < 0.1
    assert abs(noise.mean()) < 0.05
    assert abs(((noise / noise.std()) ** 4).mean() - 3.0) < 0.15
    for axis in range(3):
        assert abs(np.mean(noise * np.roll(noise, 1, axis))) < 0.3
    second = phantom.scan(1, box).astype(float) - phantom.clean(1, box)
    assert abs(np.mean(noise * second)) < 0.3
    np.testing.assert_array_equal(phantom.solid(box), clean)


def test_rim_and_edge():
    phantom = replace(STILL, states=states(1), streak=0.0)
    box = Box.whole(phantom.shape)
    label, clean = phantom.labels(box), phantom.clean(0, box).astype(float)
    free = phantom.particles()
    inside = ndimage.distance_transform_edt(label > 0)
    outside = ndimage.distance_transform_edt(label == 0)
    rim, deep = clean[(inside >= 1.8) & (inside < 2.8)], clean[inside > 4.5]
    assert len(free.radii) > 50
    assert rim.mean() > np.median(deep) + 1
    halo, far = clean[(outside >= 1.8) & (outside < 2.8)], clean[outside > 5]
    assert halo.mean() < np.median(far) - 1
    flat = replace(phantom, rim=0.0).clean(0, box).astype(float)
    assert flat.max() <= phantom.solid_grey


def test_streaks_stay_where_they_are():
    box = Box.whole(STILL.shape)
    moving = replace(STILL, max_shift=3.0, streak=4.0)
    plain = replace(moving, streak=0.0)
    streaks = []
    for state in (0, 2):
        density = plain.clean(state, box)
        empty = ndimage.minimum_filter(density < 66, 3)
        streaks.append(np.where(empty, moving.clean(state, box).astype(float) - density, np.nan))
    both = ~np.isnan(streaks[0]) & ~np.isnan(streaks[1])
    first, second = streaks[0][both], streaks[1][both]
    assert both.sum() > 1000
    assert first.std() > 2
    assert np.corrcoef(first, second)[0, 1] > 0.95


def test_sixteen_bits_are_the_same_scan_with_more_levels(whole):
    fine = replace(PHANTOM, dtype="uint16").scan(2, WHOLE)
    assert fine.dtype == np.uint16
    assert np.abs((fine.astype(float) - 3000) / 200 - whole[0]).max() < 0.51


def test_void_fractions_follow_the_paths():
    truth = STILL.truth()
    void = truth["void_fraction"].values
    assert void.min() >= 0
    change = np.diff(void, axis=0)
    low, high = STILL.void_step
    assert np.abs(change).min() > low - 1e-5
    assert np.abs(change).max() < high + 1e-5
    letters = np.array([list(path) for path in truth["path"].values]).T
    np.testing.assert_array_equal(np.where(change > 0, "D", "H"), letters)
    paths = pd.Series(truth["path"].values).value_counts()
    assert paths.index[0] == "DDDH"


def test_long_series_stay_within_what_cracks_can_open():
    phantom = Phantom(shape=(40, 40, 40), states=states(12), seed=2)
    void = phantom.truth()["void_fraction"].values
    assert void.min() >= 0
    assert void.max() < 0.28 + 1e-5
    assert np.abs(np.diff(void, axis=0)).min() > 0.025 - 1e-5


def test_drawn_void_is_the_programmed_one():
    """Without blur and rim, the missing density in the inner half is the void fraction."""
    phantom = replace(STILL, blur_sd=0.0, rim=0.0, streak=0.0, dtype="uint16")
    table, truth = phantom.particles(), phantom.truth()
    box = Box.whole(phantom.shape)
    label = phantom.labels(box)
    whole = np.flatnonzero(truth["in_field"].values.all(axis=0))
    assert len(whole) > 20
    index = np.indices(phantom.shape).reshape(3, -1).T
    for state in range(5):
        grey = phantom.clean(state, box).astype(float).ravel()
        density = ((grey - 3000) / 200 - 60) / 90
        for i in whole[:20]:
            mine = np.flatnonzero(label.ravel() == i + 1)
            v = (index[mine] - table.centres[i]) @ table.frames[i].T
            core = mine[np.linalg.norm(v, axis=1) < 0.5]
            assert math.isclose(1 - density[core].mean(), truth["void_fraction"].values[state, i], abs_tol=1e-4)


def test_measured_grey_changes_have_the_sign_of_the_path():
    phantom = replace(STILL, noise_sd=6.0)
    box = Box.whole(phantom.shape)
    truth, label = phantom.truth(), phantom.labels(box)
    fair = np.flatnonzero(truth["in_field"].values.all(axis=0) & (truth["radius"].values >= 6)) + 1
    cores = []
    for i, place in enumerate(ndimage.find_objects(label), start=1):
        if i in fair:
            depth = ndimage.distance_transform_edt(np.pad(label[place] == i, 1))[1:-1, 1:-1, 1:-1]
            cores.append((place, depth > depth.max() / 2))
    grey = [phantom.scan(s, box) for s in range(5)]
    mean = np.array([[one[place][core].mean() for place, core in cores] for one in grey])
    void = truth["void_fraction"].values[:, fair - 1]
    right = np.sign(np.diff(mean, axis=0)) == -np.sign(np.diff(void, axis=0))
    assert right.size > 80
    assert right.mean() >= 0.98


def test_matrices_are_rigid_and_move_the_particles():
    phantom = replace(PHANTOM, vanishing=0, leaving=0)
    assert np.array_equal(phantom.matrix(0), np.eye(4))
    truth = phantom.truth()
    for state in (1, 2):
        matrix = phantom.matrix(state)
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
        angle = math.degrees(math.acos((np.trace(matrix[:3, :3]) - 1) / 2))
        assert 0.3 * 4 <= angle <= 4
        np.testing.assert_array_equal(truth["matrix"].values[state], matrix)
        clean = phantom.clean(state, WHOLE).astype(float)
        back = ndimage.affine_transform(clean, matrix, order=1, cval=np.nan)
        seen = ~np.isnan(back)
        assert seen.mean() > 0.6
        reference = phantom.clean(0, WHOLE)
        registered = np.corrcoef(back[seen], reference[seen])[0, 1]
        assert registered > 0.98 > np.corrcoef(clean[seen], reference[seen])[0, 1] + 0.1


def test_labels_are_the_particles():
    label, truth = STILL.labels(Box.whole(STILL.shape)), STILL.truth()
    whole = np.flatnonzero(truth["in_field"].values[0])
    ids = truth["particle"].values[whole]
    assert len(ids) > 30
    assert label.max() <= truth.sizes["particle"]
    rims = [label[0], label[-1], label[:, 0], label[:, -1], label[..., 0], label[..., -1]]
    assert not np.isin(ids, np.unique(np.concatenate([face.ravel() for face in rims]))).any()
    voxels = np.bincount(label.ravel(), minlength=truth.sizes["particle"] + 1)[ids]
    radius = np.cbrt(voxels * 3 / (4 * math.pi))
    np.testing.assert_allclose(radius, truth["radius"].values[whole], rtol=0.04)
    centres = np.array(ndimage.center_of_mass(label > 0, label, ids))
    true = np.stack([truth[f"centre_{a}"].values[whole] for a in "zyx"], axis=1)
    assert np.abs(centres - true).max() < 0.6
    for i in ids:
        assert ndimage.label(label == i)[1] == 1


def test_lost_particles_are_not_drawn():
    truth = STILL.truth()
    box = Box.whole(STILL.shape)
    label = STILL.labels(box)
    clean = [STILL.clean(s, box).astype(float) for s in range(5)]
    lost = np.maximum(truth["vanishes_at"].values, truth["leaves_at"].values)
    assert (truth["vanishes_at"].values > 0).sum() == STILL.vanishing
    assert (truth["leaves_at"].values > 0).sum() == STILL.leaving
    for i in np.flatnonzero(lost > 0):
        middle = ndimage.binary_erosion(label == i + 1, iterations=3)
        there = [one[middle].mean() > 110 for one in clean]
        assert there == [s < lost[i] for s in range(5)]
        assert truth["in_field"].values[:, i].tolist() == there


def test_particles_touch_without_sinking_far():
    rng = np.random.default_rng(0)
    size, radii = np.array([90.0, 80.0, 100.0]), np.sort(rng.uniform(5, 12, 120))[::-1].copy()
    packed = packing.place(rng, radii, size, 0.0, 0.0, 0.04)
    d = packed.centres[:, None] - packed.centres[None]
    d -= size * np.round(d / size)
    gap = np.sqrt((d**2).sum(axis=2)) - (radii[:, None] + radii[None])
    least = np.minimum(radii[:, None], radii[None])
    gap[np.diag_indices(120)] = np.inf
    sunk = -gap / least
    assert packed.overlap < 0.02
    assert sunk.max() < 0.08 + 0.03
    assert (sunk > 0).sum(axis=1).mean() > 2


def test_blur_equals_scipy():
    block = np.random.default_rng(1).random((14, 15, 16)).astype(np.float32)
    side = scanner.gaussian(0.9, 3)
    taps = np.concatenate([side[:0:-1], side]).astype(float)
    expected = block.astype(float)
    for axis in range(3):
        expected = ndimage.correlate1d(expected, taps, axis)
    smooth = scanner.blur(block, side)
    assert smooth.dtype == np.float32
    np.testing.assert_allclose(smooth, expected[3:-3, 3:-3, 3:-3], rtol=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_written_files_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr("crackdask.phantom.scans.SLAB", 17)
    seen: list[tuple[int, int]] = []
    path = write(PHANTOM, tmp_path / "new", lambda *done: seen.append(done), workers=workers)
    assert seen == [(k, 12) for k in range(1, 13)]
    parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    assert parsed["experiment"] == {"name": "phantom", "voxel_um": 0.325}
    assert [one["name"] for one in parsed["states"]] == ["pristine", "4.2 V", "4.4 V"]
    assert set(parsed["states"][1]) == {"name", "voltage", "step", "cycle", "source"}
    for number, one in enumerate(parsed["states"]):
        slices = sorted((path.parent / one["source"]).glob("slice_*.tif"))
        assert len(slices) == SHAPE[0]
        grey = np.stack([tifffile.imread(s) for s in slices])
        assert grey.dtype == np.uint8
        np.testing.assert_array_equal(grey, PHANTOM.scan(number, WHOLE))
    slices = sorted((path.parent / "truth/labels").glob("slice_*.tif"))
    label = np.stack([tifffile.imread(s) for s in slices])
    assert label.dtype == np.uint16
    np.testing.assert_array_equal(label, PHANTOM.labels(WHOLE))
    table = pd.read_parquet(path.parent / "truth/particles.parquet")
    truth = PHANTOM.truth()
    assert len(table) == truth.sizes["state"] * truth.sizes["particle"]
    void = table["void_fraction"].to_numpy().reshape(truth["void_fraction"].shape)
    np.testing.assert_array_equal(void, truth["void_fraction"].values)
    motion = pd.read_csv(path.parent / "truth/transforms.csv", index_col="state")
    np.testing.assert_array_equal(motion.to_numpy().reshape(-1, 4, 4), truth["matrix"].values)


def test_recipe_keeps_odd_names():
    odd = (State('a "quoted" \\ name', 3.0, "pristine"),)
    parsed = tomllib.loads(recipe(Phantom(states=odd)))
    assert parsed["states"][0]["name"] == odd[0].name


def test_series():
    assert states(5) == FIVE_STATES
    assert states(12) == TWELVE_STATES
    for number in range(1, 16):
        series = states(number)
        assert len({state.name for state in series}) == number
        assert series[0].step == "pristine"
    with pytest.raises(ValueError, match="1 or more"):
        states(0)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"shape": (4, 40, 40)}, "three edges of 8 or more"),
        ({"states": (FIVE_STATES[0], FIVE_STATES[0])}, "all different"),
        ({"radius_range": (9.0, 5.0)}, "radius_range"),
        ({"packing": 0.9}, "packing is 0.9"),
        ({"dtype": "int16"}, "'uint8' or 'uint16'"),
    ],
)
def test_impossible_numbers_are_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        Phantom(**wrong)


def test_boxes_outside_are_refused():
    with pytest.raises(ValueError, match="not inside"):
        PHANTOM.scan(0, Box((0, 0, 0), (45, 10, 10)))
    with pytest.raises(ValueError, match="there are 3"):
        PHANTOM.scan(3, WHOLE)
