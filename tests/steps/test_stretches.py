"""What stretches a scan around stiff particles, and what only turns them."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.steps.registration_result import StoredField
from crackdask.steps.stretches import is_stretched, may_stretch, stretches


def test_what_stretches_the_scan_is_told_for_each_particle_and_what_turns_it_is_not() -> None:
    none = StoredField(np.zeros((0, 0, 0, 3)), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    places, edges = np.array([[10.0, 20.5, 30.25], [np.nan] * 3]), (1.0, 0.5, 0.5)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    turned = np.eye(4)
    turned[:3, :3] = np.diag([1.0, 2, 2]) @ turn @ np.diag(edges)  # in voxels of unlike edges
    assert len(stretches(none, turned, edges, places)) == 0
    assert not may_stretch(none, turned, edges)
    drawn = turned.copy()
    drawn[:3, :3] = turned[:3, :3] @ np.diag([1.0, 1.02, 1 / 1.02]) * 1.05  # and magnified
    assert may_stretch(none, drawn, edges)
    told = stretches(none, drawn, edges, places)
    assert told[0, :3].tolist() == [80, 164, 242]
    np.testing.assert_allclose(told[:, 3:].reshape(2, 3, 3) / 2**16, [np.diag([0, -0.02, 1 - 1 / 1.02])] * 2, atol=2e-5)
    assert is_stretched(told, 2).all()


def test_a_field_that_draws_the_scan_out_stretches_it_where_it_does() -> None:
    along = np.arange(6) * 20.0
    values = np.zeros((6, 6, 6, 3))
    values[..., 1] = 0.03 * np.clip(along - 50, 0, None)[None, :, None]  # along y, from its middle on
    field = StoredField(values, (0.0, 0.0, 0.0), (20.0, 20.0, 20.0))
    told = stretches(field, np.eye(4), (1.0, 1.0, 1.0), np.array([[50.0, 20, 50], [50.0, 80, 50]]))
    assert is_stretched(told, 2).tolist() == [False, True]
    assert told[1, 3 + 4] / 2**16 == pytest.approx(-0.03, abs=1e-3)
