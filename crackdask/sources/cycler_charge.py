"""The charge that each row of a cycler's table adds, from a column of it, from its steps, or from the current."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crackdask.arrays import Floats, Integers, Mask
from crackdask.sources.base import SourceError

#: No charge is counted between rows further apart than so many seconds: nobody knows what flowed there.
GAP = 3600.0


class ChargeCount:
    """Adds up the charge of one file, piece by piece.

    Parameters
    ----------
    heading
        Of the column of the charge, for messages.
    chosen
        Whether the user named that column: nobody knows what it does where it begins again.
    mean_current
        Whether the current is the mean since the row before.
    """

    def __init__(self, heading: str | None, *, chosen: bool, mean_current: bool) -> None:
        self._heading, self._chosen, self._mean_current = heading, chosen, mean_current
        self._before: dict[str, float] | None = None  # the last row of the piece before
        self.gaps = 0

    def added(self, values: Mapping[str, Floats], steps: Floats, loops: Mask, rows: Integers) -> Floats:
        """Return what each row adds, mAh: nothing in a gap, nor in the first row of a file.

        Parameters
        ----------
        values
            Columns, by what they are: "charge", "step_charge", "current".
        steps
            Seconds since the row before.
        loops
            Whether the cycler began its techniques again before a row; what it did in between is in other files.
        rows
            Numbers of the rows in the file, for messages.

        Raises
        ------
        SourceError
            If the column that the user named begins again in the middle.
        """
        first = self._before is None
        before = self._before or {name: float(column[0]) for name, column in values.items()}
        earlier = {name: np.concatenate([[before[name]], column[:-1]]) for name, column in values.items()}
        self._before = {**{name: float(column[-1]) for name, column in values.items()}, "step": float(steps[-1])}
        if "charge" in values:
            return self._of_charge(values, earlier, steps, loops, rows)
        if "step_charge" in values:
            return values["step_charge"] * np.where(np.arange(len(steps)) > 0, 1.0, 0.0 if first else 1.0)
        gap = steps > GAP
        self.gaps += int(np.count_nonzero(gap))
        # In a pause for other techniques a current flows no longer than it did before the row ahead of it.
        step_before = np.concatenate([[before.get("step", 0.0)], steps[:-1]])
        lasted = np.where(loops, np.minimum(steps, step_before), steps)
        mean = values["current"] if self._mean_current else (values["current"] + earlier["current"]) / 2
        return np.where(gap, 0.0, mean * lasted / 3600.0)

    def _of_charge(
        self, values: Mapping[str, Floats], earlier: Mapping[str, Floats], steps: Floats, loops: Mask, rows: Integers
    ) -> Floats:
        known = values["charge"]
        added = known - earlier["charge"]
        begins = _begins_again(values, earlier, added, steps)
        if begins.any() and self._chosen:
            way = (
                "leave columns.charge out, for the current tells it"
                if "current" in values
                else "export the current too"
            )
            raise SourceError(
                f"the column {self._heading!r} begins again in row {rows[begins.argmax()] + 1} of the table, and is to "
                f"go on from step to step; {way}"
            )
        # EC-Lab counts from the beginning of each loop, and goes on where a technique jumps back by itself.
        return np.where(begins | (loops & (np.abs(known) < np.abs(added))), known, added)


def _begins_again(values: Mapping[str, Floats], earlier: Mapping[str, Floats], added: Floats, steps: Floats) -> Mask:
    """Tell where a charge falls to nothing without a current: there it begins to count again."""
    most = max(float(np.abs(earlier["charge"]).max()), 1e-12)
    moved = np.abs(added)
    if "current" in values:
        could = 1.5 * np.maximum(np.abs(values["current"]), np.abs(earlier["current"])) * steps / 3600.0
    else:
        could = np.full(moved.size, 10 * float(np.median(moved[moved > 0])) if moved.any() else 0.0)
    return (np.abs(values["charge"]) <= 1e-3 * most) & (moved > 0.05 * most) & (moved > could) & (steps <= GAP)
