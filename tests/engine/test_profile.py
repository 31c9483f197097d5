"""What a run says of its own cost."""

from __future__ import annotations

import pytest

from crackdask.engine.profile import Cost, profile
from crackdask.engine.progress import BlockReport

REPORTS = [BlockReport(0, 1.5, 100, 10, 7), BlockReport(1, 0.5, 300, 30, 5)]


def test_costs_add_up_and_the_peak_is_the_largest() -> None:
    assert Cost.of(REPORTS) == Cost(2, 2.0, 400, 40, 7)
    assert Cost.of(REPORTS[:1]) + Cost.of(REPORTS[1:]) == Cost.of(REPORTS)
    assert Cost.of([]) == Cost()


def test_a_profile_goes_by_step_in_the_order_of_the_method() -> None:
    cost = Cost.of(REPORTS).as_dict()
    units = {
        "measure-0": {"seconds": 1.0, "cost": cost},
        "mask-0": {"seconds": 2.0, "cost": cost},
        "mask-1": {"seconds": 2.0, "cost": cost},
    }
    mask, measure = profile(units, 1000)
    assert (mask.step, mask.states, mask.seconds, mask.voxels_per_second) == ("mask", 2, 4.0, 500.0)
    assert mask.cost == Cost(4, 4.0, 800, 80, 7)
    assert (measure.step, measure.voxels_per_second) == ("measure", 1000.0)


@pytest.mark.parametrize("units", [{}, {"mask-0": {"seconds": 1.0}}])
def test_units_without_a_cost_are_left_out(units: dict[str, dict[str, float]]) -> None:
    assert profile(units, 1000) == []


def test_steps_that_took_no_time_have_no_rate() -> None:
    (found,) = profile({"mask-0": {"seconds": 0.0, "cost": Cost.of(REPORTS).as_dict()}}, 1000)
    assert (found.seconds, found.voxels_per_second) == (0, 0)
