"""The angles at which projections were taken: one for each, rising or falling, and which of them are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from crackdask.sources.base import SourceError
from crackdask.sources.frames import Run
from crackdask.sources.number_lists import Numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of an angle, degrees: far below any step.
_EXACT = 1e-6
#: Angles that cover less than this, degrees, are taken for radians (a whole turn is 6.28).
_LEAST = 6.5
_TURN = 360.0


def degrees_of(angles: Numbers, projections: NDArray[np.int64], frames: int) -> NDArray[np.float64]:
    """Return the angle of each projection in degrees.

    Parameters
    ----------
    angles
        One for each frame, or for each projection.
    projections
        Numbers of the frames that are projections.
    frames
        How many frames there are, of all kinds.

    Raises
    ------
    SourceError
        If there are too few or too many, or one is no number, or they do not rise or fall throughout.
    """
    degrees = angles.degrees
    if len(degrees) == frames:
        degrees = degrees[projections]
    elif len(degrees) != len(projections):
        raise SourceError(
            f"{angles.where}: found {len(degrees)} angles for {frames} frames, of which {len(projections)} are "
            "projections; wanted one for each frame or for each projection"
        )
    bad = np.flatnonzero(~np.isfinite(degrees))
    if len(bad):
        raise SourceError(
            f"{angles.where}: {len(bad)} of {len(degrees)} angles are no numbers, the first that of projection "
            f"{bad[0]}; repair them, mark these frames with image_key 3, or give rotation_angle as a list"
        )
    steps = np.diff(degrees)
    falling = bool(len(steps) and np.median(steps) < 0)
    wrong = np.flatnonzero(steps >= 0 if falling else steps <= 0)
    if len(wrong):
        i = wrong[0]
        raise SourceError(
            f"{angles.where}: angles should {'fall' if falling else 'rise'} from one projection to the next, but "
            f"{degrees[i]:g} is followed by {degrees[i + 1]:g} at projection {i + 1} ({len(wrong)} such places); mark "
            "frames that do not belong with image_key 3, or give rotation_angle as a list (an encoder that starts "
            "again at 0 needs 360 added)"
        )
    if len(degrees) > 1 and abs(degrees[-1] - degrees[0]) < _LEAST:
        raise SourceError(
            f"{angles.where}: angles cover {abs(degrees[-1] - degrees[0]):.3g} degrees, too few for a slice; if they "
            'are radians, say so in the attribute units ("rad"), or give them in degrees'
        )
    return degrees


def kept_angles(degrees: NDArray[np.float64], wanted: Literal["all"] | tuple[float, float], where: str) -> Run:
    """Return which projections, [first, end), are within the angles that the recipe keeps.

    Raises
    ------
    SourceError
        If fewer than two are, or they turn more than once.
    """
    low, high = (-np.inf, np.inf) if wanted == "all" else wanted
    inside = np.flatnonzero((degrees >= low - _EXACT) & (degrees <= high + _EXACT))
    if len(inside) < 2:
        limits = f"from {degrees.min():g} to {degrees.max():g} degrees" if len(degrees) else "at no angle"
        asked = "" if wanted == "all" else f", and angles = [{low:g}, {high:g}] keeps {len(inside)} of them"
        raise SourceError(f"{where}: found {len(degrees)} projections {limits}{asked}; wanted two or more")
    first, end = int(inside[0]), int(inside[-1]) + 1
    span = abs(degrees[end - 1] - degrees[first])
    if span > _TURN + _EXACT:
        raise SourceError(
            f"{where}: angles go from {degrees[first]:g} to {degrees[end - 1]:g}, over {span:.6g} degrees, more than a "
            "turn; keep half a turn, such as angles = "
            f"[{min(degrees[first], degrees[end - 1]):g}, {min(degrees[first], degrees[end - 1]) + 180:g}]"
        )
    return first, end
