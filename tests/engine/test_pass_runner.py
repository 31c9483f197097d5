"""Which blocks the engine tries again, and beside which others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crackdask.engine.checkpoints import Work
from crackdask.engine.executors import Serial, WorkersLostError
from crackdask.engine.pass_runner import BlocksFailedError, Engine
from crackdask.engine.retries import Retries
from crackdask.grid import Box
from crackdask.schema import UnitKey
from tests.support.silence import Silent

BOXES = [Box((n, 0, 0), (n + 1, 1, 1)) for n in range(6)]


@dataclass(frozen=True)
class Deadly(Serial):
    """Workers of which one block takes all memory: whatever waits beside it is lost with them."""

    bad: Box = BOXES[2]
    asked: list[list[int]] = field(default_factory=list)
    #: Whether the block fails in another way when it is first tried.
    late: list[bool] = field(default_factory=list)

    def map(
        self, function: Callable[[Any], Any], jobs: Iterable[Any], called: object = None
    ) -> Iterator[tuple[Any, Any]]:
        found = list(jobs)
        self.asked.append([job.start[0] for job in found])
        if self.late and len(self.asked) == 1:
            yield from ((job, OSError("not yet") if job == self.bad else self._outcome(function, job)) for job in found)
            return
        at = found.index(self.bad) if self.bad in found else len(found)
        for number, job in enumerate(found):
            yield job, WorkersLostError("dead") if at <= number <= at + 1 else self._outcome(function, job)

    @staticmethod
    def _outcome(function: Callable[[Any], Any], job: Any) -> Any:
        try:
            return function(job)
        except OSError as error:
            return error


def test_a_block_that_waited_beside_a_deadly_one_is_done(tmp_path: Path) -> None:
    workers = Deadly()
    engine = Engine(Work(tmp_path), workers, Silent(), Retries(2))
    done: list[Box] = []
    with pytest.raises(BlocksFailedError) as caught:
        engine.in_order(UnitKey("mask", 0), "mask", done.append, BOXES)
    assert [failure.number for failure in caught.value.failures] == [2]
    assert sorted(done) == [box for box in BOXES if box != workers.bad]
    assert workers.asked == [[0, 1, 2, 3, 4, 5], [2], [3]]


def test_a_block_that_is_lost_only_when_it_is_tried_again_gets_a_try_of_its_own(tmp_path: Path) -> None:
    workers, done = Deadly(), Counter[Box]()
    engine = Engine(Work(tmp_path), workers, Silent(), Retries(2))

    def fails_once(box: Box) -> None:
        done[box] += 1
        if done[box] == 1 and box in BOXES[3:]:
            raise OSError("the disk went away")

    workers.late.append(True)
    with pytest.raises(BlocksFailedError) as caught:
        engine.in_order(UnitKey("mask", 0), "mask", fails_once, BOXES)
    assert [failure.number for failure in caught.value.failures] == [2]
    assert workers.asked == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5], [2], [3]]
