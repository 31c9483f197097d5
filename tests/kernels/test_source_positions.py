"""Lattices of displacements inside the resampling kernel."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.grid import Box, Grid
from crackdask.kernels.resample import resample_grey, resample_values, source_box
from crackdask.kernels.source_positions import STRAIGHT, Lattice, bent_ends, displacements, padded

SHAPE = (21, 26, 31)
WHOLE = Box.whole(SHAPE)
TURNED = np.array([[1, 0.02, -0.01, 0.3], [-0.02, 1, 0.03, -0.4], [0.01, -0.03, 1, 0.2], [0, 0, 0, 1.0]])


def lattice(seed: int = 0, size: float = 2.0, box: Box = WHOLE) -> Lattice:
    """Return nodes that differ wildly, not as smooth as any real field."""
    values = np.random.default_rng(seed).uniform(-size, size, (3, 4, 4, 3))
    return padded(values, (2.5, 1.5, 3.5), (8.0, 8.0, 10.0), box)


def scan() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 60_000, SHAPE).astype(np.uint16)


@given(st.tuples(*(st.integers(1, n) for n in SHAPE)), st.integers(0, 3), st.sampled_from(["cubic", "linear"]))
@settings(max_examples=25)
def test_no_block_shows_where_voxels_are_bent(
    block: tuple[int, int, int], seed: int, how: Literal["cubic", "linear"]
) -> None:
    voxels, bent = scan(), lattice(seed)
    options: dict[str, Any] = {"lo": 0.0, "hi": 6e4, "lattice": bent, "interpolation": how}
    wanted, counts = resample_grey(voxels, WHOLE, TURNED, WHOLE, SHAPE, **options)
    assert counts["valid"] > 1000
    found = np.zeros_like(wanted)
    for box in Grid(SHAPE, block):
        near = bent.near(box)  # what travels with a block
        window = source_box(TURNED, box, SHAPE, how, near) or Box((0, 0, 0), (1, 1, 1))
        assert window == (source_box(TURNED, box, SHAPE, how, bent) or window)
        own = options | {"lattice": near}
        found[box.slices], _ = resample_grey(voxels[window.slices], window, TURNED, box, SHAPE, **own)
    np.testing.assert_array_equal(found, wanted)


def test_a_straight_lattice_is_an_affine_transform() -> None:
    gradient = np.array([[0.01, -0.02, 0.015], [0.03, -0.01, 0.012], [-0.014, 0.02, 0.02]])
    nodes = np.stack(np.meshgrid(*(2.0 + 8 * np.arange(n) for n in (2, 3, 3)), indexing="ij"), axis=-1)
    bent = padded(nodes @ gradient.T + 0.5, (2.0, 2.0, 2.0), (8.0, 8.0, 8.0), WHOLE)
    affine = np.eye(4)
    affine[:3, :3] += gradient
    affine[:3, 3] = 0.5
    mine, held = resample_values(scan(), WHOLE, TURNED, WHOLE, SHAPE, lattice=bent)
    wanted, valid = resample_values(scan(), WHOLE, TURNED @ affine, WHOLE, SHAPE)
    both = held & valid
    assert both.mean() > 0.7
    assert (held != valid).mean() < 1e-3  # on the border, to the last bit
    np.testing.assert_allclose(mine[both], wanted[both], rtol=1e-4, atol=1)


def test_a_lattice_of_zeros_gives_the_same_bits_as_none() -> None:
    still = padded(np.zeros((2, 2, 2, 3)), (4.0, 4.0, 4.0), (8.0, 8.0, 8.0), WHOLE)
    mine, held = resample_values(scan(), WHOLE, TURNED, WHOLE, SHAPE, lattice=still)
    wanted, valid = resample_values(scan(), WHOLE, TURNED, WHOLE, SHAPE, lattice=STRAIGHT)
    np.testing.assert_array_equal(mine, wanted)
    np.testing.assert_array_equal(held, valid)


def test_a_lattice_goes_through_its_nodes_and_is_constant_where_there_is_one() -> None:
    bent = lattice()
    nodes = np.stack(np.meshgrid([2.5, 10.5, 18.5], [9.5], [3.5, 13.5], indexing="ij"), axis=-1).reshape(-1, 3)
    values = np.random.default_rng(0).uniform(-2, 2, (3, 4, 4, 3))
    np.testing.assert_allclose(displacements(bent, nodes), values[:, 1:2, :2].reshape(-1, 3), atol=1e-12)
    one = padded(np.array([[[[1.0, -2.0, 3.0]]]]), (10.0, 10.0, 10.0), (8.0, 8.0, 8.0), WHOLE)
    points = np.random.default_rng(1).uniform(0, 20, (9, 3))
    np.testing.assert_allclose(displacements(one, points), np.tile([1.0, -2.0, 3.0], (9, 1)), atol=1e-12)


@given(st.integers(0, 20), st.tuples(*(st.integers(0, n - 1) for n in SHAPE)))
@settings(max_examples=40)
def test_the_ends_of_a_box_hold_all_its_bent_voxels(seed: int, start: tuple[int, int, int]) -> None:
    box = Box(start, tuple(min(n, a + 7) for a, n in zip(start, SHAPE, strict=True)))  # type: ignore[arg-type]  # three
    bent = lattice(seed, 9.0)
    places = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True)), indexing="ij"))
    points = places.reshape(3, -1).T.astype(float)
    moved = points + displacements(bent, points)
    for axis, (low, high) in enumerate(bent_ends(bent, box)):
        assert low <= moved[:, axis].min()
        assert high >= moved[:, axis].max()


def test_a_part_of_a_lattice_is_small_and_parts_again_to_the_same() -> None:
    whole = Box.whole((400, 400, 400))
    bent = padded(np.random.default_rng(0).uniform(-2, 2, (25, 25, 25, 3)), (2.5, 1.5, 3.5), (16.0,) * 3, whole)
    outer, box = Box((100, 0, 200), (260, 90, 400)), Box((128, 64, 320), (160, 80, 352))
    near = bent.near(outer).near(box)
    assert near.values.shape == (6, 5, 6, 3)
    assert near.first != (0, 0, 0)
    points = np.random.default_rng(1).uniform(box.start, np.array(box.stop) - 1, (50, 3))
    np.testing.assert_array_equal(displacements(near, points), displacements(bent, points))
    assert STRAIGHT.near(box) is STRAIGHT
