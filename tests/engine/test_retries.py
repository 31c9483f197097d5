"""Which blocks are tried again, how often, beside which others, and what is raised at once."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from crackdask.engine.executors import WorkersLostError
from crackdask.engine.retries import HOPELESS, Retries
from crackdask.storage.locations import UnreachableError


@dataclass
class Workers:
    """What each block ends in, try by try; it is done when there is no more to end in."""

    ends: dict[int, list[BaseException]]
    swept: list[list[int]] = field(default_factory=list)
    kept: dict[int, Any] = field(default_factory=dict)
    told: list[tuple[int, bool]] = field(default_factory=list)

    def sweep(self, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        self.swept.append(list(numbers))
        for number in numbers:
            ends = self.ends.get(number)
            yield number, ends.pop(0) if ends else f"done {number}"

    def failed(self, number: int, error: BaseException, again: bool) -> None:
        self.told.append((number, again))

    def run(self, retries: Retries) -> dict[int, BaseException]:
        return retries.sweep(range(4), self.sweep, self.kept.__setitem__, self.failed)


def test_only_what_failed_is_tried_again() -> None:
    workers = Workers({1: [ValueError()], 3: [OSError(), KeyError()]})
    assert workers.run(Retries(2)) == {}
    assert workers.swept == [[0, 1, 2, 3], [1, 3], [3]]
    assert workers.kept == {number: f"done {number}" for number in range(4)}
    assert workers.told == [(1, True), (3, True), (3, True)]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_what_goes_on_failing_is_set_aside_and_the_rest_is_kept(most: int) -> None:
    errors = [ValueError(str(number)) for number in range(9)]
    workers = Workers({2: list(errors)})
    assert workers.run(Retries(most)) == {2: errors[most]}
    assert sorted(workers.kept) == [0, 1, 3]
    assert workers.told == [(2, True)] * most + [(2, False)]


def test_what_took_workers_with_it_is_tried_once_more_alone() -> None:
    workers = Workers({1: [WorkersLostError()] * 9, 2: [WorkersLostError()], 3: [ValueError()]})
    assert list(workers.run(Retries(5))) == [1]
    assert workers.swept == [[0, 1, 2, 3], [3], [1], [2]]


@pytest.mark.parametrize(
    "error", [*(OSError(number, "no") for number in sorted(HOPELESS)), UnreachableError("gone"), TypeError("mine")]
)
def test_what_no_second_try_can_mend_is_raised_at_once(error: BaseException) -> None:
    workers = Workers({1: [error]})
    with pytest.raises(type(error)):
        workers.run(Retries(5, (TypeError,)))
    assert workers.swept == [[0, 1, 2, 3]]
    assert workers.told == []
    assert errno.ENOSPC in HOPELESS
