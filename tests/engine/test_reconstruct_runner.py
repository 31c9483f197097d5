"""What a run tells of a center that it searched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crackdask.engine.reconstruct_runner import of_search

HALF_TURN = (0.0, 90.0, 180.0)


def tables(apart: float = 0.0, likeness: float = 0.9) -> dict[str, Any]:
    """Return what a search of three rows leaves."""
    sweep = np.array([640.1, 640.0, 639.9])
    return {"center_sweep": sweep, "center_opposite": sweep + apart, "center_likeness": np.array([0.1, likeness])}


@pytest.mark.parametrize(
    ("apart", "likeness", "codes"),
    [(0.2, 0.9, []), (-0.3, 0.9, ["centers-apart"]), (0.3, 0.4, [])],  # the last: opposite views do not count
)
def test_centers_that_are_apart_are_told_where_both_count(apart: float, likeness: float, codes: list[str]) -> None:
    assert [each.code for each in of_search("a", HALF_TURN, tables(apart, likeness))] == codes


def test_a_center_of_less_than_half_a_turn_is_told_and_one_of_the_recipe_is_not() -> None:
    alone = tables() | {"center_opposite": np.empty(0)}
    assert [each.code for each in of_search("a", (30.0, 177.0), alone)] == ["limited-center"]
    assert of_search("a", (30.0, 177.0), {"centers": np.zeros(3)}) == []
