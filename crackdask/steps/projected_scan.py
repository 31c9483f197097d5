"""What a tomogram is made with: geometry of an opened scan, means of flats and darks, where the axis is seen."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from crackdask.arrays import Floats, Singles
from crackdask.sources import SourceError
from crackdask.sources.frames import Frames, FrameStack
from crackdask.sources.projections import Projections
from crackdask.steps.reconstruct_parameters import Axis
from crackdask.steps.sinogram_rows import Geometry


def geometry_of(projections: Projections) -> Geometry:
    """Return what is known before its projections are read."""
    frames = projections.recorded
    return Geometry(
        frames.shape,
        projections.all_angles,
        _moments(projections),
        float(np.iinfo(frames.dtype).max) if frames.dtype.kind in "iu" else inf,
    )


def _moments(projections: Projections) -> Floats:
    """Return when each projection was taken: 0 at the first flats, 1 at the last."""
    first, last = projections.flat_stacks[0].position, projections.flat_stacks[-1].position
    moments = projections.recorded.numbers.astype(np.float64)
    if first == last:
        return np.zeros(len(moments))
    return np.clip((moments - first) / (last - first), 0.0, 1.0)


def mean_references(projections: Projections) -> dict[str, Singles]:
    """Return `flats` and `darks`, the means of the first and of the last of each, (2, row, column).

    Raises
    ------
    SourceError
        Where there is no beam in the frames that are said to show it, or one cannot be read.
    """
    flats, darks = (_means(stacks) for stacks in (projections.flat_stacks, projections.dark_stacks))
    below = float((~(flats > darks)).mean())  # what is no number is not brighter
    if below > 0.5:
        raise SourceError(
            f"{projections.location}: {below:.0%} of the pixels of the flats are not brighter than the darks; are they "
            "swapped ([reconstruct] flats, darks, image_key), or was the shutter closed?"
        )
    return {"flats": flats, "darks": darks}


def _means(stacks: Sequence[FrameStack]) -> Singles:
    """Return the means of the first and of the last frames of a kind, one frame at a time."""
    means = []
    for _, frames in (stacks[0], stacks[-1]):
        summed = np.zeros(frames.shape[1:], np.int64 if frames.dtype.kind in "iu" else np.float64)
        for k in range(len(frames)):
            summed += frames.read(k, k + 1)[0]
        means.append((summed / len(frames)).astype(np.float32))
    return np.stack(means)


def given_centers(axis: Axis, projections: Projections) -> Floats | None:
    """Return where the axis is seen in each row that is read, or None where that is to be found.

    Raises
    ------
    SourceError
        If slices cannot be made about it.
    """
    projections.check_axis(axis)
    return None if axis == "auto" else _along(axis, projections.recorded)


def _along(axis: tuple[float, float], frames: Frames) -> Floats:
    top, bottom = axis
    rows = np.arange(*frames.rows)
    return np.asarray(top + (bottom - top) * rows / max(1, frames.stack.shape[1] - 1))
