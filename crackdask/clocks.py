"""Clocks: times that are told with their offset from UTC, times that are not, and the zone that those are meant in.

A time with an offset and one without are never compared unless the zone of the one without is known: two machines that
stand side by side may be hours apart on paper.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")


def zone_of(name: str | None) -> tzinfo | None:
    """Return the zone of a name: "Europe/Zurich", "+02:00" or "UTC"; None of none.

    >>> zone_of("+02:00"), zone_of("Z"), zone_of(None)
    (datetime.timezone(datetime.timedelta(seconds=7200)), datetime.timezone.utc, None)

    Raises
    ------
    ValueError
        If there is no such zone.
    """
    if name is None:
        return None
    if name in ("UTC", "Z"):
        return UTC
    try:
        if found := _OFFSET.fullmatch(name):
            apart = timedelta(hours=int(found[2]), minutes=int(found[3]))
            return timezone(-apart if found[1] == "-" else apart)
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(
            f"no time zone {name[:60]!r} is known here, wanted one such as 'Europe/Zurich', '+02:00' or 'UTC'"
        ) from None


def on_clock(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return a time with its offset, if it is told without one and its zone is known.

    >>> on_clock(datetime(2026, 3, 14, 9), zone_of("+01:00")).isoformat()
    '2026-03-14T09:00:00+01:00'
    >>> on_clock(datetime(2026, 3, 14, 9), None).isoformat()
    '2026-03-14T09:00:00'

    Raises
    ------
    ValueError
        If clocks are set then, so that there are two such times, or none.
    """
    if moment.tzinfo is not None:
        return fixed(moment)
    if zone is None:
        return moment
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise ValueError(
            f"{spoken(moment)} comes twice or never by the clocks of {zone}, which are set then; write it with its "
            f"offset from UTC, such as {first.isoformat()}"
        )
    return fixed(first)


def fixed(moment: datetime) -> datetime:
    """Return a time with its offset and no rule for others: of two times with one rule, Python takes what clocks show.

    >>> fixed(datetime(2026, 3, 14, 9, tzinfo=ZoneInfo("Europe/Zurich"))).tzinfo
    datetime.timezone(datetime.timedelta(seconds=3600))
    """
    offset = moment.utcoffset()
    return moment if offset is None else moment.replace(tzinfo=timezone(offset), fold=0)


def seconds_after(moment: datetime, start: datetime, zone: tzinfo | None) -> float:
    """Return the seconds from one time to another.

    >>> seconds_after(datetime(2026, 3, 14, 9, tzinfo=UTC), datetime(2026, 3, 14, 9), zone_of("+01:00"))
    3600.0

    Raises
    ------
    ValueError
        If one is told with its offset from UTC and the other is not, and no zone is given for that.
    """
    moment, start = on_clock(moment, zone), on_clock(start, zone)
    if (moment.tzinfo is None) != (start.tzinfo is None):
        told, other = ("has an", "has none") if moment.tzinfo else ("has no", "has one")
        raise ValueError(
            f"{told} offset from UTC, and the cycler's clock {other}: say which zone times without an offset are "
            'meant in, such as zone = "Europe/Zurich" under [electrochemistry]'
        )
    return (moment - start).total_seconds()


def spoken(moment: datetime) -> str:
    """Return a time as it is written for people, to the minute.

    >>> spoken(datetime(2026, 3, 14, 9)), spoken(datetime(2026, 3, 14, 9, tzinfo=UTC))
    ('2026-03-14 09:00', '2026-03-14 09:00+00:00')
    """
    return moment.isoformat(" ", "minutes")


def spoken_of(written: str) -> str:
    """Return the same of a time as a store has it written, or nothing of nothing.

    >>> spoken_of("2026-03-14T09:00:07.250000+01:00"), spoken_of("")
    ('2026-03-14 09:00+01:00', '')
    """
    return spoken(datetime.fromisoformat(written)) if written else ""
