"""Units at work at once: where they run, what time they are charged, and how an error ends them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from crackdask.cluster.launch import connect
from crackdask.engine import parallel_units
from crackdask.engine.executors import Executor, Serial
from crackdask.engine.parallel_units import Lanes
from crackdask.engine.work_units import Unit
from crackdask.schema import UnitKey

FIRST, SECOND = Unit(UnitKey("read", 0)), Unit(UnitKey("read", 1))


@pytest.fixture(scope="module")
def shared() -> Iterator[Executor]:
    with connect("local", 1, 2**30) as executor:
        yield executor


def test_alone_a_unit_stays_on_its_thread() -> None:
    def perform(unit: Unit) -> dict[str, Any]:
        return {"thread": threading.current_thread()}

    with Lanes(Serial(), perform) as lanes:
        assert lanes.free == 1
        lanes.begin(FIRST)
        assert lanes.free == 0
        unit, ended, _ = lanes.ended()
    assert unit == FIRST
    thread: Any = ended.result()["thread"]
    assert thread is threading.main_thread()


def test_an_interrupt_of_a_unit_alone_is_heard_at_once() -> None:
    def interrupted(unit: Unit) -> dict[str, Any]:
        raise KeyboardInterrupt

    with Lanes(Serial(), interrupted) as lanes:
        lanes.begin(FIRST)
        with pytest.raises(KeyboardInterrupt):
            lanes.ended()


def test_seconds_of_units_at_work_together_add_up(shared: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [10.0]
    monkeypatch.setattr(parallel_units, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    both, first_told = threading.Barrier(2), threading.Event()

    def perform(unit: Unit) -> dict[str, Any]:
        both.wait(timeout=30)
        if unit == SECOND:
            assert first_told.wait(timeout=30)
        clock[0] += 2.0 if unit == FIRST else 4.0
        return {"state": unit.state}

    with Lanes(shared, perform) as lanes:
        assert lanes.free == shared.lanes >= 2
        lanes.begin(FIRST)
        lanes.begin(SECOND)
        assert lanes.at_work == {FIRST.key, SECOND.key}
        ends = [lanes.ended()]
        first_told.set()
        ends.append(lanes.ended())
    states: list[tuple[Unit, Any]] = [(unit, ended.result()["state"]) for unit, ended, _ in ends]
    assert states == [(FIRST, 0), (SECOND, 1)]
    assert [seconds for _, _, seconds in ends] == [1.0, 1.0 + 4.0]  # of the 2 in which both are at work, half each


def test_an_error_in_one_lane_ends_the_other_before_it_is_told(shared: Executor) -> None:
    begun, told, many = threading.Event(), list[float](), 10_000

    def perform(unit: Unit) -> dict[str, Any]:
        if unit == FIRST:
            begun.wait(timeout=30)
            raise ValueError("the disk is full")
        for seconds, _ in shared.map(time.sleep, [0.05] * many):
            told.append(seconds)
            begun.set()
        raise AssertionError("it went on to its end")

    def both() -> None:
        with Lanes(shared, perform) as lanes:
            lanes.begin(FIRST)
            lanes.begin(SECOND)
            _, ended, _ = lanes.ended()
            ended.result()

    with pytest.raises(ValueError, match="the disk is full"):
        both()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]
    assert 0 < len(told) < many
    assert [outcome for _, outcome in shared.map(abs, [-1, -2])] == [1, 2]
