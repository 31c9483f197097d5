"""How many jobs are handed out together, and how results come back."""

from __future__ import annotations

import time
from queue import SimpleQueue
from threading import Timer

from crackdask.engine.executors import _taken
from crackdask.engine.tasks import MOST, Jobs, TaskSize


def test_short_jobs_make_a_task_together_but_no_more_than_are_left_for_a_worker() -> None:
    size = TaskSize()
    assert size.jobs(most=3) == 1  # nothing is known of them
    assert len(list(size.parted("abcd", (0.04, [None] * 4)))) == 4
    assert (size.jobs(most=3), size.jobs()) == (3, 30)
    list(size.parted("abcd", (0.0, [None] * 4)))
    assert size.jobs() == MOST
    list(size.parted("a", (100.0, [None])))
    assert size.jobs() == 1


def test_jobs_are_made_when_it_is_their_turn() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    jobs = Jobs(range(3, 6), make)
    assert (len(jobs), made) == (3, [])
    assert (next(iter(jobs)), made) == (3, [3])


def test_results_come_together_while_workers_have_others_to_do() -> None:
    queue: SimpleQueue[str] = SimpleQueue()
    queue.put("a")
    late = Timer(0.05, queue.put, "b")
    late.start()
    assert _taken(queue, 2) == ["a", "b"]
    queue.put("c")
    started = time.monotonic()
    assert _taken(queue, 1) == ["c"]
    assert time.monotonic() - started < 0.1  # enough: nothing is waited for
    queue.put("d")
    assert _taken(queue, 2) == ["d"]  # after a while without another
