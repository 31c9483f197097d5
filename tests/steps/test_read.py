"""The pass over a scan: raw copy, pyramid and histogram are the same for slabs of any thickness and tiles along y."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.blocks.in_memory import compute
from crackdask.grid import Box
from crackdask.sources import SourceError
from crackdask.steps import read
from crackdask.steps.histograms import extremes, histogram, two_passes
from crackdask.steps.read import ODD_SLICES, histogram_of, levels, passes, reduce_mean

SHAPE = (37, 42, 45)
SMALL = 2**12  # voxels of a coarse level, so that volumes of a test have factors of 4 and more
DTYPES = ("uint8", "uint16", "int16", "uint32", "float32", "float64")


@pytest.fixture(autouse=True)
def _small_pyramids(monkeypatch):
    monkeypatch.setattr(read, "levels", lambda shape: levels(shape, SMALL))


def scan(dtype="uint16", shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (rng.normal(size=shape) * 100 + 7).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def steps(voxels, fill=None, crop=None, name="charged"):
    return passes(name, voxels.dtype, voxels.shape, fill, crop or Box.whole(voxels.shape))


def same(found, wanted):
    for mine, yours in zip(found, wanted, strict=True):
        assert mine.keys() == yours.keys()
        for name in yours:
            assert mine[name].dtype == yours[name].dtype
            np.testing.assert_array_equal(mine[name], yours[name])


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(*[st.integers(17, 40)] * 3),
    thick=st.integers(1, 5),
    wide=st.integers(1, 5),
    fill=st.sampled_from([None, 3.0]),
    seed=st.integers(0, 99),
)
def test_slabs_and_tiles_do_not_show(dtype, shape, thick, wide, fill, seed):
    voxels = scan(dtype, shape, seed)
    voxels[::5, ::3] = 3
    factor = max(read.levels(shape))
    assert factor > 1
    passed = steps(voxels, fill, Box((2, 3, 4), (shape[0] - 3, shape[1] - 1, shape[2] - 5)))
    wanted = compute(passed, {"source": voxels})
    same(compute(passed, {"source": voxels}, block=(thick * factor, wide * factor, shape[2])), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fill", [None, 0.1, float("nan")])
@pytest.mark.parametrize("rows", [16, 48])
def test_slices_that_hold_nothing_of_their_own_are_found(dtype, fill, rows):
    voxels = scan(dtype)
    voxels[7] = voxels[6]
    voxels[20], voxels[24] = 9, voxels[23]
    voxels[24, 32, 1] += 1  # the first row of the third part
    real = np.dtype(dtype).kind == "f"
    if fill is not None and real:
        voxels[10:13] = fill
    elif fill is not None:
        return
    crop = Box((3, 0, 0), voxels.shape)
    _, tables = compute(steps(voxels, fill, crop), {"source": voxels}, block=(8, rows, voxels.shape[2]))
    assert tables[ODD_SLICES].tolist() == [7, 20]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fill", [None, 3.0])
def test_the_tables_are_those_of_the_whole_scan(dtype, fill):
    voxels = scan(dtype)
    voxels[:, 10:20] = 3
    crop = Box((5, 0, 7), (30, 42, 40))
    volumes, tables = compute(steps(voxels, fill, crop), {"source": voxels}, block=(8, 16, 45))
    np.testing.assert_array_equal(volumes["raw"], voxels)
    assert volumes["raw"].dtype == voxels.dtype
    for factor in read.levels(SHAPE):
        level = reduce_mean(voxels, factor, fill)
        assert tables[f"level_{factor}"].dtype == level.dtype
        np.testing.assert_array_equal(tables[f"level_{factor}"], level)
    cropped = np.ascontiguousarray(voxels[crop.slices])
    bins = extremes(cropped, fill).bins() if two_passes(voxels.dtype) else None
    wanted, found = histogram(cropped, bins, fill), histogram_of(tables)
    np.testing.assert_array_equal(found.counts, wanted.counts)
    assert (found.low, found.high, found.exact) == (wanted.low, wanted.high, wanted.exact)
    assert (found.below, found.above, found.left_out) == (wanted.below, wanted.above, wanted.left_out)
    assert found.voxels + found.left_out == crop.size
    assert (found.left_out > 0) == (fill is not None)


def test_whole_numbers_of_two_bytes_take_one_pass():
    assert [step.name for step in steps(scan("uint16"))] == ["read"]
    assert [step.name for step in steps(scan("float32"))] == ["read", "count"]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_crop_decides_the_histogram_alone(dtype):
    voxels = scan(dtype)
    voxels[:, :, 30:] = 100  # all that the crop leaves out
    crop = Box((0, 0, 0), (37, 42, 30))
    cut = compute(steps(voxels, None, crop), {"source": voxels}, block=(16, 16, 45))
    whole = compute(steps(voxels), {"source": voxels}, block=(16, 16, 45))
    assert histogram_of(cut[1]).voxels == crop.size
    assert histogram_of(whole[1]).voxels == voxels.size
    assert histogram_of(cut[1]).percentile(99) != histogram_of(whole[1]).percentile(99)
    np.testing.assert_array_equal(cut[0]["raw"], whole[0]["raw"])
    for factor in read.levels(SHAPE):
        np.testing.assert_array_equal(cut[1][f"level_{factor}"], whole[1][f"level_{factor}"])


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "float64"])
def test_slabs_outside_the_crop_count_nothing(dtype):
    voxels = scan(dtype)
    crop = Box((20, 18, 0), (22, 19, 45))
    _, tables = compute(steps(voxels, None, crop), {"source": voxels}, block=(8, 8, 45))
    assert histogram_of(tables).voxels == crop.size


def test_other_byte_orders_become_native():
    voxels = scan("uint16")
    swapped = voxels.astype(">u2")
    passed = passes("charged", swapped.dtype, SHAPE, None, Box.whole(SHAPE))
    assert np.dtype(passed[0].writes["raw"]).isnative


@pytest.mark.parametrize("block", [None, (8, 16, 45)])
def test_bad_voxels_are_named_by_slice(block):
    voxels = scan("float32")
    voxels[11, 40, 2], voxels[11, 3, 3], voxels[30, 0, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(SourceError, match=r"charged: found \d voxels? that are NaN or infinite in slice.* 11"):
        compute(steps(voxels), {"source": voxels}, block=block)
    marked = scan("float32")
    marked[:, :9] = np.nan
    _, tables = compute(steps(marked, np.nan), {"source": marked}, block=block)
    assert histogram_of(tables).left_out == marked[:, :9].size
    assert np.isnan(tables[f"level_{read.levels(SHAPE)[0]}"][:, :2]).all()
    marked[3, 30, 3] = np.inf
    with pytest.raises(SourceError, match=r"found 1 voxels .* in slice 3, wanted"):
        compute(steps(marked, np.nan), {"source": marked}, block=block)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_constant_scans_are_refused(dtype):
    flat = np.full(SHAPE, 9, dtype)
    with pytest.raises(SourceError, match="charged: every voxel is 9"):
        compute(steps(flat), {"source": flat}, block=(8, 16, 45))
    with pytest.raises(SourceError, match="every voxel is the fill value"):
        compute(steps(flat, 9.0), {"source": flat}, block=(8, 16, 45))
