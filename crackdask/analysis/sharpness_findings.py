"""What a run tells of states that are blurrier than others, and of what that takes from changes of damage."""

from __future__ import annotations

from collections.abc import Sequence

from crackdask.analysis.blur_loss import found_share
from crackdask.analysis.findings import Finding


def of_sharpness(
    names: Sequence[str],
    widths: Sequence[float],
    blurrier: Sequence[float],
    limit: float,
    matched: Sequence[bool],
    radii: Sequence[float],
) -> list[Finding]:
    """Return what the edges of the states' particles tell.

    Parameters
    ----------
    names
        Of the states.
    widths
        Of their edges, in voxels; NaN where unknown.
    blurrier
        By which blur each is blurrier than the sharpest, in voxels; 0 within the limit.
    limit
        From which blur on it is told.
    matched
        Whether the sharper states were brought to it for measuring.
    radii
        Of particles for which it is told what of a change is found, in voxels, the smallest first.
    """
    sharpest = min((width for width in widths if width == width), default=float("nan"))
    most = max((more for more, done in zip(blurrier, matched, strict=True) if done), default=0.0)

    def found(more: float, done: bool) -> str:
        shares = [(found_share(most if done else more, radius, regained=done), radius) for radius in radii]
        told = ", ".join(f"{share:.0%} at a radius of {radius:.1f} voxels" for share, radius in shares)
        return f"; of a change of damage about {told} is found" if told else ""

    return [
        Finding(
            "sharpness-matched" if done else "sharpness", name, float(more), limit,
            f"edges {width:.2f} voxels wide instead of {sharpest:.2f}, as after a blur of {more:.2f}, limit {limit:g}"
            f"{found(more, done)}",
        )
        for name, width, more, done in zip(names, widths, blurrier, matched, strict=True)
        if more
    ]  # fmt: skip
