"""The curve that one file of a cycler's tells: charge added up over all rows; of a long one every second, ... row.

What would be wrong in silence is refused: clocks that go back, charges that begin again, numbers that are no dates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.clocks import on_clock
from crackdask.lazy_import import Later
from crackdask.sources.base import SourceError
from crackdask.sources.cycler_columns import Columns
from crackdask.sources.cycler_text import Dates, in_utc, moment, parsed_dates

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
else:  # which every command would wait for
    pd = Later("pandas")

#: Rows of the curve that is kept, at most; twice as many are in memory.
MOST_ROWS = 200_000
#: Clocks are set right by as many seconds now and then, and their ticks jitter.
CLOCK = 1.0
#: No charge is counted between rows further apart than so many seconds: nobody knows what flowed there.
GAP = 3600.0
#: 1970 in the days that a spreadsheet counts.
_SPREADSHEET = 25_569


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
    """

    time: Floats
    voltage: Floats
    current: Floats
    charge: Floats
    start: datetime | None
    rows: int
    notes: tuple[str, ...] = ()

    @property
    def end(self) -> datetime | None:
        """Date of the last row."""
        return None if self.start is None else self.start + timedelta(seconds=float(self.time[-1]))


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


class Curve:
    """The curve of one file, made of pieces; of long ones every second, fourth, ... row is kept."""

    def __init__(self, where: str, columns: Columns, reading: Reading) -> None:
        self._where, self._columns, self._reading = where, columns, reading
        self._kept: list[Floats] = []  # rows of time, voltage, current, charge
        self._every = 1
        self._rows = self._lines = self._gaps = self._unsound = self._early = 0
        self._earliest = 0.0  # by how many seconds a row is before one above it
        self._began: datetime | None = None
        self._last: Floats | None = None
        self._counted = 0.0  # what the column of the charge said last
        self._dates = reading.dates
        self._zone: tzinfo | None = None  # of dates that are seconds of UTC, in which the first of them was told
        self._doubtful = ""

    def of(self, pieces: Iterator[pd.DataFrame] | Sequence[pd.DataFrame], started: datetime | None) -> CyclerRecord:
        """Return the record of all pieces; `started` is what the file's header tells."""
        for piece in pieces:
            self._add(piece)
        if self._last is None:
            raise SourceError(f"{self._where}: no row has a time, a voltage and a current; export it again")
        rows = np.concatenate(self._kept)
        if (self._rows - 1) % self._every:
            rows = np.concatenate([rows, self._last[None]])
        notes = [other_way(self._doubtful, self._dates == "month first")] if self._doubtful else []
        if self._unsound:
            notes.append(f"{self._where}: {self._unsound} rows without a number were left out")
        if self._early:
            most = spoken_time(self._earliest)
            notes.append(
                f"{self._where}: the clock goes back before {self._early} rows, by {most} at most; they count as taken "
                "at the time before"
            )
        if self._gaps:
            notes.append(f"{self._where}: {self._gaps} gaps of over an hour, in which no charge is counted")
        time = rows[:, 0]
        if self._columns.date:
            started = moment(float(time[0]), self._zone)
        elif started is not None:
            started += timedelta(seconds=float(time[0]))
        else:
            started = self._began
        try:
            started = on_clock(started, self._reading.zone) if started else None
        except ValueError as error:
            raise SourceError(f"{self._where}: began when {error}") from None
        sign = 1.0 if self._reading.positive == "charge" else -1.0
        keeps_time = time if started is None else time - time[0]  # files without dates go on by their own times
        return CyclerRecord(
            keeps_time,
            rows[:, 1],
            sign * rows[:, 2],
            sign * (rows[:, 3] - rows[0, 3]),
            started,
            self._rows,
            tuple(notes),
        )

    def _add(self, piece: pd.DataFrame) -> None:
        columns = self._columns
        wanted = {"time": columns.time, "voltage": columns.voltage, "current": columns.current,
                  "charge": columns.charge, "step_charge": columns.step_charge}  # fmt: skip
        values = {
            what: (self._times(piece[name]) if what == "time" else self._number(piece[name]))
            * self._columns.factors[what]  # which are others once times are seen to be dates
            for what, name in wanted.items()
            if name
        }
        lines = self._lines + np.arange(len(piece))
        self._lines += len(piece)
        sound = np.all([np.isfinite(column) for column in values.values()], axis=0)
        self._unsound += int(np.count_nonzero(~sound))
        if not sound.any():
            return
        if columns.began and self._last is None:
            self._began = self._date_of(piece[columns.began][sound])
        values, lines = {what: column[sound] for what, column in values.items()}, lines[sound]
        before = self._last
        times = np.concatenate([values["time"][:1] if before is None else before[:1], values["time"]])
        shown = np.maximum.accumulate(times)
        self._refuse_other_time(shown - times, lines)
        values["time"], steps = shown[1:], np.diff(shown)
        added = self._added(values, steps, before)
        if "charge" in values:
            self._refuse_what_begins_again(values, added, steps, lines)
        charge = np.cumsum(added) + (0.0 if before is None else before[3])
        current = values.get("current")
        if current is None:
            current = np.divide(added, steps, out=np.zeros_like(added), where=steps > 0) * 3600.0
        rows = np.stack([values["time"], values["voltage"], current, charge], axis=1)
        self._keep(rows)
        self._last = rows[-1]

    def _refuse_other_time(self, early: Floats, lines: NDArray[np.int64]) -> None:
        """Raise if the clock was put back; `early` tells by how many seconds the row before these and each is."""
        row = int(np.argmax(early))
        if early[row] > CLOCK:
            by = spoken_time(float(early[row]))
            raise SourceError(
                f"{self._where}: the clock goes back by {by} in row {lines[row - 1] + 1} of the table; export "
                "each part of the recording as a file, or correct its times"
            )
        self._early += int(np.count_nonzero(early))
        self._earliest = max(self._earliest, float(early[row]))

    def _added(self, values: Mapping[str, Floats], steps: Floats, before: Floats | None) -> Floats:
        """Return the charge that each row adds, mAh; nothing in a gap, nor in the first row of a file."""
        if "charge" in values:
            known = values["charge"]
            earlier = known[0] if before is None else self._counted
            self._counted = float(known[-1])
            return np.diff(known, prepend=earlier)
        if "step_charge" in values:
            return values["step_charge"] * (1.0 if before is not None else np.arange(len(steps)) > 0)
        current = values["current"]
        earlier = np.concatenate([current[:1] if before is None else before[2:3], current[:-1]])
        mean = current if self._columns.mean_current else (current + earlier) / 2
        gap = steps > GAP
        self._gaps += int(np.count_nonzero(gap))
        return np.where(gap, 0.0, mean * steps / 3600.0)

    def _refuse_what_begins_again(
        self, values: Mapping[str, Floats], added: Floats, steps: Floats, lines: NDArray[np.int64]
    ) -> None:
        """Raise if a charge falls to nothing without a current: it counts each step of the cell by itself."""
        most = max(float(np.abs(values["charge"] - added).max()), 1e-12)
        moved = np.abs(added)
        if "current" in values:
            current = np.abs(values["current"])
            could = 1.5 * np.maximum(current, np.concatenate([current[:1], current[:-1]])) * steps / 3600.0
        else:
            could = np.full(moved.size, 10 * float(np.median(moved[moved > 0])) if moved.any() else 0.0)
        begins = (np.abs(values["charge"]) <= 1e-3 * most) & (moved > 0.05 * most) & (moved > could) & (steps <= GAP)
        if begins.any():
            way = (
                "leave columns.charge out, for the current tells it"
                if "current" in values
                else "export the current too"
            )
            raise SourceError(
                f"{self._where}: the column {self._columns.charge!r} begins again in row {lines[begins.argmax()] + 1} "
                f"of the table, and is to go on from step to step; {way}"
            )

    def _keep(self, rows: Floats) -> None:
        first = -self._rows % self._every
        self._kept.append(rows[first :: self._every].copy())
        self._rows += len(rows)
        if sum(map(len, self._kept)) > 2 * MOST_ROWS:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._every *= 2

    def _times(self, column: pd.Series) -> Floats:
        if pd.api.types.is_numeric_dtype(column):
            return self._by_one_clock(*self._serial(column)) if self._columns.date else self._number(column)
        if not self._columns.date and pd.to_numeric(column, errors="coerce").notna().mean() > 0.5:
            return self._number(column)
        self._columns = replace(self._columns, date=True, factors={**self._columns.factors, "time": 1.0})
        return self._by_one_clock(*self._parsed(column))

    def _parsed(self, column: pd.Series) -> tuple[Floats, tzinfo | None]:
        """Return dates that are texts as seconds since 1970, and the offset of the first if they have one."""
        parsed = parsed_dates(column.astype(str), self._dates, self._where)
        self._dates, self._doubtful = parsed.dates, self._doubtful or parsed.doubtful
        return parsed.seconds, parsed.zone

    def _by_one_clock(self, seconds: Floats, zone: tzinfo | None) -> Floats:
        """Return the same for all pieces of a file: seconds of UTC, or where its offset is not known of a clock."""
        if zone is None and self._reading.zone is not None:
            seconds, zone = in_utc(seconds, self._reading.zone), self._reading.zone
        if self._last is not None and (zone is None) != (self._zone is None):
            raise SourceError(
                f"{self._where}: some dates have an offset from UTC, and others have none; export the file again"
            )
        self._zone = self._zone or zone
        return seconds

    def _serial(self, column: pd.Series) -> tuple[Floats, tzinfo | None]:
        """Return dates that are numbers, and their zone: days of a spreadsheet, seconds or milliseconds since 1970."""
        numbers = column.to_numpy(np.float64)
        first = float(next(iter(numbers[np.isfinite(numbers)]), np.nan))
        if 20_000 < first < 80_000:
            return np.asarray(np.round((numbers - _SPREADSHEET) * 86_400.0, 3)), None
        for scale in (1.0, 1e3):
            if 3e8 < first / scale < 5e9:
                return np.asarray(numbers / scale), UTC
        raise SourceError(
            f"{self._where}: the column {column.name!r} holds {first}, which is no date; write its unit into the "
            f"heading, such as '{column.name} (s)', or name another under [electrochemistry] columns"
        )

    def _date_of(self, column: pd.Series) -> datetime | None:
        """Return the first date of a column that stands beside the time, or None where it holds none."""
        texts = column.head(1000)
        try:
            numeric = pd.api.types.is_numeric_dtype(texts)
            seconds, zone = self._serial(texts) if numeric else self._parsed(texts)
        except SourceError:
            return None
        return moment(float(seconds[0]), zone) if np.isfinite(seconds[0]) else None

    def _number(self, column: pd.Series) -> Floats:
        if pd.api.types.is_numeric_dtype(column):
            return column.to_numpy(np.float64)
        numbers = pd.to_numeric(column, errors="coerce")
        if numbers.isna().mean() > 0.5:
            raise SourceError(
                f"{self._where}: the column {column.name!r} holds {str(column.iloc[0])[:40]!r}, wanted numbers; name "
                "another under [electrochemistry] columns"
            )
        return numbers.to_numpy(np.float64)


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
