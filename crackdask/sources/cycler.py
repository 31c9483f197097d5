"""What a battery cycler recorded: EC-Lab text (.mpt), CSV of any instrument, .mpr where galvani is there.

Files of any length are read in pieces, and a curve of at most `MOST_ROWS` rows is kept of them; the charge is added up
over all rows before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from crackdask.clocks import spoken
from crackdask.sources.base import SourceError, named, refuse_no_file
from crackdask.sources.cycler_columns import columns_of
from crackdask.sources.cycler_curve import CLOCK, MOST_ROWS, Curve
from crackdask.sources.cycler_dates import header_date
from crackdask.sources.cycler_record import CyclerRecord, Reading, spoken_time
from crackdask.sources.cycler_rows import binary_rows, text_rows
from crackdask.sources.cycler_text import layout_of
from crackdask.storage.locations import Place

__all__ = ["CyclerRecord", "Reading", "read_record"]


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
        if len({part.start.tzinfo is None for _, part in parts if part.start}) > 1:
            name, told = next((name, part.start) for name, part in parts if part.start and part.start.tzinfo is None)
            raise SourceError(
                f"{name}: began at {spoken(told)} without an offset from UTC, and others tell one: say which zone its "
                'clock is in, such as zone = "Europe/Zurich" under [electrochemistry]'
            )
        if all(dated):  # files of techniques that a cycler went through again and again lie between each other
            parts = [(name, each) for name, part in parts for each in part.in_loops()]
            parts.sort(key=lambda each: (each[1].start or datetime.min) + timedelta(seconds=float(each[1].time[0])))
    return _in_a_row(parts)


def _in_a_row(parts: Sequence[tuple[str, CyclerRecord]]) -> CyclerRecord:
    """Join records that follow each other; without dates their own times must go on."""
    (before, whole), *others = parts
    first = whole.start
    columns = {name: [getattr(whole, name)] for name in ("time", "voltage", "current", "charge")}
    for name, part in others:
        ends, charged = float(columns["time"][-1][-1]), float(columns["charge"][-1][-1])
        begins = float(part.time[0]) + ((part.start - first).total_seconds() if part.start and first else 0.0)
        if begins < ends - CLOCK:
            raise SourceError(
                f"{name}: begins {spoken_time(ends - begins)} before {before} ends, so they are not of one cell; leave "
                "one out, or correct the clock"
            )
        columns["time"].append(np.maximum(part.time - part.time[0] + begins, ends))
        columns["voltage"].append(part.voltage)
        columns["current"].append(part.current)
        columns["charge"].append(part.charge + charged)
        before = name
    time, voltage, current, charge = (np.concatenate(values) for values in columns.values())
    notes = tuple(dict.fromkeys(note for _, part in parts for note in part.notes))
    rows = sum(part.rows for _, part in parts)
    return _thinned(CyclerRecord(time - time[0], voltage, current, charge, first, rows, notes))


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
        frame, started, loops = binary_rows(path)
        columns = columns_of(list(frame.columns), str(path), reading.columns)
        return Curve(str(path), columns, reading, loops).of([frame[columns.read]], started)
    layout = layout_of(path)
    columns = columns_of(layout.headings, str(path), reading.columns)
    started = None
    if layout.started:
        started, dates = header_date(layout, reading.dates, str(path))
        reading = replace(reading, dates=dates)
    return Curve(str(path), columns, reading, layout.loops).of(text_rows(path, layout, columns.read), started)
