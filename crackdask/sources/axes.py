"""What the axes of an array are said to be, and whether that is a stack of slices."""

from __future__ import annotations

from collections.abc import Sequence

from crackdask.sources.base import SourceError

#: Along which an array holds no slices, by name.
_NO_SLICES = {"c", "channel", "t", "time", "energy", "wavelength"}


def refuse_other_axes(where: str, axes: Sequence[str]) -> None:
    """Raise where an array says that what would be its slices are something else, or its slices another axis.

    `axes` are names as the file tells them, the slowest first; none where it does not.
    """
    named = [name.lower() for name in axes]
    if {*named} & _NO_SLICES:
        raise SourceError(
            f"{where}: found axes {', '.join(axes)}, wanted z, y, x, a stack of slices; write the one of them that is "
            "meant to an array of its own, or, if these are slices, correct their name"
        )
    if sorted(named) == ["x", "y", "z"] and named != ["z", "y", "x"]:
        raise SourceError(
            f"{where}: found axes {', '.join(axes)}, wanted z, y, x, the slowest first; write it again with axes in "
            "that order, or, if they are, correct their names"
        )
