"""What makes a registration fail, and what it is fitted to: matches, sub-blocks, overlaps, parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from crackdask.grid import Box
from crackdask.steps.registration_fit import Fit, fit, overlap_fraction, verify
from crackdask.steps.registration_parameters import RegisterParams, RegistrationError
from crackdask.steps.subblocks import Match, subblocks
from tests.support.rotated import SHAPE, corner_error, truth


def good_fit(**changes):
    parts: dict[str, Any] = {"matrix": np.eye(4), "residual_voxels": 0.1, "n_used": 20, "n_blocks": 27}
    parts |= {"correlation": 0.9, "residuals": ()}
    return Fit(**(parts | changes))


@pytest.mark.parametrize(
    ("found", "overlap", "message"),
    [
        (good_fit(), 0.21, r"covers 21.0% of the reference, min_overlap = 0.4"),
        (good_fit(n_used=3), 0.9, r"3 of 27 sub-blocks agree on a transform, .* asks for 6"),
        (good_fit(residual_voxels=1.7), 0.9, r"1.70 voxels off, max_residual_voxels = 1"),
        (good_fit(matrix=truth(SHAPE, (11, 0, 0), (0, 0, 0))), 0.9, "rotation of 11.00 degrees"),
    ],
)
def test_every_failure_names_its_figure_and_the_way_out(found, overlap, message):
    with pytest.raises(RegistrationError, match=message) as refused:
        verify(found, RegisterParams(), overlap)
    assert "accept_failed = true" in str(refused.value)
    assert isinstance(refused.value, ValueError)
    accepted = verify(found, RegisterParams(accept_failed=True), overlap)
    assert accepted is not None
    assert accepted in str(refused.value)
    assert verify(good_fit(), RegisterParams(), 0.9) is None


def test_half_of_the_matches_may_be_wild():
    random = np.random.default_rng(3)
    params, start = RegisterParams(), truth(SHAPE, (1, 0, 0), (0, 0, 0.01))
    expected = truth(SHAPE, (1.5, 0.5, -1), (0.01, 0.02, 0))
    matches = []
    for i, block in enumerate(subblocks(SHAPE, params.sub_block, params.blocks_per_axis)):
        point = (np.array(block.start) + block.stop) / 2
        goal = np.linalg.solve(start, expected @ [*point, 1.0])[:3] + random.normal(0, 0.02, 3)
        if i % 5 < 2:
            goal += random.uniform(-9, 9, 3)
        matches.append(Match(tuple(point), tuple(goal - point), 0.5, 0.8))
    matches.append(Match((0.0, 0.0, 0.0), (50.0, 0.0, 0.0), 0.0, 0.1))
    found = fit(matches, start, params)
    assert corner_error(found.matrix, expected, SHAPE) < 0.1
    assert found.residual_voxels < 0.1
    assert 0.5 * len(matches) < found.n_used < 0.65 * len(matches)
    assert np.isnan(found.residuals[-1])


def test_too_few_matches_leave_the_transform_alone():
    start = truth(SHAPE, (1, 0, 0), (0, 0, 0.01))
    found = fit([Match((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 1.0, 0.9)] * 2, start, RegisterParams())
    np.testing.assert_array_equal(found.matrix, start)
    assert found.residual_voxels == np.inf
    with pytest.raises(RegistrationError, match="0 of 2 sub-blocks"):
        verify(found, RegisterParams(), 1.0)


@pytest.mark.parametrize("shape", [(5, 9, 400), (60, 76, 84), (2000, 2160, 2560)])
def test_subblocks_are_spread_inside_the_volume(shape):
    params = RegisterParams()
    blocks = subblocks(shape, params.sub_block, params.blocks_per_axis)
    assert len(set(blocks)) == len(blocks) <= params.blocks_per_axis**3
    assert all(block.intersect(Box.whole(shape)) == block for block in blocks)
    assert len({block.shape for block in blocks}) == 1
    spread = np.array([block.stop for block in blocks]).max(0) - np.array([block.start for block in blocks]).min(0)
    assert (spread >= 0.9 * np.array(shape)).all()


def test_overlap_fraction():
    half = np.eye(4)
    half[0, 3] = 5
    assert overlap_fraction(half, (11, 4, 4), (11, 4, 4)) == pytest.approx(17 / 33)
    assert overlap_fraction(np.eye(4), (11, 4, 4), (99, 9, 9)) == 1
    half[0, 3] = 50
    assert overlap_fraction(half, (11, 4, 4), (11, 4, 4)) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"transform": "warp"},
        {"max_rotation_deg": -1},
        {"min_overlap": 0},
        {"sub_block": 48.5},
        {"seed": 0},
        {"typo": 1},
        {"transform": "affine", "blocks_per_axis": 2, "min_matched": 0.1},
    ],
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        RegisterParams(**bad)


def test_parameters_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        RegisterParams().seed = 3  # type: ignore[misc]  # what is refused
