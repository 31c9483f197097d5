"""Distances and smoothing against plain loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.kernels import depth_in_mask
from tests.support.threes import three


def blobs(seed: int, shape: tuple[int, int, int], level: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    return smooth > level * smooth.std()


def plain_squares(mask, weights, cap):
    """Look at every voxel outside the mask, for every voxel."""
    outside = np.argwhere(~mask)
    squares = np.full(mask.shape, cap, np.int64)
    for at in product(*map(range, mask.shape)):
        if len(outside):
            squares[at] = min(cap, int((((outside - at) ** 2) * weights).sum(axis=1).min()))
    return squares


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    weights=st.tuples(*[st.integers(1, 9)] * 3),
    cap=st.sampled_from([3, 40, 900, 30000, 50000, 10**9]),
    level=st.sampled_from([-9.0, -1.5, -0.5, 0.5, 9.0]),
)
def test_squared_distance_equals_brute_force(seed, shape, weights, cap, level):
    mask = blobs(seed, shape, level)
    squares = depth_in_mask.squared_distance(mask, weights, cap)
    assert squares.dtype == (np.uint16 if cap < 32768 else np.uint32)
    np.testing.assert_array_equal(squares, plain_squares(mask, weights, cap))


@pytest.mark.parametrize("voxel_um", [(1.0, 1.0, 1.0), (0.325,) * 3, (2.0, 1.0, 1.0), (0.5, 0.37, 0.61)])
def test_distances_are_those_of_scipy(voxel_um):
    mask = blobs(1, (40, 70, 90), -0.5)
    weights, unit = depth_in_mask.square_weights(voxel_um)
    squares = depth_in_mask.squared_distance(mask, weights, 60**2 * unit)
    wanted = ndimage.distance_transform_edt(mask, sampling=np.array(voxel_um) / min(voxel_um))
    assert 5 < wanted.max() < 60
    np.testing.assert_allclose(np.sqrt(squares / unit), wanted, rtol=3e-4)
    depth = depth_in_mask.depth_of_squares(squares.copy(), unit, 64)
    assert depth.dtype == np.uint16
    np.testing.assert_allclose(depth / 64, np.sqrt(squares / unit), atol=1 / 128 + 1e-5)


def test_isotropic_squares_are_exact_integers():
    mask = blobs(2, (30, 60, 64), -0.7)
    squares = depth_in_mask.squared_distance(mask, (1, 1, 1), 40**2)
    wanted = np.rint(ndimage.distance_transform_edt(mask) ** 2)
    np.testing.assert_array_equal(squares, np.minimum(wanted, 1600))


@pytest.mark.parametrize("sd", [0.0, 0.3, 1.0, 2.5, 8.0])
def test_gaussian_taps_add_up(sd):
    taps = depth_in_mask.gaussian_taps(sd)
    whole = int(taps[0]) + 2 * int(taps[1:].sum())
    assert whole == 4096
    assert (np.diff(taps.astype(int)) <= 0).all()
    assert taps[-1] > 0


def plain_smooth(depth, taps, shift):
    """Weigh integers axis by axis, rounding to nearest after each."""
    out = depth.astype(np.int64)
    for axis, half in enumerate(taps):
        reach = half.size - 1
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        wide = np.pad(out, pad, mode="edge")
        drop = 12 + (shift if axis == 2 else 0)
        total = np.full(out.shape, (1 << drop) >> 1, np.int64)
        for k in range(-reach, reach + 1):
            part = np.take(wide, range(reach + k, reach + k + out.shape[axis]), axis=axis)
            total += part * int(half[abs(k)])
        out = total >> drop
    return out


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(3, 12)] * 3),
    sds=st.tuples(*[st.sampled_from([0.0, 0.4, 1.0, 1.7])] * 3),
    shift=st.integers(0, 4),
)
def test_smooth_equals_plain_sums(seed, shape, sds, shift):
    rng = np.random.default_rng(seed)
    depth = rng.integers(0, 1 << 16, shape, dtype=np.uint16)
    start = three(int(rng.integers(0, n - 1)) for n in shape)
    size = tuple(int(rng.integers(1, n - a + 1)) for n, a in zip(shape, start, strict=True))
    mask = rng.random(size) < 0.7
    taps = three(depth_in_mask.gaussian_taps(sd) for sd in sds)
    part = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    wanted = np.where(mask, np.maximum(plain_smooth(depth, taps, shift)[part], 1), 0)
    np.testing.assert_array_equal(depth_in_mask.smooth(depth, mask, taps, start, shift), wanted)


def test_smooth_is_a_gaussian():
    mask = blobs(3, (30, 31, 32), -0.6)
    squares = depth_in_mask.squared_distance(mask, (1, 1, 1), 40**2)
    taps = depth_in_mask.gaussian_taps(1.0)
    depth = depth_in_mask.depth_of_squares(squares.copy(), 1, 64 << 4)
    found = depth_in_mask.smooth(depth, mask, (taps,) * 3, (0, 0, 0), 4)
    wanted = ndimage.gaussian_filter(np.sqrt(squares), 1.0, truncate=3.0, mode="nearest")
    np.testing.assert_allclose(found[mask] / 64, wanted[mask], atol=0.01)
