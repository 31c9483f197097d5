"""Dates in a cycler's files: day or month first, of a clock or with an offset from UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Literal

import numpy as np

from crackdask.clocks import fixed, on_clock, zone_of
from crackdask.lazy_import import Later
from crackdask.sources.base import SourceError
from crackdask.sources.cycler_text import Layout

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
else:  # which every command would wait for
    pd = Later("pandas")

Dates = Literal["auto", "month first", "day first"]
#: Of dates without an offset from UTC, those of the cycler's own clock.
_EPOCH = datetime(1970, 1, 1)
_DATE = re.compile(
    r"^(\d{1,4})[/.-](\d{1,2})[/.-](\d{1,4})[ T]+(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?\s*([AP]M)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?$",
    re.I,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAMED = re.compile(rf"^(\d{{1,2}})[ -]({'|'.join(_MONTHS)})[a-z]*[ -](\d{{4}}|\d{{2}})\b", re.I)


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


def parsed_dates(texts: pd.Series[str], dates: Dates, where: str) -> Parsed:
    """Return a column of dates.

    Where the user does not say so, dates with points have the day first, and others are read so that there is no month
    over 12 and that they lie close together. What is no date is NaN.

    Raises
    ------
    SourceError
        If none of them is a date, or only some have an offset from UTC.
    """
    parts = texts.str.strip().str.replace(_MONTH_NAMED, _in_numbers, regex=True).str.extract(_DATE)
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


def _in_numbers(found: re.Match[str]) -> str:
    """Return a date with the year first, as 2023-11-28, from one whose month has a name."""
    day, name, year = found.groups()
    month = _MONTHS.index(name.lower()) + 1
    return f"{year if len(year) == 4 else f'20{year}'}-{month:02d}-{int(day):02d}"


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


def header_date(layout: Layout, dates: Dates, where: str) -> tuple[datetime, Dates]:
    """Return when a file's header says that a recording began, and how its dates are read.

    EC-Lab writes the month first, whatever the language and whatever stands between, as its binary files of the same
    recordings tell; where that is no date, it is read as others are.
    """
    if dates == "auto" and layout.by_ec_lab:
        try:
            return parsed_date(layout.started, "month first", where)[0], "month first"
        except SourceError:
            pass
    return parsed_date(layout.started, dates, where)[0], dates
