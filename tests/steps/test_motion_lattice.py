"""The lattice of displacements: where its nodes lie, and which matches stand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.grid import Box, Triple
from crackdask.steps.motion_lattice import Matched, Nodes, believed, filled, smoothed
from tests.support.threes import three

COUNTS = (5, 6, 7)
edges = st.integers(1, 400)


@given(st.tuples(edges, edges, edges), st.tuples(*[st.integers(0, 9)] * 3), st.sampled_from([16, 33, 40, 100]))
def test_nodes_lie_inside_evenly_and_near_enough(shape: Triple, start: Triple, spacing: int) -> None:
    region = Box(start, three(a + n for a, n in zip(start, shape, strict=True)))
    for shift in (False, True):
        nodes = Nodes.of(region, spacing, 40, shift)
        for corner in product(*((0, n - 1) for n in nodes.counts)):
            block = nodes.block(three(corner))
            if min(shape) >= 2:
                assert block.intersect(region) == block
        assert all((f - a) % 2 == 0 for f, a in zip(nodes.first, region.start, strict=True))
        assert all(s <= max(spacing, 2) or n == 1 for s, n in zip(nodes.step, nodes.counts, strict=True))
        tiles = list(nodes.tiles(3))
        assert sum(tile.size for tile in tiles) == np.prod(nodes.counts)


def matched(displacement: np.ndarray, error: float = 0.02) -> Matched:
    counts = displacement.shape[:3]
    return Matched(displacement, np.full(counts, error), np.full(counts, 0.9), np.ones(counts, bool))


def straight() -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(float(n)) for n in COUNTS), indexing="ij")
    return np.stack([0.3 * z - 0.2 * y, 0.1 * x + 1, 0.4 * y], axis=-1)


def test_a_wild_match_is_set_aside_and_filled_from_around_it() -> None:
    values = straight()
    values[2, 3, 3] += (0, 7, 0)
    values[0, 0, 0] -= (5, 0, 5)
    kept = believed(matched(values))
    assert np.argwhere(~kept.good).tolist() == [[0, 0, 0], [2, 3, 3]]
    mended = filled(kept)
    np.testing.assert_allclose(mended.displacement[2, 3, 3], straight()[2, 3, 3], atol=1e-9)
    assert mended.error[2, 3, 3] >= 0.5
    np.testing.assert_array_equal(mended.displacement[kept.good], values[kept.good])


def slipped() -> np.ndarray:
    values = straight()
    values[3:] += (0, 2.0, -1.0)
    return values


def test_a_slip_is_no_wild_match_and_is_not_smoothed() -> None:
    found = matched(slipped())
    assert believed(found).good.all()
    np.testing.assert_allclose(smoothed(found).displacement, slipped(), atol=0.02)


def test_noise_within_its_error_goes_and_what_is_straight_stays() -> None:
    np.testing.assert_allclose(smoothed(matched(straight())).displacement, straight(), atol=1e-12)
    noise = np.random.default_rng(0).normal(0, 0.05, (*COUNTS, 3))
    after = smoothed(matched(straight() + noise, 0.05)).displacement - straight()
    assert np.sqrt((after**2).mean()) < 0.75 * 0.05
    sure = smoothed(matched(straight() + noise, 0.001)).displacement
    np.testing.assert_allclose(sure, straight() + noise, atol=0.005)


def test_nothing_matched_is_no_displacement_and_no_certainty() -> None:
    nothing = Matched(np.ones((2, 2, 2, 3)), np.ones((2, 2, 2)), np.zeros((2, 2, 2)), np.zeros((2, 2, 2), bool))
    left = filled(nothing)
    assert not left.displacement.any()
    assert np.isinf(left.error).all()


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 2, 2), (1, 4, 2)])
def test_few_nodes_are_taken_as_they_are(counts: Triple) -> None:
    values = np.random.default_rng(1).normal(0, 1, (*counts, 3))
    whole = smoothed(filled(believed(matched(values))))
    if min(counts) < 3 and max(counts) < 3:
        np.testing.assert_array_equal(whole.displacement, values)
    assert np.isfinite(whole.displacement).all()
