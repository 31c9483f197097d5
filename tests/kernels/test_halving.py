"""Half as many voxels: means of grey levels against a plain loop and numpy, every second label."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.kernels.halving import halved_grey, halved_labels
from tests.support.tiny import Voxels


def plain(fine: Voxels) -> Voxels:
    """Return the means of the voxels that are not 0 among 2 x 2 x 2, one by one; `rint` rounds halves to even."""
    coarse = np.zeros([-(-n // 2) for n in fine.shape], np.uint8)
    for at in np.ndindex(coarse.shape):
        cube = fine[tuple(slice(2 * k, 2 * k + 2) for k in at)].astype(float)
        if (cube > 0).any():
            coarse[at] = np.rint(cube[cube > 0].mean())
    return coarse


@st.composite
def volumes(draw: st.DrawFn) -> Voxels:
    shape = draw(st.tuples(*[st.integers(1, 7)] * 2, st.integers(1, 300)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grey = rng.integers(1, draw(st.sampled_from([3, 256])), shape).astype(np.uint8)
    return np.where(rng.random(shape) < draw(st.sampled_from([0.0, 0.02, 0.5, 1.0])), 0, grey).astype(np.uint8)


@given(volumes())
def test_means_equal_a_plain_loop(fine: Voxels) -> None:
    found = halved_grey(fine)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, plain(fine))


def test_every_sum_of_eight_is_rounded_as_numpy_rounds() -> None:
    """Also where one of the eight is outside; sums of all sizes occur, and all remainders."""
    sums = np.arange(8, 8 * 255 + 1)
    fine = (sums[:, None] + np.arange(8)) // 8  # eight whole numbers that add up to each sum
    assert (fine.sum(axis=1) == sums).all()
    laid = fine.astype(np.uint8).reshape(-1, 2, 2, 2).transpose(1, 2, 0, 3).reshape(2, 2, -1)
    np.testing.assert_array_equal(halved_grey(laid).ravel(), np.rint(sums / 8))
    outside = laid.copy()
    outside[0, 0, ::2] = 0
    np.testing.assert_array_equal(halved_grey(outside).ravel(), np.rint(fine[:, 1:].sum(axis=1) / 7))


def test_what_is_outside_darkens_nothing_and_nothing_becomes_outside() -> None:
    for inside in product([False, True], repeat=8):
        cube = np.where(np.array(inside).reshape(2, 2, 2), 200, 0).astype(np.uint8)
        assert halved_grey(cube).item() == (200 if any(inside) else 0)
    assert halved_grey(np.array([[[1, 0], [0, 0]]], np.uint8)).item() == 1


def test_many_levels_drift_neither_up_nor_down() -> None:
    fine = np.random.default_rng(5).integers(1, 256, (128, 128, 128)).astype(np.uint8)
    level = fine
    for _ in range(4):
        level = halved_grey(level)
    assert abs(level.mean() - fine.mean()) < 0.05


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (4, 4, 4), (7, 1, 2)])
def test_labels_are_every_second_one(shape: tuple[int, int, int]) -> None:
    fine = np.random.default_rng(1).integers(0, 2**32, shape, dtype=np.uint32)
    found = halved_labels(fine)
    assert found.dtype == np.uint32
    assert found.flags.c_contiguous
    for at in np.ndindex(found.shape):
        assert found[at] == fine[tuple(2 * k for k in at)]
    assert found.shape == tuple(-(-n // 2) for n in shape)
