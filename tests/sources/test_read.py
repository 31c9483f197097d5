"""Pyramid, histograms and refusals: against plain loops, and the same for any slab."""

from __future__ import annotations

from functools import reduce
from math import isnan, lcm, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crackdask.grid import Grid
from crackdask.sources import SourceError
from crackdask.steps.histograms import Extremes, Histogram, extremes, histogram, two_passes
from crackdask.steps.read import levels, reduce_mean, refuse_constant, refuse_nonfinite, slabs

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DTYPES = ("uint8", "uint16", "uint32", "int16", "float32", "float64")
Voxels = np.ndarray[Any, np.dtype[Any]]


def noise(dtype: str, shape: tuple[int, int, int] = (40, 30, 50), seed: int = 0) -> Voxels:
    """Voxels over the whole range of a type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (rng.normal(size=shape) * 100 + 7).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def slow_mean(volume: Voxels, f: int, fill: float | None) -> Voxels:
    """Cube means in plain Python, whole numbers without limits."""
    whole = volume.dtype.kind in "iu"
    out = np.empty([-(-n // f) for n in volume.shape], volume.dtype if whole else np.float32)
    for z, y, x in np.ndindex(*out.shape):
        cube = volume[z * f : z * f + f, y * f : y * f + f, x * f : x * f + f].ravel().tolist()
        kept = [v for v in cube if not (v == fill or (fill is not None and isnan(v)))]
        if not kept:
            out[z, y, x] = fill
        elif whole:
            out[z, y, x] = (2 * sum(kept) + len(kept)) // (2 * len(kept))
        else:
            total = 0.0
            for v in kept:
                total += v
            out[z, y, x] = total / len(kept)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_means_equal_a_plain_loop(dtype: str, factor: int) -> None:
    volume = noise(dtype, (9, 10, 21))
    found = reduce_mean(volume, factor)
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(found, slow_mean(volume, factor, None), rtol=2e-6, atol=1e-5)
        assert found.dtype == np.float32
    else:
        np.testing.assert_array_equal(found, slow_mean(volume, factor, None))
        assert found.dtype == volume.dtype


@pytest.mark.parametrize(("dtype", "fill"), [("uint8", 0), ("int16", -1), ("float32", np.nan)])
def test_means_leave_fill_out(dtype: str, fill: float) -> None:
    volume = noise(dtype, (9, 10, 21))
    volume[:, :5] = fill
    volume[::2, 5:] = fill
    found = reduce_mean(volume, 4, fill)
    np.testing.assert_allclose(found, slow_mean(volume, 4, fill), rtol=1e-6)
    assert np.array_equal(found[:, 0], np.full_like(found[:, 0], fill), equal_nan=dtype[0] == "f")
    assert np.nanstd(found[:, 1:]) > 0
    if dtype == "int16":
        unused = reduce_mean(volume, 4, 1e9)
        np.testing.assert_array_equal(unused, reduce_mean(volume, 4))


def test_halves_round_up_on_both_sides_of_zero() -> None:
    pairs = np.array([[[1, 2, -1, -2, -1, 0]]], np.int16)
    assert reduce_mean(pairs, 2).tolist() == [[[2, -1, 0]]]


def test_sums_do_not_overflow() -> None:
    full = np.full((64, 64, 64), np.iinfo(np.uint32).max, np.uint32)
    assert reduce_mean(full, 64).item() == np.iinfo(np.uint32).max
    assert reduce_mean(full[:33, :33, :33], 32).min() == np.iinfo(np.uint32).max


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(*[st.integers(3, 40)] * 3),
    thick=st.integers(1, 4),
    wide=st.integers(1, 4),
    fill=st.sampled_from([None, 0.0]),
)
def test_slabs_and_tiles_do_not_show(
    dtype: str, shape: tuple[int, int, int], thick: int, wide: int, fill: float | None
) -> None:
    volume = noise(dtype, shape)
    assert volume.std() > 0
    coarse = 4
    dz, dy = thick * coarse, wide * coarse
    bins = None
    cuts = [[volume[z : z + dz, y : y + dy] for y in range(0, shape[1], dy)] for z in range(0, shape[0], dz)]
    parts = [np.ascontiguousarray(part) for row in cuts for part in row]
    if two_passes(volume.dtype):
        ends = reduce(Extremes.merge, [extremes(part, fill) for part in parts])
        whole = extremes(volume, fill)
        assert ends.bins() == whole.bins()
        np.testing.assert_array_equal(ends.keys, whole.keys)
        bins = ends.bins()
    merged = reduce(Histogram.merge, [histogram(part, bins, fill) for part in parts])
    whole_histogram = histogram(volume, bins, fill)
    np.testing.assert_array_equal(merged.counts, whole_histogram.counts)
    assert merged.voxels + merged.left_out == volume.size
    assert merged.percentile(0.1) == whole_histogram.percentile(0.1)
    for factor in (4, 2):
        tiled = np.concatenate(
            [np.concatenate([reduce_mean(np.ascontiguousarray(part), factor, fill) for part in row], 1) for row in cuts]
        )
        np.testing.assert_array_equal(tiled, reduce_mean(volume, factor, fill))


@given(shape=st.tuples(*[st.integers(1, 5000)] * 3), largest=st.integers(8, 2**22))
def test_levels_bound_the_coarse_volume(shape: tuple[int, int, int], largest: int) -> None:
    factors = levels(shape, largest)

    def size(factor: int) -> int:
        return int(np.prod([-(-n // factor) for n in shape], dtype=object))

    assert size(factors[0]) <= largest
    if len(factors) == 2:
        assert factors[0] == 2 * factors[1]
        assert largest < size(factors[1]) <= 8 * largest
    else:
        assert factors == (1,)


def test_levels_of_the_scans_in_mind() -> None:
    assert levels((2150, 2560, 2560)) == (32, 16)
    assert levels((200, 770, 1540)) == (8, 4)
    assert levels((128, 128, 128)) == (2, 1)
    assert levels((101, 101, 101)) == (1,)


@given(
    shape=st.tuples(*[st.integers(1, 3000)] * 3),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    chunk=st.tuples(*[st.sampled_from([1, 10, 32, 64, 96])] * 3),
    budget=st.integers(1, 2**34),
)
def test_slabs_fit_the_budget_the_chunks_and_the_pyramid(
    shape: tuple[int, int, int], itemsize: int, chunk: tuple[int, int, int], budget: int
) -> None:
    grid, factor = slabs(shape, itemsize, chunk, budget), max(levels(shape))
    assert grid.shape == shape
    assert grid.block[2] == shape[2]
    for block, unit in zip(grid.block[:2], chunk[:2], strict=True):
        assert block % unit == 0
        assert block % factor == 0
    assert grid.block[0] == lcm(chunk[0], factor)  # as few slices as can be
    if grid.block[1] > lcm(chunk[1], factor):
        assert prod(grid.block) * itemsize <= budget


def test_slabs_of_the_scans_in_mind() -> None:
    assert slabs((2150, 2560, 2560), 2, (32, 64, 64), 2**30).block == (32, 2560, 2560)
    tiled = slabs((2150, 2560, 2560), 2, (32, 64, 64), 2**26)
    assert (tiled.block, tiled.counts) == ((32, 384, 2560), (68, 7, 1))
    assert slabs((20, 30, 40), 2, (32, 64, 64), 1) == Grid((20, 30, 40), (32, 64, 40))
    assert slabs((2150, 2560, 2560), 2, (48, 48, 48), 1).block == (96, 96, 2560)


# ---------------------------------------------------------------- histograms


@settings(max_examples=60, deadline=None)
@given(
    volume=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
    ),
    q=st.floats(0, 100),
)
def test_percentiles_of_whole_numbers_are_exact(volume: Voxels, q: float) -> None:
    found = histogram(volume).percentile(q)
    assert found == pytest.approx(float(np.percentile(volume, q)), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint32", "float32", "float64"])
@pytest.mark.parametrize("q", [0.0, 0.1, 1, 50, 99, 99.9, 100])
def test_percentiles_in_two_passes(dtype: str, q: float) -> None:
    volume = noise(dtype)
    bins = extremes(volume).bins()
    width = (bins[1] - bins[0]) / 65536
    found = histogram(volume, bins).percentile(q)
    few = 0 if 0 < q < 100 else np.abs(np.percentile(volume, [q])[0] - np.clip(found, *bins))
    assert found == pytest.approx(float(np.percentile(volume, q)), abs=2 * width + few, rel=1e-3)


def test_a_hot_voxel_does_not_spoil_the_bins() -> None:
    volume = noise("float32", (60, 60, 60))
    truth = np.percentile(volume, [0.1, 99.9])
    volume[3, 3, 3], volume[5, 5, 5] = 3e38, -3e38
    found = extremes(volume)
    low, high = found.bins()
    assert (found.low, found.high) == (float(np.float32(-3e38)), float(np.float32(3e38)))
    assert -1000 < low < truth[0] < truth[1] < high < 1000
    counted = histogram(volume, (low, high))
    assert counted.below >= 1
    assert counted.above >= 1
    assert counted.voxels == volume.size
    assert [counted.percentile(0.1), counted.percentile(99.9)] == pytest.approx(truth, abs=0.1)


@settings(deadline=None)
@given(
    volume=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.uint32]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
    )
)
def test_bins_hold_all_voxels_of_small_volumes(volume: Voxels) -> None:
    found = extremes(volume)
    finite = volume[np.isfinite(volume)]
    assert found.nonfinite == volume.size - finite.size
    if finite.size and finite.min() < finite.max():
        assert (found.low, found.high) == (finite.min(), finite.max())
        assert int(found.keys.sum()) == finite.size
        if abs(found.high) < 3e38 and abs(found.low) < 3e38:  # as float32 finite
            low, high = found.bins()
            assert low <= np.float32(finite.min()) or low == pytest.approx(found.low, rel=1e-6)
            assert high >= np.float32(finite.max()) or high == pytest.approx(found.high, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fill_is_left_out(dtype: str) -> None:
    volume = noise(dtype)
    volume[:, 10:20] = 3
    rest = volume[volume != 3]
    bins = extremes(volume, 3).bins() if two_passes(volume.dtype) else None
    found = histogram(volume, bins, fill=3)
    assert (found.voxels, found.left_out) == (rest.size, volume.size - rest.size)
    assert found.percentile(50) == pytest.approx(float(np.percentile(rest, 50)), rel=1e-2)


def test_fill_is_compared_as_the_voxels_hold_it() -> None:
    volume = noise("float32")
    volume[0] = -1000.1  # no float32: the recipe's number has to be rounded like the voxels
    assert extremes(volume, -1000.1).left_out == volume[0].size
    volume[0] = np.nan
    found = extremes(volume, np.nan)
    assert (found.nonfinite, found.left_out) == (0, volume[0].size)
    assert histogram(volume, found.bins(), np.nan).left_out == volume[0].size


def test_written_down_and_back() -> None:
    volume = noise("float32")
    ends = Extremes.of(extremes(volume, 0).arrays())
    assert ends.bins() == extremes(volume, 0).bins()
    counted = histogram(volume, (-5.0, 5.0))
    again = Histogram.of(counted.arrays())
    assert again.percentile(25) == counted.percentile(25)
    assert (again.below, again.above, again.exact) == (counted.below, counted.above, False)
    assert all(isinstance(part, np.ndarray) for part in ends.arrays().values())


def test_centres_are_the_values() -> None:
    assert histogram(np.zeros((1, 1, 1), np.int16)).centres[[0, -1]].tolist() == [-32768, 32767]
    centres = histogram(np.zeros((1, 1, 1), np.float32), (0.0, 65536.0)).centres
    assert centres[:2].tolist() == [0.5, 1.5]


def test_mistakes_in_histograms() -> None:
    with pytest.raises(ValueError, match="between two values, low < high, found None"):
        histogram(noise("float32"))
    with pytest.raises(ValueError, match=r"low < high, found \(1.0, 1.0\)"):
        histogram(noise("float32"), (1.0, 1.0))
    with pytest.raises(ValueError, match="different bins cannot be merged"):
        histogram(noise("uint8")).merge(histogram(noise("int16")))
    with pytest.raises(ValueError, match="percentile 101"):
        histogram(noise("uint8")).percentile(101)
    with pytest.raises(ValueError, match="without voxels"):
        histogram(np.zeros((2, 2, 2), np.uint8), fill=0).percentile(50)


# ---------------------------------------------------------------- refusals


def test_nonfinite_slices_are_named() -> None:
    slab = noise("float32")
    refuse_nonfinite(slab, 100, "charged")
    slab[3, 4, 5], slab[7, 0, 0] = np.nan, np.inf
    with pytest.raises(SourceError, match=r"charged: found 2 voxels .* in slices 103, 107, wanted"):
        refuse_nonfinite(slab, 100, "charged")
    with pytest.raises(SourceError, match=r"found 1 voxels .* in slice 107, wanted"):
        refuse_nonfinite(slab, 100, "charged", fill=np.nan)
    refuse_nonfinite(noise("uint8"), 0, "charged")


def test_constant_scans_are_refused() -> None:
    flat = np.full((3, 4, 5), 7, np.uint8)
    with pytest.raises(SourceError, match="charged: every voxel is 7, wanted an image"):
        refuse_constant(histogram(flat), "charged")
    with pytest.raises(SourceError, match="every voxel is 7"):
        refuse_constant(extremes(flat.astype(np.float32)), "charged")
    with pytest.raises(SourceError, match="every voxel is the fill value"):
        refuse_constant(histogram(flat, fill=7), "charged")
    with pytest.raises(SourceError, match="every voxel is the fill value"):
        refuse_constant(extremes(flat.astype(np.float64), fill=7), "charged")
    refuse_constant(histogram(noise("uint8")), "charged")
    refuse_constant(extremes(noise("float32")), "charged")


@pytest.mark.parametrize("name", ["snow", "snow_moved", "cement"])
def test_measured_volumes(name: str) -> None:
    path = DATA / f"{name}.tif"
    if not path.exists():
        pytest.skip(f"{path.name} is not in {DATA.name}/ beside the checkout")
    volume = tifffile.imread(path)
    bins = extremes(volume).bins() if two_passes(volume.dtype) else None
    found = histogram(volume, bins)
    width = 0 if bins is None else (bins[1] - bins[0]) / 65536
    for q in (0.1, 50, 99.9):
        assert found.percentile(q) == pytest.approx(float(np.percentile(volume, q)), abs=2 * width)
