"""States find their moment in the cell's record; what is not sure is linked to none, and says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.analysis import cycler_findings as findings
from crackdask.analysis.cell import half_cycles
from crackdask.analysis.state_links import Link, Scanned, links, rests
from crackdask.phantom.cell_record import START, CellRecord, cell_record
from crackdask.phantom.cell_states import FIVE_STATES, TWELVE_STATES, State
from crackdask.sources.cycler import CyclerRecord


def record_of(true: CellRecord, dated: bool = True) -> CyclerRecord:
    table = true.table
    time, voltage, current, charge = (table[name].to_numpy(float) for name in ("time", "voltage", "current", "charge"))
    return CyclerRecord(time, voltage, current, charge, START if dated else None, len(table))


def asked(states: Any, **times: Any) -> list[Scanned]:
    return [Scanned(state.name, state.voltage, state.step, **times) for state in states]


@pytest.mark.parametrize("states", [FIVE_STATES, TWELVE_STATES], ids=["five", "twelve"])
def test_every_state_finds_its_rest(states: tuple[State, ...]) -> None:
    true = cell_record(states)
    found = links(record_of(true), asked(states), 0.05, 600)
    assert [link.by for link in found] == ["rest"] * len(states)
    np.testing.assert_allclose([[link.begin, link.end] for link in found], true.scans, atol=11)
    np.testing.assert_allclose([link.charge for link in found], true.charges, atol=1e-3 * np.ptp(true.charges))


@given(chosen=st.sets(st.integers(0, 11), min_size=1))
def test_some_of_the_states_never_find_a_wrong_rest(chosen: set[int]) -> None:
    """A rest that no state of the recipe stands for may leave a state in doubt, never in the wrong place."""
    true, some = cell_record(TWELVE_STATES), sorted(chosen)
    found = links(record_of(true), asked([TWELVE_STATES[k] for k in some]), 0.03, 600)
    for k, link in zip(some, found, strict=True):
        if link.by:
            assert link.begin == pytest.approx(true.scans[k][0], abs=11)
        else:
            assert link.reason


def test_a_second_cycle_leaves_a_state_in_doubt_and_a_time_settles_it() -> None:
    twice = (*FIVE_STATES, State("again", 4.2, "charge", 1), State("again DC", 2.5, "discharge", 1))
    true = cell_record(twice)
    once = [State("4.2 V", 4.2, "charge")]
    found = links(record_of(true), asked(once), 0.05, 600)
    assert found[0].by == ""
    assert "may be any of 2 rests, at 2.38 h, " in found[0].reason
    moment = START + timedelta(seconds=true.scans[5][0] + 60)
    found = links(record_of(true), asked(once, time=moment), 0.05, 600)
    assert found[0].by == "time"
    assert found[0].begin == pytest.approx(true.scans[5][0] + 60)


def test_a_time_at_another_voltage_is_no_link() -> None:
    true = cell_record(FIVE_STATES)
    moment = START + timedelta(seconds=true.scans[2][0] + 60)
    link = links(record_of(true), asked(FIVE_STATES[1:2], time=moment), 0.05, 600)[0]
    assert link.by == ""
    assert "the cell was at 4.39" in link.reason
    assert "not at 4.2 V" in link.reason


def test_a_scan_tells_its_own_time() -> None:
    true = cell_record(FIVE_STATES)
    begin = START + timedelta(seconds=true.scans[1][0] + 60)
    seen = [Scanned("4.2 V", 4.2, "charge", None, (begin, begin + timedelta(minutes=7)))]
    link = links(record_of(true), seen, 0.05, 600)[0]
    assert (link.by, round(link.end - link.begin)) == ("metadata", 420)
    # A clock of another year is none at all: the rests decide.
    other = [Scanned("4.2 V", 4.2, "charge", None, (begin.replace(year=2001),) * 2)]
    assert links(record_of(true), other, 0.05, 600)[0].by == "rest"


def test_a_time_outside_and_a_record_without_dates_are_told() -> None:
    true = cell_record(FIVE_STATES)
    late = asked(FIVE_STATES[1:2], time=START + timedelta(days=9))
    assert "is not within the record" in links(record_of(true), late, 0.05, 600)[0].reason
    assert "do not tell when they began" in links(record_of(true, dated=False), late, 0.05, 600)[0].reason


def test_another_cell_meets_no_state() -> None:
    true = cell_record(FIVE_STATES)
    other = [State("2.0 V", 2.0, "discharge"), State("5.0 V", 5.0, "charge")]
    found = links(record_of(true), asked(other), 0.05, 600)
    assert all("is it of this cell?" in link.reason for link in found)
    told = findings.of_links(["2.0 V", "5.0 V"], found)
    assert [each.code for each in told] == ["other-cell"]


def test_a_pause_of_the_record_is_a_rest() -> None:
    true = cell_record(FIVE_STATES)
    table = true.table
    begin, end = true.scans[2]
    kept = table[(table.time <= begin) | (table.time >= end)]
    paused = record_of(CellRecord(kept.reset_index(drop=True), (), ()))
    assert links(paused, asked(FIVE_STATES), 0.05, 600)[2].begin == pytest.approx(begin, abs=1)


def test_one_state_in_doubt_is_told_by_name_and_linked_ones_are_not() -> None:
    some = [Link("rest", "the only rest", 0.0, 1.0, 3.0, 0.0), Link("", "no rest")]
    assert [(each.code, each.state) for each in findings.of_links(["a", "b"], some)] == [("not-linked", "b")]
    assert not findings.of_links(["a"], some[:1])


def test_a_current_turned_round_is_told_and_a_right_one_is_not() -> None:
    record = record_of(cell_record(FIVE_STATES))
    assert not findings.of_record(record)
    turned = CyclerRecord(record.time, record.voltage, -record.current, -record.charge, START, record.rows)
    assert [each.code for each in findings.of_record(turned)] == ["current-reversed"]


def test_rests_without_any_current_and_of_one_row() -> None:
    still = CyclerRecord(np.arange(3.0), np.full(3, 3.0), np.zeros(3), np.zeros(3), None, 3)
    assert [(rest.begin, rest.end, rest.after) for rest in rests(still, 600)] == [(0.0, 2.0, "")]
    single = CyclerRecord(np.zeros(1), np.full(1, 3.0), np.zeros(1), np.zeros(1), None, 1)
    assert links(single, [Scanned("pristine", 3.0, "pristine")], 0.05, 600)[0].by == "rest"
    assert half_cycles(np.zeros(3), np.zeros(3)) == []


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_charge_with_a_rest_within_it_is_one_whatever_noise_the_current_has(noise: float) -> None:
    flowing = np.repeat([1.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0], 50)
    current = flowing + noise * np.where(flowing, 0.0, np.random.default_rng(1).normal(size=flowing.size))
    charge = np.concatenate([[0.0], np.cumsum(current[1:])])
    one, other = half_cycles(current, charge)
    assert (one.start, other.stop) == (0, 350)
    assert 149 <= one.stop <= 201
    assert 149 <= other.start <= 201
    assert charge[one][-1] == pytest.approx(99, abs=1)
    assert charge[other][-1] == pytest.approx(-1, abs=1.5)


def test_what_the_cell_did_last_counts_not_what_it_gained() -> None:
    """Up without a rest, then down to one: a discharge, though charge was gained; a ripple in the rest is nothing."""
    current = np.concatenate([np.full(100, 1.0), np.full(88, -1.0), np.zeros(70), [-0.05], np.zeros(70)])
    charge = (np.cumsum(current) * 36 / 3600).astype(np.float64)
    time = np.arange(0.0, 36.0 * current.size, 36.0)
    record = CyclerRecord(time, 3.0 + charge, current, charge, None, current.size)
    assert [rest.after for rest in rests(record, 600)] == ["", "discharge", "discharge"]


# ---------------------------------------------------------------- what would be wrong in silence


def recorded(time: Any, voltage: Any, current: Any, charge: Any) -> CyclerRecord:
    time, voltage, current, charge = (np.asarray(each, float) for each in (time, voltage, current, charge))
    return CyclerRecord(time, voltage, current, charge, START, len(time))


def test_rows_far_apart_are_no_rest_while_a_current_flows() -> None:
    time = np.arange(13) * 1200.0
    current = np.where(np.arange(13) < 12, 2.0, 0.0)
    found = rests(recorded(time, np.linspace(3.0, 4.2, 13), current, time / 1800), 600)
    assert [(rest.begin, rest.end) for rest in found] == [(0, 0), (11 * 1200, 12 * 1200)]


def test_a_pause_of_the_record_is_a_rest_where_no_charge_went() -> None:
    time = np.array([0.0, 600, 1200, 9000, 9600])
    found = rests(recorded(time, [3.0, 3.6, 4.2, 4.15, 4.0], [2, 2, 2, -2, -2], [0, 0.3, 0.6, 0.6, 0.3]), 900)
    assert (1200, 9000, "charge") in [(rest.begin, rest.end, rest.after) for rest in found]


def test_no_state_is_linked_within_a_gap_over_which_the_voltage_changed() -> None:
    time = np.array([0.0, 10, 20, 8000, 8010])
    record = recorded(time, [3.0, 3.0, 3.0, 4.2, 4.2], [2, 2, 2, 2, 0], [0, 0, 0, 0, 0])
    asked_for = [Scanned("a", 3.6, "charge", START + timedelta(seconds=4010))]
    (found,) = links(record, asked_for, 0.05, 600)
    assert found.by == ""
    assert "in a gap of the record of 2.2 h, over which the cell went from 3.000 to 4.200 V" in found.reason
    flat = recorded(time, [3.6] * 5, [0.0] * 5, [0.0] * 5)
    assert links(flat, asked_for, 0.05, 600)[0].by == "time"


def test_a_voltage_at_the_edge_of_the_record_is_not_called_one_that_never_was() -> None:
    true = cell_record(FIVE_STATES)
    most = float(true.table["voltage"].max())
    near, far = (Scanned("a", round(most + above, 3), "pristine") for above in (0.03, 0.1))
    found = links(record_of(true, dated=False), [near, far], 0.05, 600)
    assert [link.by for link in found] == ["", ""]
    assert ["never is at" in link.reason for link in found] == [False, True]
