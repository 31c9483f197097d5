"""What a battery cycler recorded: EC-Lab text (.mpt), CSV of any instrument, .mpr where galvani is there.

Files of any length are read in pieces, and a curve of at most `MOST_ROWS` rows is kept of them; the charge is added up
over all rows before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.lazy_import import Later
from crackdask.sources.base import SourceError, named, refuse_no_file
from crackdask.sources.cycler_columns import Columns, columns_of
from crackdask.sources.cycler_text import EPOCH, Dates, Layout, layout_of, parsed_date, parsed_dates
from crackdask.storage.locations import Place, opened

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
else:  # which every command would wait for
    pd = Later("pandas")

#: Rows of the curve that is kept, at most; twice as many are in memory.
MOST_ROWS = 200_000
_ROWS_AT_ONCE = 200_000
#: No charge is counted between rows further apart than so many seconds: nobody knows what flowed there.
GAP = 3600.0
#: Clocks of computers are set right by as much now and then.
_CLOCK = 1.0
_MISSING = ["XXX", "xxx", "n/a", "nan", "NaN", ""]


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
        Date of the first row in the cycler's own local time; None where the files do not tell.
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
    """

    columns: Mapping[Any, str]
    dates: Dates = "auto"
    positive: str = "charge"


def read_record(paths: Sequence[Place], reading: Reading) -> CyclerRecord:
    """Return what all files recorded, one after the other in time.

    Raises
    ------
    SourceError
        If a file cannot be read, its clock goes back, two files overlap, or their order cannot be told.
    """
    parts = []
    for path in paths:
        refuse_no_file(path)
        with named(str(path)):
            parts.append((str(path), _read_file(path, reading)))
    if len(parts) > 1:
        dated = [part.start is not None for _, part in parts]
        if not all(dated) and any(dated):
            without = next(name for name, part in parts if part.start is None)
            raise SourceError(
                f"{without}: does not tell when it began, as others do; export it with its header or dates"
            )
        if all(dated):
            parts.sort(key=lambda each: each[1].start or datetime.min)
    return _in_a_row(parts)


def _in_a_row(parts: Sequence[tuple[str, CyclerRecord]]) -> CyclerRecord:
    """Join records that follow each other; without dates their own times must go on."""
    (before, whole), *others = parts
    first = whole.start
    columns = {name: [getattr(whole, name)] for name in ("time", "voltage", "current", "charge")}
    for name, part in others:
        ends, charged = float(columns["time"][-1][-1]), float(columns["charge"][-1][-1])
        begins = (part.start - first).total_seconds() if part.start and first else float(part.time[0])
        if begins < ends - _CLOCK:
            raise SourceError(
                f"{name}: begins {_hours(ends - begins)} before {before} ends, so they are not of one cell; leave one "
                "out, or correct the clock"
            )
        columns["time"].append(np.maximum(part.time - part.time[0] + begins, ends))
        columns["voltage"].append(part.voltage)
        columns["current"].append(part.current)
        columns["charge"].append(part.charge + charged)
        before = name
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    joined["time"] = joined["time"] - joined["time"][0]
    notes = tuple(dict.fromkeys(note for _, part in parts for note in part.notes))
    return _thinned(CyclerRecord(**joined, start=first, rows=sum(part.rows for _, part in parts), notes=notes))


def _thinned(record: CyclerRecord) -> CyclerRecord:
    """Return a record of at most `MOST_ROWS` rows, the first and the last among them."""
    step = -(-record.time.size // MOST_ROWS)
    if step == 1:
        return record
    kept = np.unique(np.append(np.arange(0, record.time.size, step), record.time.size - 1))
    columns = {name: getattr(record, name)[kept] for name in ("time", "voltage", "current", "charge")}
    return replace(record, **columns)


def _read_file(path: Place, reading: Reading) -> CyclerRecord:
    if path.suffix.lower() == ".mpr":
        frame, started = _binary(path)
        columns = columns_of(list(frame.columns), str(path), reading.columns)
        return _Curve(str(path), columns, reading).of([frame[columns.read]], started)
    layout = layout_of(path)
    columns = columns_of(layout.headings, str(path), reading.columns)
    curve = _Curve(str(path), columns, reading)
    started, notes = None, []
    if layout.started:
        started, doubtful = parsed_date(layout.started, reading.dates, str(path))
        notes = [_other_way(layout.started)] if doubtful else []
    record = curve.of(_pieces(path, layout, columns), started)
    return replace(record, notes=(*record.notes, *notes))


def _other_way(text: str, month_first: bool = True) -> str:
    way, other = ("month", "day") if month_first else ("day", "month")
    return f'"{text}" was read with the {way} first, and could have the {other} first'


def _pieces(path: Place, layout: Layout, columns: Columns) -> Iterator[pd.DataFrame]:
    """Yield the rows of a text file, piece by piece; only the columns that are wanted."""
    where = [layout.headings.index(name) for name in columns.read]
    with opened(path) as file:
        reader = pd.read_csv(
            file, sep=layout.separator, decimal=layout.decimal, skiprows=layout.skipped + 1, header=None,
            names=list(range(len(layout.headings))), usecols=where, encoding=layout.encoding, encoding_errors="replace",
            na_values=_MISSING, chunksize=_ROWS_AT_ONCE, index_col=False, skip_blank_lines=True, on_bad_lines="skip",
        )  # fmt: skip
        for piece in reader:
            yield piece[where].set_axis(columns.read, axis=1)


def _binary(path: Place) -> tuple[pd.DataFrame, datetime | None]:
    """Return the table of an .mpr file, and when it began."""
    try:
        from galvani import BioLogic
    except ImportError:
        raise SourceError(
            f"{path}: reading .mpr takes galvani, which is not installed: pip install galvani, or export the file as "
            "text (.mpt) in EC-Lab"
        ) from None
    with opened(path) as file:
        found = BioLogic.MPRfile(file)
    return pd.DataFrame(found.data), getattr(found, "timestamp", None)


class _Curve:
    """The curve of one file, made of pieces; of long ones every second, fourth, ... row is kept."""

    def __init__(self, where: str, columns: Columns, reading: Reading) -> None:
        self._where, self._columns, self._reading = where, columns, reading
        self._kept: list[Floats] = []  # rows of time, voltage, current, charge
        self._every = 1
        self._rows = self._lines = self._gaps = 0
        self._last: Floats | None = None
        self._counted = 0.0  # what the column of the charge said last
        self._dates = reading.dates
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
        notes = [_other_way(self._doubtful, self._dates == "month first")] if self._doubtful else []
        if self._gaps:
            notes.append(f"{self._where}: {self._gaps} gaps of over an hour, in which no charge is counted")
        time = rows[:, 0]
        if self._columns.date:
            started = EPOCH + timedelta(seconds=float(time[0]))
        elif started is not None:
            started += timedelta(seconds=float(time[0]))
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
        columns, factors = self._columns, self._columns.factors
        wanted = {"time": columns.time, "voltage": columns.voltage, "current": columns.current,
                  "charge": columns.charge, "step_charge": columns.step_charge}  # fmt: skip
        values = {
            what: (self._times(piece[name]) if what == "time" else self._number(piece[name])) * factors[what]
            for what, name in wanted.items()
            if name
        }
        lines = self._lines + np.arange(len(piece))
        self._lines += len(piece)
        sound = np.all([np.isfinite(column) for column in values.values()], axis=0)
        if not sound.any():
            return
        values, lines = {what: column[sound] for what, column in values.items()}, lines[sound]
        before = self._last
        times = np.concatenate([values["time"][:1] if before is None else before[:1], values["time"]])
        steps = np.diff(times)
        if steps.min() < 0:
            row = int(np.argmin(steps))
            raise SourceError(
                f"{self._where}: the clock goes back by {_hours(-float(steps[row]))} in row {lines[row] + 1} of the "
                "table; export each part of the recording as a file, or correct its times"
            )
        added = self._added(values, steps, before)
        charge = np.cumsum(added) + (0.0 if before is None else before[3])
        current = values.get("current")
        if current is None:
            current = np.divide(added, steps, out=np.zeros_like(added), where=steps > 0) * 3600.0
        rows = np.stack([values["time"], values["voltage"], current, charge], axis=1)
        self._keep(rows)
        self._last = rows[-1]

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

    def _keep(self, rows: Floats) -> None:
        first = -self._rows % self._every
        self._kept.append(rows[first :: self._every].copy())
        self._rows += len(rows)
        if sum(map(len, self._kept)) > 2 * MOST_ROWS:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._every *= 2

    def _times(self, column: pd.Series) -> Floats:
        if pd.api.types.is_numeric_dtype(column):
            return self._number(column)
        if not self._columns.date and pd.to_numeric(column, errors="coerce").notna().mean() > 0.5:
            return self._number(column)
        self._columns = replace(self._columns, date=True, factors={**self._columns.factors, "time": 1.0})
        seconds, self._dates, doubtful = parsed_dates(column.astype(str), self._dates, self._where)
        self._doubtful = self._doubtful or doubtful
        return seconds

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


def _hours(seconds: float) -> str:
    """Return a duration in words.

    >>> _hours(7200), _hours(90), _hours(2.5)
    ('2 h', '1.5 min', '2.5 s')
    """
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
