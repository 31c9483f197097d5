"""The curve that one file of a cycler's tells: charge added up over all rows; of a long one every second, ... row.

What would be wrong in silence is refused: clocks that go back, charges that begin again, numbers that are no dates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import numpy as np

from crackdask.arrays import Floats, Integers
from crackdask.clocks import on_clock
from crackdask.lazy_import import Later
from crackdask.sources.base import SourceError
from crackdask.sources.cycler_charge import ChargeCount
from crackdask.sources.cycler_columns import Columns
from crackdask.sources.cycler_dates import in_utc, moment, parsed_dates
from crackdask.sources.cycler_record import CyclerRecord, Reading, other_way, spoken_time
from crackdask.sources.cycler_states import StatedSigns

if TYPE_CHECKING:
    import pandas as pd
else:  # which every command would wait for
    pd = Later("pandas")

#: Rows of the curve that is kept, at most; twice as many are in memory.
MOST_ROWS = 200_000
#: Clocks are set right by as many seconds now and then, and their ticks jitter.
CLOCK = 1.0
#: 1970 in the days that a spreadsheet counts.
_SPREADSHEET = 25_569
#: No cell has as many V: the numbers are mV.
_MOST_VOLT = 100.0
#: The mode of EC-Lab's rows in which no current flows.
_REST = 3


class Curve:
    """The curve of one file, made of pieces; of long ones every second, fourth, ... row is kept."""

    def __init__(self, where: str, columns: Columns, reading: Reading, loops: Sequence[int] = ()) -> None:
        self._where, self._columns, self._reading = where, columns, reading
        self._loops = np.array([row for row in loops if row > 0], np.int64)  # rows with which they begin
        self._loop, self._loop_times = 0, list[float]()
        self._charge = ChargeCount(
            columns.charge, chosen="charge" in reading.columns, mean_current=columns.mean_current
        )
        self._signs = StatedSigns(columns.state, mean_current=columns.mean_current) if columns.state else None
        self._kept: list[Floats] = []  # rows of time, voltage, current, charge, and the last two as states tell signs
        self._every = 1
        self._rows = self._lines = self._unsound = self._early = 0
        self._earliest = 0.0  # by how many seconds a row is before one above it
        self._began: datetime | None = None
        self._last: Floats | None = None
        self._dates = reading.dates
        self._zone: tzinfo | None = None  # of dates that are seconds of UTC, in which the first of them was told
        self._doubtful = ""
        self._notes: list[str] = []

    def of(self, pieces: Iterator[pd.DataFrame] | Sequence[pd.DataFrame], started: datetime | None) -> CyclerRecord:
        """Return the record of all pieces; `started` is what the file's header tells."""
        for piece in pieces:
            self._add(piece)
        if self._last is None:
            raise SourceError(f"{self._where}: no row has a time, a voltage and a current; export it again")
        rows = np.concatenate(self._kept)
        if (highest := float(np.abs(rows[:, 1]).max())) > _MOST_VOLT:
            name = self._columns.voltage
            raise SourceError(
                f"{self._where}: the column {name!r} reaches {highest:.5g} V, which no cell has; name it with its unit "
                f'under [electrochemistry], such as columns = {{voltage = "{name} (mV)"}}'
            )
        if (self._rows - 1) % self._every:
            rows = np.concatenate([rows, self._last[None]])
        if self._doubtful:
            self._notes.append(other_way(self._doubtful, self._dates == "month first"))
        if self._unsound:
            self._notes.append(f"{self._where}: {self._unsound} rows without a number were left out")
        if self._early:
            most = spoken_time(self._earliest)
            self._notes.append(
                f"{self._where}: the clock goes back before {self._early} rows, by {most} at most; they count as taken "
                "at the time before"
            )
        if self._charge.gaps:
            self._notes.append(
                f"{self._where}: {self._charge.gaps} gaps of over an hour, in which no charge is counted"
            )
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
        current, charge = self._signed(rows)
        zero = 0.0 if started is None else time[0]  # files without dates go on by their own times
        return CyclerRecord(
            time - zero,
            rows[:, 1],
            current,
            charge - charge[0],
            started,
            self._rows,
            tuple(self._notes),
            tuple(time - zero for time in self._loop_times),
        )

    def _signed(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return current and charge, positive on charge: as the recipe says, or the states where signs are missing."""
        try:
            without = self._signs is not None and self._signs.without_sign(self._reading.positive)
        except SourceError as error:
            raise SourceError(f"{self._where}: {error}") from None
        if without and self._columns.charge:
            raise SourceError(
                f"{self._where}: the current has no sign, and so the charge {self._columns.charge!r} has none; leave "
                "columns.charge out"
            )
        if without:
            self._notes.append(
                f"{self._where}: the current has no sign; {self._columns.state!r} tells what is discharge"
            )
            return rows[:, 4], rows[:, 5]
        sign = 1.0 if self._reading.positive == "charge" else -1.0
        return sign * rows[:, 2], sign * rows[:, 3]

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
        if columns.mode:
            values["current"] = self._at_rest(piece[columns.mode])
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
        loop = np.searchsorted(self._loops, lines, side="right")
        begins = np.diff(loop, prepend=self._loop) > 0
        self._loop = int(loop[-1])
        self._loop_times += values["time"][begins].tolist()
        try:
            added = self._charge.added(values, steps, begins, lines)
        except SourceError as error:
            raise SourceError(f"{self._where}: {error}") from None
        charge = np.cumsum(added) + (0.0 if before is None else before[3])
        current = values.get("current")
        if current is None:
            current = np.divide(added, steps, out=np.zeros_like(added), where=steps > 0) * 3600.0
        rows = np.stack([values["time"], values["voltage"], current, charge], axis=1)
        if self._signs:
            told = self._signs.columns(piece[columns.state][sound], current, steps, begins, lines)
            rows = np.concatenate([rows, told], axis=1)
        self._keep(rows)
        self._last = rows[-1]

    def _at_rest(self, modes: pd.Series) -> Floats:
        """Return no current for rows at rest, or raise if others are among them: what flowed there is not told."""
        numbers = self._number(modes)
        others = np.isfinite(numbers) & (numbers != _REST)
        if others.any():
            raise SourceError(
                f"{self._where}: has no column of the current, and its row {self._lines + int(others.argmax()) + 1} is "
                "none at rest; export the current too"
            )
        return np.where(np.isfinite(numbers), 0.0, np.nan)

    def _refuse_other_time(self, early: Floats, lines: Integers) -> None:
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
