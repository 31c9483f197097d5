"""Two ways to the same result, timed in turns in one process; only their ratio is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from .machine import Work, peak


class Race(NamedTuple):
    """What to time, on input that is ready; `note` turns both results into a remark."""

    ours: Callable[[], Any]
    peer: Callable[[], Any]
    note: Callable[[Any, Any], str] = lambda ours, peer: ""


@dataclass(frozen=True)
class Ratio:
    """How many times faster we are, with the spread over the repeats, and the seconds that we took."""

    name: str
    times: float
    worst: float
    best: float
    note: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        spread = f"({self.worst:.1f} to {self.best:.1f})"
        return f"{self.name:<28} {self.times:>7.1f}x  {spread:<18} {self.note}".rstrip()


def compare(
    name: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    repeats: int = 5,
    note: Callable[[Any, Any], str] = lambda ours, peer: "",
) -> Ratio:
    """Run both once to warm up, then in turns, and print the ratio of the median times."""
    remark = note(ours(), peer())
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(repeats)]
    ratios = [theirs / mine for mine, theirs in pairs]
    times = median(theirs for _, theirs in pairs) / median(mine for mine, _ in pairs)
    ratio = Ratio(name, times, min(ratios), max(ratios), remark, median(mine for mine, _ in pairs))
    print(ratio, flush=True)
    return ratio


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Benchmark:
    """A race with its full and its small size, the ratio it must reach and the one it should.

    `work` tells what a kernel must do at least for a size, where that can be counted.
    """

    name: str
    prepare: Callable[[int], Race]
    bar: float
    aim: float
    size: int
    small: int
    repeats: int
    work: Callable[[int], Work] | None = None

    def once(self) -> tuple[Any, Any, str]:
        """Run both sides once at the small size, without a look at the clock; return both results and the remark."""
        race = self.prepare(self.small)
        ours, peer = race.ours(), race.peer()
        return ours, peer, race.note(ours, peer)

    def run(self, size: int | None = None) -> Ratio:
        """Time both sides, at full size unless told otherwise."""
        race = self.prepare(size or self.size)
        return compare(self.name, race.ours, race.peer, self.repeats, race.note)

    def share(self, ratio: Ratio, size: int | None = None) -> float | None:
        """Return which part of the CPU's peak was reached; None where nobody counted what there is to do."""
        return None if self.work is None else peak().seconds(self.work(size or self.size)) / ratio.seconds


def benchmark(
    *,
    bar: float,
    aim: float,
    size: int,
    small: int,
    repeats: int = 5,
    work: Callable[[int], Work] | None = None,
) -> Callable[[Callable[[int], Race]], Benchmark]:
    """Make a benchmark of a function that takes a size and prepares a race."""

    def named(prepare: Callable[[int], Race]) -> Benchmark:
        return Benchmark(prepare.__name__, prepare, bar, aim, size, small, repeats, work)

    return named
