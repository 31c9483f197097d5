"""What a cycler says that the cell does, charge or discharge, against the sign of the current beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from crackdask.arrays import Floats, Integers, Mask
from crackdask.lazy_import import Later
from crackdask.sources.base import SourceError
from crackdask.sources.cycler_charge import ChargeCount

if TYPE_CHECKING:
    import pandas as pd
else:  # which every command would wait for
    pd = Later("pandas")

_DISCHARGE = re.compile(r"d|dis.*|.*(?<![a-z])d(is)?[ _-]?ch.*", re.IGNORECASE)
_CHARGE = re.compile(r"c|.*(?<![a-z])ch(g|arg).*", re.IGNORECASE)


def direction(state: str) -> int:
    """Return 1 for a charge, -1 for a discharge, 0 for anything else.

    >>> [direction(each) for each in ("C", "CC Chg", "Charge", "D", "CC DChg", "CC_DChg", "discharge", "R", "Pause")]
    [1, 1, 1, -1, -1, -1, -1, 0, 0]
    """
    if _DISCHARGE.fullmatch(state.strip()):
        return -1
    return 1 if _CHARGE.fullmatch(state.strip()) else 0


class StatedSigns:
    """The current of a file as the states beside it tell its sign, and the charge of that, piece by piece.

    Parameters
    ----------
    heading
        Of the column of the states, for messages.
    mean_current
        Whether the current is the mean since the row before.
    """

    def __init__(self, heading: str, *, mean_current: bool) -> None:
        self._heading = heading
        self._charge, self._sum = ChargeCount(None, chosen=False, mean_current=mean_current), 0.0
        self._rows = {(way, sign): 0 for way in (1, -1) for sign in (1, -1)}  # by what the cell does, and the current

    def columns(self, states: pd.Series, current: Floats, steps: Floats, loops: Mask, rows: Integers) -> Floats:
        """Return (row, 2): the current, positive on charge, and its charge since the file began."""
        codes, names = pd.factorize(states.astype(str))
        ways = np.array([direction(str(name)) for name in names])[codes]
        for way, sign in self._rows:
            self._rows[way, sign] += int(np.count_nonzero((ways == way) & (sign * current > 0)))
        turned = np.where(ways == 0, current, ways * np.abs(current))
        charge = self._sum + np.cumsum(self._charge.added({"current": turned}, steps, loops, rows))
        self._sum = float(charge[-1])
        return np.stack([turned, charge], axis=1)

    def without_sign(self, positive: str) -> bool:
        """Tell whether currents of charge and discharge have one sign, so that the states have to tell it.

        Raises
        ------
        SourceError
            If the current has the other sign than the recipe says.
        """
        if self._rows[-1, 1] and not (self._rows[1, -1] or self._rows[-1, -1]):
            return True
        sign = 1 if positive == "charge" else -1
        against = self._rows[1, -sign] + self._rows[-1, sign]
        if against > self._rows[1, sign] + self._rows[-1, -sign]:
            other = "discharge" if positive == "charge" else "charge"
            raise SourceError(
                f"the current has the other sign than {self._heading!r} tells, in {against} rows; set positive = "
                f'"{other}" under [electrochemistry]'
            )
        return False
