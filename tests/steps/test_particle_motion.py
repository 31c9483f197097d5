"""How particles moved: what is looked for again, what is believed, and the strain around."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.blocks.in_memory import MemoryBlock, compute
from crackdask.blocks.passes import Array, Tables
from crackdask.grid import Box, Grid
from crackdask.kernels.particle_shift import NO_START, PARTS, SUMS
from crackdask.steps.particle_motion import ParticleShifts, likely, passes_again, strain
from crackdask.steps.registration_result import StoredField
from crackdask.steps.stretches import UNSTRETCHED


def first(step: np.ndarray) -> np.ndarray:
    """Return sums whose solution is this step: gradients along each axis of their own."""
    sums = np.zeros((len(step), SUMS), np.int64)
    sums[:, :3], sums[:, 13] = 10**6, 1000
    sums[:, 6:9] = np.rint(np.nan_to_num(step) * 10**6 / 2)
    return sums


def rest(step: np.ndarray) -> np.ndarray:
    """Return the same for sums from a start, whose differences have eight bits more."""
    sums = first(step)
    sums[:, 6:9] *= 256
    return sums


def test_only_what_moved_far_is_looked_for_again() -> None:
    step = np.array([[0.1, -0.2, 0.25], [0.9, 0.0, 0.0], [0.0, -1.9, 0.2], [np.nan] * 3])
    sums = first(step)
    sums[3] = 0
    found = ParticleShifts.first(sums)
    np.testing.assert_allclose(found.found[:2], step[:2], atol=1e-5)
    assert np.isnan(found.found[2:]).all()  # too far for one step, and nothing to see
    assert not found.is_settled
    assert found.starts[[0, 3], 0].tolist() == [NO_START, NO_START]
    assert found.starts[[1, 2]].tolist() == [[7, 0, 0], [0, -15, 2]]

    more = np.array([[9.0] * 3, [-0.1, 0.05, 0.0], [0.5, 0.0, 0.0], [9.0] * 3])
    again = found.again(rest(more))
    np.testing.assert_allclose(again.found[0], step[0], atol=1e-5)  # as it was
    np.testing.assert_allclose(again.found[1], np.array([7, 0, 0]) / PARTS + more[1], atol=1e-5)
    assert (again.starts[:, 0] != NO_START).tolist() == [False, False, True, False]
    wild = again.again(rest(np.full((4, 3), 0.9)))
    np.testing.assert_allclose(wild.found[:2], again.found[:2])
    assert np.isnan(wild.found[2]).all()
    last = again.again(rest(np.zeros((4, 3))))
    assert last.is_settled
    np.testing.assert_allclose(last.found[2], np.array([4, -15, 2]) / PARTS)


def balls(stretch: Array) -> tuple[dict[str, Array], Tables]:
    """Return two noisy scans with five balls, and what is looked up to look for three of them again."""
    shape, radius = (150, 104, 108), 6
    random, label = np.random.default_rng(1), np.zeros(shape, np.uint32)
    around = np.argwhere(np.ones([2 * radius + 1] * 3, bool)) - radius
    around = around[(around**2).sum(axis=1) <= radius**2]
    centres = np.array([[7, 8, 9], [50, 52, 54], [50, 52, 66], [143, 97, 101], [20, 80, 30]])
    for number, centre in enumerate(centres, 1):
        label[tuple((around + centre).T)] = number
    volumes = {name: random.integers(1, 256, shape, dtype=np.uint8) for name in ("grey", "reference_grey")}
    starts = np.full((5, 3), NO_START, np.int8)
    starts[[1, 2, 3]] = [[-9, 4, 30], [2, 0, -31], [32, 32, 32]]
    corners = np.stack([centres - radius, centres + radius + 1], axis=1).astype(np.int32)
    return volumes | {"label": label}, ParticleShifts(np.zeros((5, 3)), starts).tried(corners, stretch)


@pytest.mark.parametrize("slope", [0, 1500])
def test_particles_are_looked_for_again_with_the_same_sums_whatever_is_read(slope: int) -> None:
    drawn = np.repeat(PARTS * np.array([[7, 50, 50, 143, 20]]).T, 12, axis=1)  # and the same slope along every axis
    drawn[:, 3:] = slope
    volumes, tables = balls(drawn if slope else UNSTRETCHED)
    assert tables["shift_ids"].tolist() == [2, 3, 4]
    (sought,) = passes_again(5, 0)
    rest = [
        compute((sought,), volumes, tables, block)[1]["shift_rest"] for block in (None, (50, 52, 60), (34, 104, 54))
    ]
    assert rest[0][[1, 2, 3], 13].min() > 300
    assert not rest[0][[0, 4]].any()
    for other in rest[1:]:
        np.testing.assert_array_equal(rest[0], other)


def test_only_the_boxes_around_them_are_read() -> None:
    volumes, tables = balls(UNSTRETCHED)
    (sought,) = passes_again(5, 0)
    read: dict[str, int] = {}

    class Counted(MemoryBlock):
        def read_box(self, volume: str, box: Box) -> Array:
            read[volume] = read.get(volume, 0) + box.size
            return volumes[volume][box.slices]

    whole = Grid((150, 104, 108), (150, 104, 108))
    sought.kernel(Counted(whole, 0, {}, tables))
    assert read == {"label": 3 * 13**3, "grey": 2 * 15**3 + 14**3, "reference_grey": 2 * 25**3 + 19**3}
    read.clear()
    done = sought.kernel(Counted(Grid(whole.shape, (40, 40, 40)), 0, {}, tables))
    assert not read
    assert done.tally["ids"].size == len(done.tally["sums"]) == 0


def test_a_step_that_no_particle_makes_tells_not_where_to_look() -> None:
    found = ParticleShifts.first(first(np.array([[54.9, -36.0, -30.1], [1.9, 0.0, 0.0]])))
    assert found.starts.tolist() == [[0, 0, 0], [15, 0, 0]]


def test_a_shift_far_from_what_centroids_tell_is_not_believed() -> None:
    before = np.array([[10.0, 10, 10]] * 4)
    after = before + 0.4
    after[3] = np.nan
    shifts = np.array([[0.5, 0.3, 0.4], [3.0, 0.4, 0.4], [np.nan] * 3, [0.4] * 3])
    found = likely(before, after, shifts)
    np.testing.assert_allclose(found[0], [10.5, 10.3, 10.4])
    np.testing.assert_allclose(found[1:3], after[1:3])
    assert np.isnan(found[3]).all()


def test_strain_comes_from_particles_that_are_whole_where_there_is_a_field() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(0, 100, (300, 3))
    moved = 0.01 * points
    sure = random.random(300) < 0.8
    moved[~sure] += 5  # cut by the border
    points[7] = np.nan
    matrix = np.diag([1.02, 1.0, 1.0, 1.0])
    there = StoredField(np.zeros((2, 2, 2, 3)), (0.0, 0.0, 0.0), (40.0, 40.0, 40.0))
    gained, error = strain(there, matrix, points, moved, sure, 0.5)
    known = np.arange(300) != 7
    np.testing.assert_allclose(gained[known], 1.02 * 1.01**3 - 1, atol=1e-5)
    assert (error[known] < 1e-3).all()
    assert np.isnan([gained[7], error[7]]).all()
    few = strain(there, matrix, points, moved, np.arange(300) < 12, 0.5)
    assert np.isnan(few).all()
    none = StoredField(np.zeros((0, 0, 0, 3)), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    whole, doubt = strain(none, matrix, points, moved, sure, 0.5)
    np.testing.assert_allclose(whole[known], 0.02)
    assert (doubt[known] == 0.5).all()
