"""Particles that are followed through every state, and why others are not."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.blocks.passes import Array
from crackdask.steps.track import track

NONE = (np.zeros(0, np.uint32), np.zeros(0, np.uint32))


def columns(states: int = 3, particles: int = 5) -> tuple[Array, Array, Array]:
    return (
        np.full((states, particles), 9, np.uint32),
        np.zeros((states, particles), bool),
        np.zeros((states, particles), bool),
    )


def pair(a, b):
    return np.array([a], np.uint32), np.array([b], np.uint32)


def test_all_are_tracked_where_nothing_is_wrong():
    found = track(*columns(), [pair(1, 2), NONE, pair(3, 4)])
    assert found["tracked"].all()
    assert all(column.dtype == bool and column.shape == (5,) for column in found.values())
    assert set(found) == {"tracked", "lost", "neighbour_lost", "on_border", "on_invalid"}


@pytest.mark.parametrize("state", range(3))
@pytest.mark.parametrize("reason", ["lost", "on_border", "on_invalid"])
def test_one_state_is_enough(reason, state):
    voxels, border, invalid = columns()
    if reason == "lost":
        voxels[state, 2] = 0
    else:
        {"on_border": border, "on_invalid": invalid}[reason][state, 2] = True
    found = track(voxels, border, invalid, [NONE] * 3)
    assert found[reason].tolist() == [False, False, True, False, False]
    np.testing.assert_array_equal(found["tracked"], ~found[reason])
    for other in {"lost", "neighbour_lost", "on_border", "on_invalid"} - {reason}:
        assert not found[other].any()


@pytest.mark.parametrize("touch", range(3))
@pytest.mark.parametrize("gone", range(3))
@pytest.mark.parametrize("order", [(2, 4), (4, 2)])
def test_a_neighbour_in_any_state_of_a_particle_lost_in_any_state_is_dropped(touch, gone, order):
    voxels, border, invalid = columns()
    voxels[gone, 1] = 0
    contacts = [NONE] * 3
    contacts[touch] = pair(*order)
    found = track(voxels, border, invalid, contacts)
    assert found["neighbour_lost"].tolist() == [False, False, False, True, False]
    assert found["tracked"].tolist() == [True, False, True, False, True]


def test_neighbours_of_neighbours_stay():
    voxels, border, invalid = columns(1)
    voxels[0, 0] = 0
    chain = (np.array([1, 2, 3]), np.array([2, 3, 4]))
    found = track(voxels, border, invalid, [chain])
    assert found["neighbour_lost"].tolist() == [False, True, False, False, False]


def test_two_lost_neighbours_have_both_reasons():
    voxels, border, invalid = columns(1)
    voxels[0, :2] = 0
    found = track(voxels, border, invalid, [pair(1, 2)])
    assert found["neighbour_lost"].tolist() == [True, True, False, False, False]


def test_sparse_labels():
    voxels, border, invalid = columns(1, 3)
    voxels[0, 1] = 0
    labels = np.array([5, 70, 2**32 - 1], np.uint32)
    found = track(voxels, border, invalid, [pair(70, 2**32 - 1)], labels)
    assert found["neighbour_lost"].tolist() == [False, False, True]


def test_mistakes_are_named():
    voxels, border, invalid = columns()
    with pytest.raises(ValueError, match="contacts of 2 states, wanted those of 3"):
        track(voxels, border, invalid, [NONE, NONE])
    with pytest.raises(ValueError, match="one shape"):
        track(voxels, border[:, :2], invalid, [NONE] * 3)
    with pytest.raises(ValueError, match="particle 9"):
        track(voxels, border, invalid, [pair(1, 9), NONE, NONE])


def test_no_particle_at_all():
    found = track(*columns(2, 0), [NONE, NONE])
    assert found["tracked"].shape == (0,)


@pytest.mark.parametrize(("particle", "unknown"), [(None, 6), (None, 0), (np.array([2, 4, 6, 8, 10], np.uint32), 5)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_contact_with_a_particle_that_no_table_has_is_refused(particle, unknown, turned):
    there = 4
    contact = pair(unknown, there) if turned else pair(there, unknown)
    with pytest.raises(ValueError, match=f"contacts name particle {unknown}, which the table does not have"):
        track(*columns(), [NONE, contact, NONE], particle)
