"""Detector frames of one kind: which of a stack they are, which rows of them are read, and when they were taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crackdask.grid import Box, Triple
from crackdask.sources.base import Source, SourceError
from crackdask.storage.locations import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Numbers [first, end).
Run = tuple[int, int]
#: What the key of a frame says in NXtomo.
PROJECTION, FLAT, DARK, INVALID = 0, 1, 2, 3
#: Frames that the ESRF's files have of the sample turned back, to see whether it moved.
ALIGNMENT = -1


@dataclass(frozen=True)
class Uniform(Source):
    """Frames that were never recorded and are taken for one number; `kind` and `location` say what for."""

    value: float

    def _files(self) -> Iterable[tuple[str, Place]]:
        return []

    def _load(self, box: Box) -> NDArray[Any]:
        return np.full(box.shape, self.value, self.dtype)


@dataclass(frozen=True)
class Frames:
    """Some frames of a stack, in the order in which they were recorded.

    Attributes
    ----------
    stack : Source
        All frames that are stored together, (frame, row, column).
    runs : tuple of (int, int)
        Which of them: numbers [first, end), rising.
    rows : (int, int)
        Detector rows [first, end) that are read.
    """

    stack: Source
    runs: tuple[Run, ...]
    rows: Run

    def __len__(self) -> int:
        return sum(end - first for first, end in self.runs)

    @property
    def shape(self) -> Triple:
        """Frames, rows and columns."""
        return len(self), self.rows[1] - self.rows[0], self.stack.shape[2]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the counts, as they are stored."""
        return self.stack.dtype

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Number of each frame in the stack."""
        return np.concatenate([np.arange(*run, dtype=np.int64) for run in self.runs] or [np.empty(0, np.int64)])

    def read(self, first: int, end: int) -> NDArray[Any]:
        """Return frames [first, end) of these, (frame, row, column).

        Raises
        ------
        SourceError
            If a file is gone, truncated, corrupt or no longer what it was when it was opened.
        """
        if not 0 <= first < end <= len(self):
            raise ValueError(f"frames {first} to {end} are not within {len(self)}")
        runs = list(cut(self.runs, first, end))
        if len(runs) == 1:
            return self._run(*runs[0])  # no second copy of many frames
        frames = np.empty((end - first, *self.shape[1:]), self.dtype)
        done = 0
        for a, b in runs:
            frames[done : done + b - a] = self._run(a, b)
            done += b - a
        return frames

    def _run(self, first: int, end: int) -> NDArray[Any]:
        """Return frames of the stack."""
        return self.stack.read(Box((first, self.rows[0], 0), (end, self.rows[1], self.stack.shape[2])))

    def part(self, first: int, end: int) -> Frames:
        """Return frames [first, end) of these."""
        return Frames(self.stack, tuple(cut(self.runs, first, end)), self.rows)


class FrameStack(NamedTuple):
    """Frames of one kind that were taken one after the other.

    `position` is when, in frames since the scan began, at their middle; for projections, `moments` tells it.
    """

    position: float
    frames: Frames


def cut(runs: Sequence[Run], first: int, end: int) -> Iterator[Run]:
    """Yield the runs of the frames [first, end) of those in `runs`.

    >>> list(cut([(0, 3), (10, 14)], 2, 5))
    [(2, 3), (10, 12)]
    """
    before = 0
    for a, b in runs:
        low, high = max(first - before, 0), min(end - before, b - a)
        if low < high:
            yield a + low, a + high
        before += b - a


def runs_of(numbers: NDArray[np.int64]) -> tuple[Run, ...]:
    """Return rising numbers as runs.

    >>> runs_of(np.array([0, 1, 2, 7, 8]))
    ((0, 3), (7, 9))
    """
    if not len(numbers):
        return ()
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    return tuple((int(part[0]), int(part[-1]) + 1) for part in np.split(numbers, breaks))


def left_over(kind: str, count: int, ignored: Sequence[Run]) -> NDArray[np.int64]:
    """Return the numbers of `count` frames without those that the recipe leaves out.

    Raises
    ------
    SourceError
        If it leaves out one that is not there, or all.
    """
    keep = np.ones(count, bool)
    for first, end in ignored:
        if end > count:
            raise SourceError(
                f"[reconstruct] ignore_{kind}: [{first}, {end}] reaches outside the {count} {kind} that there are; "
                f"end at {count}"
            )
        keep[first:end] = False
    if count and not keep.any():
        way_out = ', or say darks = "none"' if kind == "darks" else " of other files (flats = PATH)"
        raise SourceError(f"[reconstruct] ignore_{kind}: leaves out all {count} {kind}; keep some{way_out}")
    return np.flatnonzero(keep)


def stacks_of(keys: NDArray[np.int64], kind: str, ignored: Sequence[Run], stack: Source, rows: Run) -> list[FrameStack]:
    """Return the "flats" or "darks" that keys tell, parted where projections were taken between them."""
    numbers = np.flatnonzero(keys == (FLAT if kind == "flats" else DARK))
    numbers = numbers[left_over(kind, len(numbers), ignored)]
    if not len(numbers):
        return []
    before = np.cumsum(keys == PROJECTION)[numbers]
    groups = np.split(numbers, np.flatnonzero(np.diff(before)) + 1)
    return [FrameStack(float(group.mean()), Frames(stack, runs_of(group), rows)) for group in groups]
