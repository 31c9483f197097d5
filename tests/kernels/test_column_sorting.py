"""Sorted rows and the way back: against numpy's stable sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.kernels.column_sorting import sorted_rows, transposed, unsorted_columns


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    scale=st.sampled_from([1e-38, 1.0, 1e30]),
    ties=st.booleans(),
)
def test_order_is_that_of_a_stable_sort_and_can_be_undone(seed, shape, scale, ties):
    drawn = np.random.default_rng(seed).normal(size=shape) * scale
    matrix = (np.sign(drawn) if ties else drawn).astype(np.float32)
    values, order = sorted_rows(matrix)
    wanted = np.argsort(matrix, axis=1, kind="stable")
    np.testing.assert_array_equal(order, wanted)
    np.testing.assert_array_equal(values, np.take_along_axis(matrix, wanted, axis=1))
    np.testing.assert_array_equal(unsorted_columns(values, order), matrix.T)
    np.testing.assert_array_equal(transposed(matrix), matrix.T)


def test_zeros_of_both_signs_are_equal():
    order = sorted_rows(np.array([[0.0, -0.0, 1.0, -0.0]], np.float32))[1]
    assert order.tolist() == [[0, 1, 3, 2]]
