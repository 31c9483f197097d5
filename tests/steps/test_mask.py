"""Threshold, opening and closing: against the libraries on the whole volume, for any blocks."""

from __future__ import annotations

from itertools import product
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask_image import ndmorph
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage
from skimage import filters
from skimage.morphology import ball

from crackdask.blocks.dask_graph import lazy
from crackdask.blocks.in_memory import compute
from crackdask.kernels.thresholds import ThresholdError, next_phase, otsu
from crackdask.lazy import mask, open_and_close
from crackdask.schema import SPATIAL
from crackdask.steps.mask import MaskParams, passes, threshold_of, threshold_pass
from tests.support.masked import FACES, FULL, cut, found, grey


def sizes(phase, structure):
    """Return the components of a phase and the size of each voxel's own."""
    labels, _ = ndimage.label(phase, structure)
    return labels, np.bincount(labels.ravel())[labels]


def islands_removed(phase, smallest):
    """Remove 26-connected islands of fewer voxels."""
    return phase & (sizes(phase, FULL)[1] >= smallest)


def holes_filled(phase, largest, outside):
    """Fill 6-connected holes up to a size that reach neither the image edge nor what is outside the scan."""
    labels, size = sizes(~phase, FACES)
    border = np.ones(phase.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    open_ended = np.unique(labels[(border | outside) & ~phase])
    return phase | (~phase & (size <= largest) & ~np.isin(labels, open_ended))


def plain(voxels, params, threshold):
    """Segment the whole volume with scipy alone."""
    halo = params.halo
    wide = np.pad(voxels, halo, mode="edge")
    inside = wide > 0
    phase = (wide > threshold if params.phase == "bright" else wide <= threshold) & inside
    if params.opening:
        phase = ndimage.binary_opening(phase, ball(params.opening))
    if params.closing:
        phase = ndimage.binary_closing(phase, ball(params.closing))
    phase = (phase & inside)[tuple(slice(halo, n + halo) for n in voxels.shape)]
    return holes_filled(islands_removed(phase, params.min_island), params.max_hole, voxels == 0)


# ---------------------------------------------------------------- threshold


@pytest.mark.parametrize("seed", range(4))
def test_otsu_is_that_of_scikit_image(seed):
    voxels = grey((20, 20, 20), seed, noise=5.0 + 10 * seed)
    counts = np.bincount(voxels.ravel(), minlength=256)
    wanted = filters.threshold_otsu(hist=(np.r_[0, counts[1:]], np.arange(256)))
    assert otsu(counts) == wanted
    for block in (None, (7, 20, 3)):
        assert compute((threshold_pass(MaskParams()),), {"denoised": voxels}, block=block)[1]["threshold"] == wanted


@pytest.mark.parametrize(
    "params",
    [
        {"threshold": "li"},
        {"threshold": "triangle"},
        {"threshold": "multiotsu", "threshold_class": 1},
        {"threshold": "multiotsu"},
        {"threshold": "multiotsu", "classes": 4, "threshold_class": 3},
    ],
)
def test_other_thresholds_are_those_of_scikit_image_for_any_blocks(params):
    voxels = np.concatenate([grey((20, 20, 20), 1, noise=6.0), grey((9, 20, 20), 2, noise=6.0) // 2])
    inside = voxels[voxels > 0]
    match params["threshold"]:
        case "multiotsu":
            counts = np.bincount(inside, minlength=256)
            boundaries = filters.threshold_multiotsu(hist=(counts, np.arange(256)), classes=params.get("classes", 3))
            wanted = boundaries[params.get("threshold_class", 2) - 1]
        case name:
            wanted = getattr(filters, f"threshold_{name}")(inside)
    counting = threshold_pass(MaskParams(**params))
    for block in (None, (7, 20, 3)):
        level = compute((counting,), {"denoised": voxels}, block=block)[1]["threshold"]
        np.testing.assert_array_equal(voxels > level, voxels > wanted)
    bare = {"opening": 0, "closing": 0, "min_island": 0, "max_hole": 0}
    lazily = mask(xr.DataArray(voxels, dims=SPATIAL).chunk(z=11, x=7), **params, **bare)
    np.testing.assert_array_equal(lazily, voxels > wanted)


@pytest.mark.parametrize("phase", ["bright", "dark"])
def test_of_three_phases_the_sought_one_is_taken_for_any_blocks(phase):
    voxels = grey((24, 20, 20), 1, noise=4.0)
    shell = ndimage.binary_dilation(voxels > 125, iterations=2) & (voxels <= 125) & (voxels > 0)
    voxels[shell] = np.clip(np.random.default_rng(3).normal(118, 4, np.count_nonzero(shell)), 1, 255).astype(np.uint8)
    params = MaskParams(phase=phase)
    wanted = next_phase(np.bincount(voxels.ravel(), minlength=256), phase == "bright")
    assert (125 < wanted < 165) if phase == "bright" else (85 < wanted < 113)
    for block in (None, (7, 20, 3)):
        assert compute((threshold_pass(params),), {"denoised": voxels}, block=block)[1]["threshold"] == wanted


def test_the_boundaries_of_the_classes_differ():
    counts = np.zeros(256, int)
    counts[[40, 41, 90, 91, 170, 171]] = 100
    levels = [threshold_of(MaskParams(threshold="multiotsu", threshold_class=boundary), counts) for boundary in (1, 2)]
    assert levels == [41.0, 91.0]
    assert threshold_of(MaskParams(threshold="multiotsu"), counts) == 91.0
    assert threshold_of(MaskParams(threshold=77.5), counts) == 77.5
    with pytest.raises(ThresholdError, match="5 classes need as many grey levels, and there are 2: 40, 90"):
        threshold_of(MaskParams(threshold="multiotsu", classes=5), np.where(np.isin(np.arange(256), (40, 90)), 9, 0))


def test_fingerprints_of_old_recipes_are_what_they_were():
    old = {
        "phase": "bright",
        "threshold": "otsu",
        "per_state": False,
        "opening": 1,
        "closing": 1,
        "min_island": 50,
        "max_hole": 5000,
    }
    assert MaskParams().deciding() == old | {"threshold": "auto"}
    assert MaskParams(threshold="otsu").deciding() == old
    assert MaskParams(threshold=99.5, classes=4).deciding() == old | {"threshold": 99.5}
    classes: dict[str, Any] = {"classes": 4, "threshold_class": 1}
    assert MaskParams(threshold="multiotsu", **classes).deciding() == old | classes | {"threshold": "multiotsu"}


def test_otsu_takes_the_first_of_equal_levels_and_does_not_overflow():
    counts = np.zeros(256, np.int64)
    counts[[60, 150]] = 10**13
    assert otsu(counts) == 60.0
    counts[0] = 10**15  # outside the scan
    assert otsu(counts) == 60.0
    assert otsu(np.zeros(256, int)) == 0.0


def test_voxels_on_the_threshold_are_dark():
    voxels = np.full((5, 5, 5), 100, np.uint8)
    voxels[2:] = 101
    bare: dict[str, Any] = {"opening": 0, "closing": 0, "min_island": 0}
    assert found(voxels, MaskParams(**bare), 100.0).tolist() == (voxels == 101).tolist()
    assert found(voxels, MaskParams(phase="dark", **bare), 100.0).tolist() == (voxels == 100).tolist()


# ---------------------------------------------------------------- opening and closing


@pytest.mark.parametrize(("opening", "closing"), [(0, 0), (1, 0), (0, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("phase", ["bright", "dark"])
def test_opening_and_closing_repeat_the_image_edge(opening, closing, phase):
    voxels = grey((17, 19, 18), 3)
    params = MaskParams(phase=phase, opening=opening, closing=closing, min_island=0, max_hole=0)
    wanted = plain(voxels, params, 125.0)
    assert 0.05 < wanted.mean() < 0.95
    assert wanted[:, :, -1].any()  # the edge is not eaten
    for block in (None, (5, 6, 7)):
        np.testing.assert_array_equal(found(voxels, params, block=block), wanted)


def test_opening_is_that_of_dask_image_away_from_the_edge():
    voxels = grey((24, 24, 24), 4, outside=False)
    wide = da.from_array(np.pad(voxels > 125, 4, mode="edge"), chunks=16)
    opened = ndmorph.binary_closing(ndmorph.binary_opening(wide, ball(1)), ball(1))
    wanted = np.asarray(opened)[4:-4, 4:-4, 4:-4]
    np.testing.assert_array_equal(found(voxels, MaskParams(min_island=0, max_hole=0), block=(10, 9, 24)), wanted)


@settings(max_examples=12, deadline=None)
@given(
    data=st.data(),
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(9, 14)] * 3),
    phase=st.sampled_from(["bright", "dark"]),
    opening=st.integers(0, 2),
    closing=st.integers(0, 2),
)
def test_lazy_opening_and_closing_by_dask_image_are_those_of_the_step(data, seed, shape, phase, opening, closing):
    chunks = data.draw(st.tuples(*[st.integers(n // 2, n) for n in shape]))
    voxels = grey(shape, seed)
    inside = voxels > 0
    rough = (voxels > 125 if phase == "bright" else voxels <= 125) & inside
    assert 0 < rough.sum() < rough.size
    params = MaskParams(phase=phase, opening=opening, closing=closing, min_island=0, max_hole=0)
    lazily = open_and_close(xr.DataArray(da.from_array(rough, chunks), dims=SPATIAL), opening=opening, closing=closing)
    assert lazily.dtype == bool
    np.testing.assert_array_equal(lazily.compute(scheduler="synchronous") & inside, found(voxels, params))


# ---------------------------------------------------------------- any blocks


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(9, 16)] * 3),
    block=st.tuples(*[st.integers(1, 18)] * 3),
    phase=st.sampled_from(["bright", "dark"]),
    opening=st.integers(0, 2),
    closing=st.integers(0, 2),
    min_island=st.sampled_from([0, 5, 40]),
    max_hole=st.sampled_from([0, 4, 60]),
)
def test_masks_do_not_depend_on_the_blocks(seed, shape, block, phase, opening, closing, min_island, max_hole):
    block = tuple(max(b, n // 5) for b, n in zip(block, shape, strict=True))
    voxels = grey(shape, seed)
    params = MaskParams(phase=phase, opening=opening, closing=closing, min_island=min_island, max_hole=max_hole)
    wanted = plain(voxels, params, 125.0)
    bright = voxels > 125
    assert 0 < bright.sum() < bright.size
    if min(block) < 6:
        assert cut(bright, block) or cut(~bright, block)
    np.testing.assert_array_equal(found(voxels, params, block=block), wanted)


@pytest.mark.parametrize("block", [None, (1, 1, 1)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 6, 7), (5, 1, 1), (4, 5, 6)])
def test_thin_volumes_and_blocks_of_one_voxel(shape, block):
    voxels = grey(shape, 6, sd=0.5, outside=False)
    params = MaskParams(min_island=3, max_hole=3)
    np.testing.assert_array_equal(found(voxels, params, block=block), plain(voxels, params, 125.0))


@pytest.mark.parametrize("level", [0, 50, 200])
def test_volumes_of_one_level(level):
    voxels = np.full((6, 7, 8), level, np.uint8)
    for block in (None, (3, 3, 3)):
        assert found(voxels, MaskParams(), block=block).sum() == (voxels.size if level == 200 else 0)


# ---------------------------------------------------------------- lazily, over states


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("chunks", [(16, 17, 18), (5, 9, 18), (7, 4, 11)])
def test_lazy_equals_compute(chunks, scheduler):
    voxels = grey((16, 17, 18), 7)
    params = MaskParams(min_island=20, max_hole=20)
    steps = (threshold_pass(params), *passes(params))
    wanted = compute(steps, {"denoised": voxels})
    volumes, tables = dask.compute(*lazy(steps, {"denoised": da.from_array(voxels, chunks)}), scheduler=scheduler)
    np.testing.assert_array_equal(volumes["mask"], wanted[0]["mask"])
    assert tables["threshold"] == wanted[1]["threshold"]
    function = mask(xr.DataArray(da.from_array(voxels, chunks), dims=SPATIAL), min_island=20, max_hole=20)
    np.testing.assert_array_equal(function.compute(scheduler=scheduler), wanted[0]["mask"])


def test_one_threshold_for_all_states_unless_asked():
    first = grey((12, 12, 12), 8, outside=False)
    second = np.clip(first.astype(int) - 40, 1, 255).astype(np.uint8)
    states = xr.DataArray(np.stack([second, first]), dims=("state", *SPATIAL), coords={"state": ["a", "b"]})
    states = states.chunk(z=5)
    levels = {name: otsu(np.bincount(voxels.ravel(), minlength=256)) for name, voxels in (("a", second), ("b", first))}
    assert levels["a"] < levels["b"]

    def wanted(*thresholds):
        return np.stack([found(v, MaskParams(), t) for v, t in zip((second, first), thresholds, strict=True)])

    np.testing.assert_array_equal(mask(states), wanted(levels["a"], levels["a"]))
    np.testing.assert_array_equal(mask(states, reference="b"), wanted(levels["b"], levels["b"]))
    np.testing.assert_array_equal(mask(states, per_state=True), wanted(levels["a"], levels["b"]))
    np.testing.assert_array_equal(mask(states, threshold=99.5), wanted(99.5, 99.5))
    assert (wanted(levels["a"], levels["a"]) != wanted(levels["b"], levels["b"])).any()
    assert mask(states).dims == states.dims
    assert mask(states).dtype == bool


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"threshold": 256.0},
        {"threshold": "mean"},
        {"opening": -1},
        {"closing": 1.5},
        {"phase": "grey"},
        {"classes": 2},
        {"classes": 6},
        {"threshold_class": 0},
        {"threshold_class": 3},
        {"classes": 4, "threshold_class": 4},
    ],
)
def test_impossible_parameters(wrong):
    with pytest.raises(ValidationError):
        MaskParams(**wrong)


def test_the_halo_is_what_opening_and_closing_reach():
    for opening, closing in product(range(3), repeat=2):
        assert MaskParams(opening=opening, closing=closing).halo == 2 * (opening + closing)
