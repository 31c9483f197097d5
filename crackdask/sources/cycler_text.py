"""How a cycler's text file is written: encoding, lines before the table, separator, decimal mark, dates."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Literal

import numpy as np

from crackdask.clocks import fixed, on_clock, zone_of
from crackdask.lazy_import import Later
from crackdask.sources.base import SourceError
from crackdask.storage.locations import Place, opened

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
else:  # which every command would wait for
    pd = Later("pandas")

Dates = Literal["auto", "month first", "day first"]
#: Of dates without an offset from UTC, those of the cycler's own clock.
_EPOCH = datetime(1970, 1, 1)
#: Bytes at the beginning of a file, and how many at most where its header says that it is longer.
_LOOKED_AT, _LONGEST_HEADER = 2**18, 2**26
_ROWS = 60  # of the table, from which it is told how numbers are written
_STARTED = re.compile(r"acquisition started on\s*:\s*(.+)", re.IGNORECASE)
_LOOP = re.compile(r"loop \d+ from point number (\d+)", re.IGNORECASE)
_HEADER_LINES = re.compile(r"nb header lines\s*:\s*(\d+)", re.IGNORECASE)
_DATE = re.compile(
    r"^(\d{1,4})[/.-](\d{1,2})[/.-](\d{1,4})[ T]+(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?\s*([AP]M)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?$",
    re.I,
)


@dataclass(frozen=True)
class Layout:
    """How a text file is written.

    Attributes
    ----------
    encoding, separator, decimal
        As pandas takes them.
    skipped
        Lines before the headings.
    headings
        Of the columns.
    started
        When the recording began, as it is written there; nothing where it is not.
    loops
        Rows with which a loop over several techniques begins.
    """

    encoding: str
    separator: str
    decimal: str
    skipped: int
    headings: tuple[str, ...]
    started: str = ""
    loops: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """Dates of a column.

    Attributes
    ----------
    seconds
        Since 1970: of UTC where dates have an offset from it, else of the clock that told them; NaN of what is no date.
    dates
        How they were read.
    doubtful
        One that may be the other way round, or nothing.
    zone
        Offset of the first, or None where they have none.
    """

    seconds: NDArray[np.float64]
    dates: Dates
    doubtful: str
    zone: tzinfo | None


def moment(seconds: float, zone: tzinfo | None) -> datetime:
    """Return the date of seconds since 1970: of UTC where a zone to show it in is given, else of any clock.

    >>> moment(60.0, None).isoformat(), moment(60.0, UTC).isoformat()
    ('1970-01-01T00:01:00', '1970-01-01T00:01:00+00:00')
    """
    if zone is None:
        return _EPOCH + timedelta(seconds=seconds)
    return fixed((_EPOCH.replace(tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(zone))


def in_utc(seconds: NDArray[np.float64], zone: tzinfo) -> NDArray[np.float64]:
    """Return seconds of UTC from those of the clocks of a zone, in order; NaN where clocks are set and nothing tells.

    >>> in_utc(np.array([3600.0, np.nan]), timezone(timedelta(hours=1))).tolist()
    [0.0, nan]
    """
    told = pd.Series(pd.to_datetime(seconds, unit="s"))
    first, second = (_localised(told, zone, np.full(seconds.size, summer)) for summer in (True, False))
    twice = first < second
    edges = np.flatnonzero(np.diff(twice, prepend=False, append=False)).reshape(-1, 2)
    for begin, end in edges:  # the hours in which clocks were set back: where they show less, the second one began
        back = np.flatnonzero(np.diff(seconds[begin:end]) < 0) + 1
        if back.size:
            first[begin + back[0] : end] = second[begin + back[0] : end]
        else:
            first[begin:end] = np.nan
    return first


def _localised(told: pd.Series[pd.Timestamp], zone: tzinfo, summer: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return seconds of UTC; `summer` tells for each row which of two hours of the same name is meant."""
    known = told.dt.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
    return np.array((known - pd.Timestamp(_EPOCH, tz="UTC")) / pd.Timedelta(seconds=1), np.float64)


def layout_of(path: Place) -> Layout:
    """Return how a text file is written, from its first lines.

    Raises
    ------
    SourceError
        If it is empty or no table of numbers.
    """
    with opened(path) as file:
        head = file.read(_LOOKED_AT)
        if found := _HEADER_LINES.search(head[:4096].decode("latin-1")):
            while head.count(b"\n") < int(found[1]) + _ROWS and len(head) < _LONGEST_HEADER:
                if not (more := file.read(_LOOKED_AT)):
                    break
                head += more
    if not head.strip():
        raise SourceError(f"{path}: the file is empty; copy it again from the cycler")
    if b"\0" in head[:4096] and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(
            f"{path}: not a text file; export it as text (.mpt or .csv), or give the .mpr under that name"
        )
    encoding = _encoding(head)
    lines = head.decode(encoding, errors="replace").splitlines()
    if len(head) % _LOOKED_AT == 0 and len(lines) > 1:
        lines.pop()  # cut in the middle
    started = next((found[1].strip() for line in lines[:200] if (found := _STARTED.search(line))), "")
    told = next((int(found[1]) for line in lines[:5] if (found := _HEADER_LINES.search(line))), 0)
    at = told - 1 if told else _headings_at(lines)
    if not 0 <= at < len(lines):
        raise SourceError(f"{path}: found no table of numbers under a line of headings; export it again, with headings")
    rows = [line for line in lines[at + 1 : at + _ROWS] if line.strip()]
    separator = _separator(lines[at])
    headings = next(csv.reader([lines[at]], delimiter=separator))
    _refuse_wider(rows, separator, len(headings), path)
    while headings and not headings[-1].strip():  # a separator at the end of each line
        headings.pop()
    if not rows:
        raise SourceError(f"{path}: the table has headings and no row; copy it again, or leave it out")
    loops = tuple(int(found[1]) for line in lines[:at] if (found := _LOOP.match(line.strip())))
    named = tuple(each.strip() for each in headings)
    return Layout(encoding, separator, _decimal(rows, separator), at, named, started, loops)


def _refuse_wider(rows: Sequence[str], separator: str, columns: int, path: Place) -> None:
    """Raise if rows have more cells than there are headings: nobody knows which number stands under which."""
    cells = [len(row) - next((n for n, cell in enumerate(reversed(row)) if cell.strip()), len(row))
             for row in csv.reader(rows, delimiter=separator)]  # fmt: skip
    if sum(count > columns for count in cells) > len(cells) / 2:
        marks = " (decimal commas, where commas part the cells?)" if separator == "," else ""
        raise SourceError(
            f"{path}: {max(cells)} cells in rows under {columns} headings{marks}; export it with decimal points, or "
            "with semicolons or tabs between cells"
        )


def _encoding(head: bytes) -> str:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _numbers(line: str, separator: str) -> int:
    """Return how many cells of a line are numbers, with either decimal mark, or dates."""
    cells = next(csv.reader([line], delimiter=separator), [])
    return sum(bool(re.fullmatch(r"\s*[-+]?[\d.,]*\d[\d.,]*([eE][-+]?\d+)?\s*", cell)) for cell in cells)


def _headings_at(lines: Sequence[str]) -> int:
    """Return the first line that is no numbers and has numbers below it, as many cells as it has itself."""
    for at, line in enumerate(lines[:-1]):
        separator = _separator(line)
        cells = len(next(csv.reader([line], delimiter=separator), []))
        below = next((other for other in lines[at + 1 : at + 4] if other.strip()), "")
        wide = len(next(csv.reader([below], delimiter=separator), []))
        if cells > 1 and not _numbers(line, separator) and wide >= cells - 1 and _numbers(below, separator) >= 2:
            return at
    return -1


def _separator(heading: str) -> str:
    """Return what parts the headings: a tab, a semicolon, or a comma."""
    return next((mark for mark in "\t;" if mark in heading), ",")


def _decimal(rows: Sequence[str], separator: str) -> str:
    """Return the decimal mark: a comma where cells have one and no cell that is a number has a point."""
    cells = [cell.strip() for row in csv.reader(rows, delimiter=separator) for cell in row]
    commas = sum(bool(re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-+]?\d*\.\d+([eE][-+]?\d+)?", cell)) for cell in cells)
    return "," if commas > points else "."


def parsed_date(text: str, dates: Dates, where: str) -> tuple[datetime, bool]:
    """Return a date and whether day and month could be the other way round.

    >>> parsed_date("10/23/2021 11:04:06.5", "auto", "")
    (datetime.datetime(2021, 10, 23, 11, 4, 6, 500000), False)
    >>> parsed_date("03/04/2021 11:04:06", "day first", "")
    (datetime.datetime(2021, 4, 3, 11, 4, 6), False)
    >>> parsed_date("2021-04-03T11:04:06", "auto", "")
    (datetime.datetime(2021, 4, 3, 11, 4, 6), False)
    >>> parsed_date("2021-04-03T11:04:06Z", "auto", "")[0].isoformat()
    '2021-04-03T11:04:06+00:00'
    """
    parsed = parsed_dates(pd.Series([text]), dates, where)
    return moment(float(parsed.seconds[0]), parsed.zone), bool(parsed.doubtful)


def header_date(text: str, dates: Dates, where: str) -> tuple[datetime, Dates]:
    """Return when EC-Lab says that a recording began, and how its dates are read.

    EC-Lab writes the month first, whatever the language and whatever stands between, as its binary files of the same
    recordings tell; where that is no date, it is read as others are.

    >>> header_date("12.08.2022 14:36:53", "auto", "")
    (datetime.datetime(2022, 12, 8, 14, 36, 53), 'month first')
    >>> header_date("25.12.2022 14:36:53", "auto", "")
    (datetime.datetime(2022, 12, 25, 14, 36, 53), 'auto')
    """
    if dates == "auto":
        try:
            return parsed_date(text, "month first", where)[0], "month first"
        except SourceError:
            pass
    return parsed_date(text, dates, where)[0], dates


def parsed_dates(texts: pd.Series[str], dates: Dates, where: str) -> Parsed:
    """Return a column of dates.

    Where the user does not say so, dates with points have the day first, and others are read so that there is no month
    over 12 and that they lie close together. What is no date is NaN.

    Raises
    ------
    SourceError
        If none of them is a date, or only some have an offset from UTC.
    """
    parts = texts.str.strip().str.extract(_DATE)
    sound = parts[0].notna()
    if not sound.any():
        raise SourceError(f"{where}: {str(texts.iloc[0])[:40]!r} is no date, wanted one such as 2021-10-23 11:04:06")
    year_first = bool(parts[0].str.len().eq(4).any())
    points = bool(texts[sound].str.split().str[0].str.contains(".", regex=False).any())
    ways: tuple[Dates, ...] = ("month first",) if year_first else ("month first", "day first")
    if not year_first and dates != "auto":
        ways = (dates,)
    elif not year_first and points:
        ways = ("day first",)
    read = [(way, _moments(parts, way, year_first)) for way in ways]
    able = [(way, moments) for way, moments in read if not bool((moments.isna() & sound).any())]
    if not able:
        other = str(texts[read[0][1].isna() & sound].iloc[0])[:40]
        raise SourceError(
            f"{where}: {other!r} is no date with the {ways[0]}, as others are read; set dates to "
            '"day first" or "month first" under [electrochemistry]'
        )
    # Of two ways the one in which the rows lie closer together: the other makes months of days.
    way, moments = min(able, key=lambda each: (each[1].max() - each[1].min(), each[0] != "month first"))
    doubtful = len(able) == 2 and bool((able[0][1] != able[1][1])[sound].any())
    fraction = pd.to_numeric("0." + parts[6].fillna("0"))
    zone, ahead = _offsets(parts[8][sound], where)
    seconds = ((moments - _EPOCH).dt.total_seconds() + fraction - ahead.reindex(parts.index)).to_numpy(np.float64)
    shown = str(texts[sound].iloc[0]) if doubtful else ""
    return Parsed(seconds, way if not year_first else dates, shown, zone)


def _offsets(told: pd.Series[str], where: str) -> tuple[tzinfo | None, pd.Series[float]]:
    """Return the zone of the first date, if they have any, and by how many seconds each is ahead of UTC."""
    with_one = told.notna()
    if not with_one.any():
        return None, pd.Series(0.0, told.index)
    if not with_one.all():
        raise SourceError(
            f"{where}: some dates have an offset from UTC, such as {told[with_one].iloc[0]!r}, and others have none; "
            "export the file again"
        )
    try:
        ahead = {text: on_clock(_EPOCH, zone_of(text.upper())).utcoffset() or timedelta() for text in told.unique()}
    except ValueError as error:
        raise SourceError(f"{where}: {error}") from None
    return timezone(ahead[told.iloc[0]]), told.map({text: apart.total_seconds() for text, apart in ahead.items()})


def _moments(parts: pd.DataFrame, way: Dates, year_first: bool) -> pd.Series[pd.Timestamp]:
    """Return dates of whole seconds, read with the day or the month first; what is none is missing."""
    first, second, third = (pd.to_numeric(parts[k]) for k in range(3))
    month, day = (first, second) if way == "month first" else (second, first)
    year = third.where(third >= 100, third + 2000)
    if year_first:
        year, month, day = first, second, third
    half, hour = parts[7].str.upper(), pd.to_numeric(parts[3])
    hour = hour.where(half.isna(), hour % 12 + 12 * half.eq("PM"))
    fields = {"year": year, "month": month, "day": day, "hour": hour}
    fields |= {"minute": pd.to_numeric(parts[4]), "second": pd.to_numeric(parts[5])}
    return pd.to_datetime(pd.DataFrame(fields), errors="coerce")
