"""Counts of raw voxels against plain numpy: bins, leading bits, extremes. Means: tests/sources/test_read.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crackdask.steps.histograms import BINS, extremes, histogram

VOLUMES = st.sampled_from(["float32", "float64", "uint32"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, max_side=4))
)


def leading_bits(voxels: np.ndarray) -> np.ndarray:
    """Return 16 bits of each voxel that rise with it."""
    if voxels.dtype.kind == "u":
        return voxels >> 16
    with np.errstate(over="ignore"):
        bits = voxels.astype(np.float32).view(np.uint32).astype(np.int64)
    return np.where(bits >= 2**31, 2**32 - 1 - bits, bits + 2**31) >> 16


@settings(max_examples=80)
@given(volume=VOLUMES, marks_fill=st.booleans())
def test_extremes_are_those_of_numpy(volume, marks_fill):
    fill = float(volume[0, 0, 0]) if marks_fill else None
    is_fill = np.zeros(volume.shape, bool)
    if fill is not None:
        is_fill = np.isnan(volume) if np.isnan(fill) else volume == fill
    found, finite = extremes(volume, fill), volume[np.isfinite(volume) & ~is_fill]
    assert (found.left_out, found.nonfinite) == (is_fill.sum(), (~is_fill & ~np.isfinite(volume)).sum())
    assert (found.low, found.high) == ((finite.min(), finite.max()) if finite.size else (np.inf, -np.inf))
    np.testing.assert_array_equal(found.keys, np.bincount(leading_bits(finite), minlength=BINS))


@pytest.mark.parametrize("fill", [None, 12.0, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint32"])
def test_bins_are_those_of_numpy(dtype, fill):
    low, high = 10.0, 90.0
    drawn = np.random.default_rng(0).uniform(0, 100, (12, 13, 14)).astype(dtype)
    drawn[0, :5, 0] = low, high, 12, 0, 100
    if dtype != "uint32":
        drawn[3, 3] = np.nan
        drawn[4, 4, :4] = (
            np.nextafter(drawn.dtype.type(low), 0),
            np.nextafter(drawn.dtype.type(high), 99),
            np.inf,
            -np.inf,
        )
    found = histogram(drawn, (low, high), fill)
    values = drawn.astype(float)
    is_fill = np.zeros(drawn.shape, bool) if fill is None else np.isnan(values) if np.isnan(fill) else values == fill
    inside = ~is_fill & (values >= low) & (values <= high)
    place = np.minimum(np.floor((values[inside] - low) * (BINS / (high - low))).astype(int), BINS - 1)
    np.testing.assert_array_equal(found.counts, np.bincount(place, minlength=BINS))
    outside = (~is_fill & (values < low)).sum(), (~is_fill & (values > high)).sum()
    assert (found.below, found.above, found.left_out) == (*outside, is_fill.sum())
    assert min(outside) > 0


@pytest.mark.parametrize("size", [1, 2, 7, 60])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_whole_numbers_are_counted_one_by_one(dtype, size):
    limits = np.iinfo(dtype)
    drawn = np.random.default_rng(size).integers(limits.min, limits.max, (1, 1, size), dtype, endpoint=True)
    drawn[..., size // 2 :] = limits.max
    found = histogram(drawn)
    np.testing.assert_array_equal(
        found.counts, np.bincount(drawn.ravel().astype(int) - limits.min, minlength=found.counts.size)
    )
