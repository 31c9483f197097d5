"""Layers of a particle's volume out of its shells, against grey levels that are known voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.kernels.layer_means import layer_means

LAYERS = ((0.0, 1 / 8), (1 / 8, 1 / 2), (1 / 2, 1.0))
SHELLS = st.lists(st.integers(1, 400), min_size=1, max_size=12)


def nested(counts: list[int], grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and sums of shells, the outermost first, of voxels that are in the order of their depth."""
    ends = np.cumsum(counts)
    return np.array(counts), np.array([part.sum() for part in np.split(grey, ends[:-1])])


@given(SHELLS, st.floats(-100, 100), st.floats(-1, 1))
def test_grey_that_is_linear_in_volume_has_exact_means(counts, level, slope):
    total = sum(counts)
    place = np.arange(total) + 0.5  # from the surface
    voxels, sums = nested(counts, level + slope * place)
    found, _ = layer_means(voxels, sums, LAYERS)
    wanted = [level + slope * total * (1 - (begin + end) / 2) for begin, end in LAYERS]
    if len(counts) == 1:  # nothing is known of the slope
        wanted = [level + slope * total / 2] * 3
    np.testing.assert_allclose(found, wanted, atol=1e-6 * max(1.0, total))


def innermost(counts: list[int], means: np.ndarray, share: float) -> float:
    """Return the sum over an innermost share of the volume, walking outwards from the deepest shell."""
    wanted, whole = share * sum(counts), 0.0
    ends = np.cumsum(counts)
    for k, (size, end) in enumerate(zip(counts, ends, strict=True)):
        if end < wanted:
            whole += size * means[k]
            continue
        beside = [n for n in (k - 1, k + 1) if 0 <= n < len(counts) and counts[n]]
        low, high = min([k, *beside]), max([k, *beside])
        apart = (ends[high] - counts[high] / 2) - (ends[low] - counts[low] / 2)
        slope = (means[high] - means[low]) / apart if apart else 0.0
        taken = wanted - (end - size)
        return whole + taken * means[k] + slope * taken * (taken - size) / 2
    raise AssertionError


PARTICLES = st.integers(1, 7).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 40), min_size=n, max_size=n).filter(any), min_size=1, max_size=3)
)


@given(PARTICLES, st.integers(0, 2**32 - 1))
def test_means_and_errors_are_those_of_a_walk_outwards(particles, seed):
    voxels = np.array(particles)
    means = np.random.default_rng(seed).normal(0, 100, voxels.shape)
    found, errors = layer_means(voxels[:, ::-1], (means * voxels)[:, ::-1], LAYERS)
    for row, counts in enumerate(particles):
        unit = [shell for shell, size in zip(np.eye(len(counts)), counts, strict=True) if size]
        for k, (begin, end) in enumerate(LAYERS):

            def layer(values, begin=begin, end=end, counts=counts):
                inside = innermost(counts, values, begin) if begin else 0.0
                return (innermost(counts, values, end) - inside) / (end - begin) / sum(counts)

            assert found[row, k] == pytest.approx(layer(means[row]), abs=1e-6)
            pulls = [layer(shell) ** 2 / size for shell, size in zip(unit, filter(None, counts), strict=True)]
            assert errors[row, k] == pytest.approx(np.sqrt(sum(pulls)), abs=1e-6)


@given(SHELLS, st.integers(0, 2**32 - 1))
def test_layers_add_up_to_the_whole(counts, seed):
    sums = np.random.default_rng(seed).integers(0, 255, len(counts)) * np.array(counts)
    found, _ = layer_means(np.array(counts), sums, (*LAYERS, (0.0, 1.0)))
    shares = [end - begin for begin, end in LAYERS]
    assert float(found[:3] @ shares) == pytest.approx(float(found[3]))
    assert float(found[3]) == pytest.approx(sums.sum() / sum(counts))


def test_a_layer_does_not_see_how_shells_are_rounded():
    grey = 150 - 60 * np.linspace(0, 1, 4000) ** 4  # a smooth crack in the middle
    radius = np.cbrt(np.linspace(1, 0, 4000, endpoint=False)) * 9.8
    inner, core = [], []
    for shift in np.linspace(0, 1, 11):
        shell = np.rint(9.8 - radius + shift).astype(int)
        counts = np.bincount(shell)
        voxels, sums = nested(counts[counts > 0].tolist(), grey)
        inner.append(layer_means(voxels, sums, LAYERS)[0][0])
        deep = 2 * np.arange(1, voxels.size + 1) > voxels.size
        core.append(sums[deep].sum() / voxels[deep].sum())
    assert np.ptp(core) > 6  # the core of whole shells jumps
    assert np.ptp(inner) < 1
    np.testing.assert_allclose(inner, grey[3500:].mean(), atol=1)


def test_the_error_is_that_of_drawn_noise():
    rng = np.random.default_rng(8)
    voxels = np.array([[300, 190, 100, 37, 8, 0], [60, 30, 7, 0, 0, 0]])
    noise = rng.normal(size=(4000, *voxels.shape)) * np.sqrt(voxels)
    means, errors = layer_means(np.broadcast_to(voxels, noise.shape), noise, LAYERS)
    np.testing.assert_allclose(means.std(axis=0), errors[0], rtol=0.06)
    assert (errors > 1 / np.sqrt(voxels.sum(axis=1))[:, None]).all()


def test_nothing_has_no_mean():
    means, errors = layer_means(np.zeros((2, 3), int), np.zeros((2, 3), int), LAYERS)
    assert np.isnan(means).all()
    assert np.isnan(errors).all()
