"""Blocks that fail are tried again a few times, then set aside; what no second try can mend is raised at once."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from crackdask.engine.executors import WorkersLostError
from crackdask.storage.locations import UnreachableError

#: What the machine says when no second try can help: no room, no permission.
HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})

#: Does some blocks, by number, and yields each with its outcome: a result, or the error that it ended in.
Sweep = Callable[[Sequence[int]], Iterable[tuple[int, Any]]]


@dataclass(frozen=True)
class Retries:
    """How often blocks are tried again.

    Attributes
    ----------
    most
        Further tries of a block that failed.
    fatal
        Errors that no second try can mend, beside those of the machine (`HOPELESS`).
    """

    most: int
    fatal: tuple[type[BaseException], ...] = ()

    def sweep(
        self,
        numbers: Sequence[int],
        sweep: Sweep,
        keep: Callable[[int, Any], None],
        failed: Callable[[int, BaseException, bool], None],
    ) -> dict[int, BaseException]:
        """Sweep over blocks until all are done, and return those that were set aside with their last errors.

        What took several workers with it was tried by each of them, or only waited there beside such a block: it is
        tried once more, with nothing of its pass beside it.

        Parameters
        ----------
        numbers
            Of the blocks.
        sweep
            Does some of them.
        keep
            Is given the result of each.
        failed
            Is told of each failure, and whether the block is tried again.

        Returns
        -------
        dict
            Last error of each block that was set aside, in the order in which they were.
        """
        aside: dict[int, BaseException] = {}
        groups: list[list[int]] = [list(numbers)]
        alone: set[int] = set()
        for attempt in range(self.most + 1):
            again: list[int] = []
            suspects: list[int] = []
            for number, outcome in chain.from_iterable(map(sweep, groups)):
                self._raise_if_fatal(outcome)
                if not isinstance(outcome, BaseException):
                    keep(number, outcome)
                    continue
                lost = isinstance(outcome, WorkersLostError)
                once_more = attempt < self.most and not (lost and number in alone)
                failed(number, outcome, once_more)
                if once_more:
                    (suspects if lost else again).append(number)
                else:
                    aside[number] = outcome
            alone.update(suspects)
            groups = [group for group in (sorted(again), *([number] for number in sorted(suspects))) if group]
            if not groups:
                break
        return aside

    def _raise_if_fatal(self, outcome: Any) -> None:
        if isinstance(outcome, self.fatal) or _is_hopeless(outcome):
            raise outcome


def _is_hopeless(outcome: object) -> bool:
    if isinstance(outcome, UnreachableError):
        return True  # every request was tried again for a minute
    return isinstance(outcome, OSError) and outcome.errno in HOPELESS
