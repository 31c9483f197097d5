"""Flats and darks: among the frames of a scan, beside them, or in files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crackdask.sources.base import Source, SourceError
from crackdask.sources.frames import Frames, FrameStack, Run, Uniform, left_over, runs_of, stacks_of
from crackdask.sources.nxtomo import Layout
from crackdask.sources.scan_parts import AUTO, NONE, Home, ProjectionKeys

if TYPE_CHECKING:
    from numpy.typing import NDArray


def references(
    home: Home, layout: Layout, params: ProjectionKeys, stack: Source, keys: NDArray[np.int64], rows: Run
) -> tuple[list[FrameStack], list[FrameStack], list[str]]:
    """Return flats, darks, and what is to be known of them."""
    where, notes = str(home.path), []
    if params.flats == NONE:
        if stack.dtype.kind != "f":
            raise SourceError(
                f'{where}: [reconstruct] flats = "none" says that frames are transmissions, real numbers up to about '
                f"1, but found {stack.dtype}; name the flats"
            )
        even = [_even(value, name, stack, rows) for value, name in ((1.0, "flats"), (0.0, "darks"))]
        notes.append("frames are taken for transmissions: no flats and darks are used")
        return even[:1], even[1:], notes
    flats = _named(home, layout.flats, params.flats, params.ignore_flats, "flats", stack, rows)
    darks: list[FrameStack] | None = None
    if params.darks != NONE:
        darks = _named(home, layout.darks, params.darks, params.ignore_darks, "darks", stack, rows)
        darks = stacks_of(keys, "darks", params.ignore_darks, stack, rows) if darks is None else darks
    flats = stacks_of(keys, "flats", params.ignore_flats, stack, rows) if flats is None else flats
    if not flats:
        raise SourceError(
            f"{where}: found no flats (frames without sample), and without them there is no attenuation; name them "
            'with flats in [reconstruct], or say flats = "none" if the frames are transmissions already'
        )
    if not darks:
        if darks is not None:
            notes.append("found no darks (frames without beam): the detector is taken to count zero in the dark")
        darks = [_even(0.0, "darks", stack, rows)]
    return flats, darks, notes


def _even(value: float, name: str, stack: Source, rows: Run) -> FrameStack:
    """Return a frame of one number, for what was not recorded."""
    frame = Uniform((1, *stack.shape[1:]), stack.dtype, "uniform", name, value)
    return FrameStack(0.0, Frames(frame, ((0, 1),), rows))


def _named(
    home: Home,
    inside: str,
    given: str | tuple[str, str],
    ignored: tuple[Run, ...],
    kind: str,
    stack: Source,
    rows: Run,
) -> list[FrameStack] | None:
    """Return flats or darks that have a place of their own, or None where keys must tell them."""
    if given == AUTO:
        given = inside or (home.folder(kind) if not home.is_hdf5 else "")
    if not given:
        return None
    names = (given,) if isinstance(given, str) else given
    found = [home.frames(name, kind) for name in names]
    for source, _ in found:
        if source.shape[1:] != stack.shape[1:]:
            raise SourceError(
                f"{source.location}: {kind} have {source.shape[1]} x {source.shape[2]} pixels, projections "
                f"{stack.shape[1]} x {stack.shape[2]}; name {kind} that the same detector took with the same window"
            )
    keep = left_over(kind, sum(end - first for _, runs in found for first, end in runs), ignored)
    stacks, before = [], 0
    for position, (source, runs) in zip((-1.0, float(stack.shape[0])), found, strict=False):
        numbers = Frames(source, runs, rows).numbers
        here = keep[(keep >= before) & (keep < before + len(numbers))] - before
        before += len(numbers)
        if len(here):
            stacks.append(FrameStack(position, Frames(source, runs_of(numbers[here]), rows)))
    return stacks
