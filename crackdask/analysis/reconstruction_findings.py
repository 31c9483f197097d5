"""What a run tells of the projections that its tomograms were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from crackdask.analysis.findings import Finding

#: Shares of all pixels of the kept projections. A full one is interpolated: single ones beside sound ones leave
#: nothing to be seen. Where no photon came through the sum along the ray is unknown, and each such ray is a streak.
SATURATED, STARVED = 0.01, 0.001
#: Share of columns that are interpolated in all projections; usual detectors have some tenths of a percent.
LOST = 0.01
#: Share of the voxels of a tomogram that lie beyond its window; streaks and the corners beyond the field may.
BEYOND = 0.001
_HALF_TURN = 180.0
#: Columns. Where all is well the two methods are a tenth of one apart.
CENTERS_APART = 0.25


def of_notes(state: str, notes: Sequence[str]) -> list[Finding]:
    """Return what is to be known of how a state was scanned, one finding for each note."""
    return [Finding("projection-notes", state, 0.0, 0.0, note) for note in notes]


def of_pixels(state: str, counted: Mapping[str, int], frames: tuple[int, int, int]) -> list[Finding]:
    """Return what flawed pixels tell.

    Parameters
    ----------
    state
        Its name.
    counted
        Pixels of the kept projections that are `saturated` or `starved`, and columns of all rows that are `dead`,
        `stuck` or `lost`.
    frames
        Kept projections, rows, columns.
    """
    columns = counted["dead"] + counted["stuck"] + counted["lost"]
    kinds = (
        ("saturated-pixels", counted["saturated"] / prod(frames), SATURATED, "pixels"),
        ("starved-pixels", counted["starved"] / prod(frames), STARVED, "pixels"),
        ("lost-columns", columns / prod(frames[1:]), LOST, "columns of all rows: dead, stuck, or mostly full"),
    )
    return [
        Finding(code, state, share, limit, f"{share:.2%} of the {what}, limit {limit:.1%}")
        for code, share, limit, what in kinds
        if share > limit
    ]


def of_levels(state: str, beyond: int, shape: tuple[int, int, int]) -> list[Finding]:
    """Return what is told of voxels that a tomogram of 16-bit levels cannot hold."""
    share = beyond / prod(shape)
    if share <= BEYOND:
        return []
    text = f"{share:.2%} of the voxels, limit {BEYOND:.1%}"
    return [Finding("beyond-window", state, share, BEYOND, text)]


def of_center(state: str, degrees: Sequence[float]) -> list[Finding]:
    """Return what is told of a center that was found by reconstructions alone."""
    covered = max(degrees) - min(degrees)
    return [Finding("limited-center", state, covered, _HALF_TURN, f"{covered:.1f} of 180 degrees")]


def of_agreement(state: str, sweep: float, opposite: float) -> list[Finding]:
    """Return what is told where reconstructions and opposite views find the center at different columns."""
    apart = abs(sweep - opposite)
    if apart <= CENTERS_APART:
        return []
    text = f"{sweep:.2f} by reconstructions, {opposite:.2f} by opposite views, limit {CENTERS_APART:g} apart"
    return [Finding("centers-apart", state, apart, CENTERS_APART, text)]
