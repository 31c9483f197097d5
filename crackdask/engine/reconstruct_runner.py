"""How a scan of projections becomes a tomogram in the work folder, which is then read like any other scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from crackdask.arrays import Floats, Singles
from crackdask.blocks.passes import Array
from crackdask.engine.context import ResultError, RunContext
from crackdask.engine.work_units import Unit
from crackdask.grid import Box
from crackdask.sources import SourceError
from crackdask.sources.frames import Frames, FrameStack
from crackdask.sources.projections import Projections
from crackdask.steps.reconstruct import Geometry, passes
from crackdask.steps.reconstruct_parameters import Axis
from crackdask.steps.rotation_center import CenterNotFoundError

#: Tables that workers look up and nobody else wants.
_LOOKED_UP = ("flats", "darks")


@dataclass(frozen=True)
class WholeFrames:
    """Frames as the engine reads them: boxes of all rows and columns."""

    frames: Frames

    def read(self, box: Box) -> Array:
        """Return the frames of a box, (frame, row, column)."""
        return self.frames.read(box.start[0], box.stop[0])


def reconstructed(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Reconstruct a state's tomogram; of a state that is a tomogram already there is nothing to do."""
    projections, params = context.scans.projections(unit.state), context.recipe.reconstruct
    if projections is None or params is None:
        return {}
    name, frames = context.recipe.states[unit.state].name, projections.recorded
    geometry = Geometry(
        frames.shape,
        projections.all_angles,
        _moments(projections),
        float(np.iinfo(frames.dtype).max) if frames.dtype.kind in "iu" else inf,
    )
    flats, darks = (_means(stacks) for stacks in (projections.flat_stacks, projections.dark_stacks))
    _refuse_dark_flats(name, flats, darks)
    axis = params.axes(len(context.recipe.states))[unit.state]
    for center in [] if axis == "auto" else axis:
        projections.check_center(center)
    given = _centers(axis, frames)
    looked_up = {"flats": flats, "darks": darks} | ({} if given is None else {"centers": given})
    try:
        tables = context.passes(
            unit, passes(geometry, frames.dtype, params, given), {"frames": WholeFrames(frames)}, looked_up
        )
    except CenterNotFoundError as error:
        raise ResultError(f"state {name!r}: {error}") from error
    return {key: values for key, values in tables.items() if key not in _LOOKED_UP}


def _moments(projections: Projections) -> Floats:
    """Return when each projection was taken: 0 at the first flats, 1 at the last."""
    first, last = projections.flat_stacks[0].position, projections.flat_stacks[-1].position
    moments = projections.recorded.numbers.astype(np.float64)
    if first == last:
        return np.zeros(len(moments))
    return np.clip((moments - first) / (last - first), 0.0, 1.0)


def _means(stacks: Sequence[FrameStack]) -> Singles:
    """Return the means of the first and of the last frames of a kind, (2, row, column), one frame at a time."""
    means = []
    for _, frames in (stacks[0], stacks[-1]):
        summed = np.zeros(frames.shape[1:], np.int64 if frames.dtype.kind in "iu" else np.float64)
        for k in range(len(frames)):
            summed += frames.read(k, k + 1)[0]
        means.append((summed / len(frames)).astype(np.float32))
    return np.stack(means)


def _refuse_dark_flats(name: str, flats: Singles, darks: Singles) -> None:
    """Raise where there is no beam in the frames that are said to show it."""
    below = float((flats <= darks).mean())
    if below > 0.5:
        raise SourceError(
            f"state {name!r}: {below:.0%} of the pixels of the flats are not brighter than the darks; are they swapped "
            "([reconstruct] flats, darks, image_key), or was the shutter closed?"
        )


def _centers(axis: Axis, frames: Frames) -> Floats | None:
    """Return where the axis is seen in each row that is read, or None where that is to be found."""
    if axis == "auto":
        return None
    top, bottom = axis
    whole = frames.stack.shape[1]
    rows = np.arange(*frames.rows)
    return np.asarray(top + (bottom - top) * rows / max(1, whole - 1))
