"""What a cycler recorded, and how its files are to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any

import numpy as np

from crackdask.arrays import Floats
from crackdask.sources.cycler_dates import Dates


@dataclass(frozen=True)
class CyclerRecord:
    """Voltage, current and charge of a cell over time.

    Attributes
    ----------
    time
        Seconds since the first row, never decreasing.
    voltage
        V.
    current
        mA, positive on charge.
    charge
        mAh that went into the cell since the first row, less what came out.
    start
        Date of the first row, with its offset from UTC where that is known; None where the files do not tell.
    rows
        Rows that were read; of more than `MOST_ROWS` the curve keeps every second, fourth, ...
    notes
        What should be known of the files, in sentences.
    loops
        Seconds at which the cycler began its sequence of techniques again, of which this is one: what it did in between
        is told by other files.
    """

    time: Floats
    voltage: Floats
    current: Floats
    charge: Floats
    start: datetime | None
    rows: int
    notes: tuple[str, ...] = ()
    loops: tuple[float, ...] = ()

    @property
    def end(self) -> datetime | None:
        """Date of the last row."""
        return None if self.start is None else self.start + timedelta(seconds=float(self.time[-1]))

    def in_loops(self) -> list[CyclerRecord]:
        """Return the record of each loop, all with the start of the whole, and charge since the row before the first.

        What a loop's first row adds is in it; `rows` and `notes` are those of the whole, told by the first.
        """
        edges = [0, *np.unique(np.searchsorted(self.time, self.loops)).tolist(), self.time.size]
        parts = []
        for begin, end in pairwise(sorted(set(edges))):
            cut = slice(begin, end)
            charge = self.charge[cut] - (self.charge[begin - 1] if begin else 0.0)
            told = (self.rows, self.notes) if begin == 0 else (0, ())
            parts.append(CyclerRecord(self.time[cut], self.voltage[cut], self.current[cut], charge, self.start, *told))
        return parts


@dataclass(frozen=True)
class Reading:
    """How files are to be read.

    Attributes
    ----------
    columns
        Headings that the user named, by `time`, `voltage`, `current`, `charge`.
    dates
        Whether the month or the day comes first in dates such as 03/04/2021.
    positive
        What the cell does when the current is positive.
    zone
        Of the cycler's clock, for times that are told without an offset from UTC.
    """

    columns: Mapping[Any, str]
    dates: Dates = "auto"
    positive: str = "charge"
    zone: tzinfo | None = None


def other_way(text: str, month_first: bool = True) -> str:
    """Return that a date could be read in another way."""
    way, other = ("month", "day") if month_first else ("day", "month")
    return f'"{text}" was read with the {way} first, and could have the {other} first'


def spoken_time(seconds: float) -> str:
    """Return a duration in words.

    >>> spoken_time(7200), spoken_time(90), spoken_time(2.5)
    ('2 h', '1.5 min', '2.5 s')
    """
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
