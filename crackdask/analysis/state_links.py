"""Which moment of the cell's record each scan belongs to: by its time, else by voltage and step at the cell's rests.

A wrong link is worse than none: what is not sure is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from math import inf, nan
from typing import Literal, Protocol

import numpy as np

from crackdask.arrays import Floats
from crackdask.clocks import seconds_after, spoken

Direction = Literal["", "charge", "discharge"]
#: A current of less than this share of the largest is none.
_NO_CURRENT = 1e-3
#: Less than this share of the largest charge that the cell held is none.
_NO_CHARGE = 1e-3
#: Rows that are so many times as far apart as usual have a gap between them.
_GAP = 10.0


class Record(Protocol):
    """What links need of a record; :class:`crackdask.sources.cycler.CyclerRecord` is one."""

    @property
    def time(self) -> Floats: ...  # noqa: D102
    @property
    def voltage(self) -> Floats: ...  # noqa: D102
    @property
    def current(self) -> Floats: ...  # noqa: D102
    @property
    def charge(self) -> Floats: ...  # noqa: D102
    @property
    def start(self) -> datetime | None: ...  # noqa: D102


@dataclass(frozen=True)
class Rest:
    """A time without current.

    Attributes
    ----------
    begin, end
        Seconds of the record.
    cut_off, relaxed
        Voltage when the current ended, and at the end of the rest.
    after
        What the cell did before: nothing yet, charge or discharge.
    """

    begin: float
    end: float
    cut_off: float
    relaxed: float
    after: Direction


@dataclass(frozen=True)
class Scanned:
    """What is known of a state: name, nominal voltage, step, and its time if the recipe or the scan's file tells it."""

    name: str
    voltage: float
    step: str
    time: datetime | None = None
    seen: tuple[datetime, datetime] | None = None


@dataclass(frozen=True)
class Link:
    """Where a state lies in the record.

    Attributes
    ----------
    by
        "time" (the recipe's), "metadata" (the scan's), "rest", or nothing where it is not linked.
    reason
        Why, or why not, in words.
    begin, end
        Seconds of the record; NaN without a link.
    voltage
        Measured, V.
    charge
        mAh since the record began.
    """

    by: Literal["", "time", "metadata", "rest"]
    reason: str
    begin: float = nan
    end: float = nan
    voltage: float = nan
    charge: float = nan


@dataclass
class _Sought:
    """A state that is looked for among the rests, and the times between which its neighbours leave room."""

    state: int
    rests: list[int]
    later: float = -inf
    sooner: float = field(default=inf)


def rests(record: Record, shortest: float) -> list[Rest]:
    """Return the times without current: rests, pauses of the record over which no charge went, its beginning, its end.

    Parameters
    ----------
    record
        Of the cell.
    shortest
        Seconds; shorter ones are none. Of the record's beginning and end any will do.
    """
    time, still = record.time, np.abs(record.current) <= _NO_CURRENT * max(float(np.abs(record.current).max()), 1e-12)
    edges = np.flatnonzero(np.diff(still.astype(np.int8), prepend=np.int8(0), append=np.int8(0)))
    runs = [(max(int(first) - 1, 0), int(end) - 1) for first, end in edges.reshape(-1, 2)]
    least = _NO_CHARGE * float(np.ptp(record.charge))
    paused = (np.diff(time) >= max(shortest, 1e-9)) & (np.abs(np.diff(record.charge)) <= least)
    runs += [(int(k), int(k) + 1) for k in np.flatnonzero(paused)]
    runs = [(0, 0), *runs, (time.size - 1, time.size - 1)]
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    ends = time.size - 1
    kept = [(a, b) for a, b in merged if time[b] - time[a] >= shortest or a == 0 or b == ends]
    told: list[Rest] = []
    before = 0
    after: Direction = ""
    for first, last in kept:
        gained = float(record.charge[first] - record.charge[before])
        if abs(gained) > least:  # else a ripple: the cell is where it was
            last_flow = float(record.current[first]) or gained  # not the sum: it may have gone up and down again
            after = "charge" if last_flow > 0 else "discharge"
        voltages = float(record.voltage[first]), float(record.voltage[last])
        told.append(Rest(float(time[first]), float(time[last]), *voltages, after))
        before = last
    return told


def links(
    record: Record, states: Sequence[Scanned], tolerance: float, shortest: float, zone: tzinfo | None = None
) -> list[Link]:
    """Return where each state lies in the record.

    Parameters
    ----------
    record
        Of the cell.
    states
        In electrochemical order.
    tolerance
        V; a state whose voltage differs by more from the cell's is not linked.
    shortest
        Seconds that a rest lasts at least.
    zone
        In which times are meant that are told without an offset from UTC.
    """
    quiet = rests(record, shortest)
    found: list[Link | None] = [_at_its_time(record, quiet, state, tolerance, zone) for state in states]
    sought = [_Sought(k, []) for k, link in enumerate(found) if link is None]
    for each in sought:
        each.later = max((link.begin for link in found[: each.state] if link and link.by), default=-inf)
        each.sooner = min((link.end for link in found[each.state + 1 :] if link and link.by), default=inf)
        each.rests = [
            k
            for k, rest in enumerate(quiet)
            if _may_be(rest, states[each.state], tolerance) and rest.begin >= each.later and rest.end <= each.sooner
        ]
    possible = _in_order([each.rests for each in sought])
    for each, rest_numbers in zip(sought, possible, strict=True):
        found[each.state] = _at_a_rest(record, quiet, states[each.state], each, rest_numbers, tolerance)
    return [link for link in found if link is not None]


def _at_its_time(
    record: Record, quiet: Sequence[Rest], state: Scanned, tolerance: float, zone: tzinfo | None
) -> Link | None:
    """Link a state whose time is known, or tell why not; None where it is not known."""
    seen = (state.time, state.time) if state.time else state.seen
    if seen is None or record.start is None:
        if state.time is None:
            return None
        return Link("", "the files do not tell when they began, so its time leads nowhere; leave `time` out")
    by: Literal["time", "metadata"] = "time" if state.time else "metadata"
    try:
        begin, end = (seconds_after(each, record.start, zone) for each in seen)
    except ValueError as error:
        return None if by == "metadata" else Link("", f"its {_of(by)}, {spoken(seen[0])}, {error}")
    if begin < record.time[0] or end > record.time[-1]:
        outside = f"its {_of(by)}, {spoken(seen[0])}, is not within the record"
        return None if by == "metadata" else Link("", f"{outside}; correct `time`")
    voltage = float(np.interp(begin, record.time, record.voltage))
    if why := _in_a_gap(record, begin, tolerance):
        return Link("", f"its {_of(by)} lies {why}")
    around = [rest for rest in quiet if rest.begin <= begin <= rest.end]
    near = min(
        [voltage, *(v for rest in around for v in (rest.cut_off, rest.relaxed))], key=lambda v: abs(v - state.voltage)
    )
    if abs(near - state.voltage) > tolerance:
        return Link(
            "", f"at its {_of(by)} the cell was at {voltage:.3f} V, not at {state.voltage:g} V; correct one, or "
            "raise tolerance under [electrochemistry]"
        )  # fmt: skip
    charge = float(np.interp(begin, record.time, record.charge))
    return Link(by, f"by its {_of(by)}, {spoken(seen[0])}, at {voltage:.3f} V", begin, end, voltage, charge)


def _in_a_gap(record: Record, moment: float, tolerance: float) -> str:
    """Return why nobody knows the voltage at a moment: the record pauses there, and it was another one afterwards."""
    after = min(max(int(np.searchsorted(record.time, moment)), 1), record.time.size - 1)
    length = float(record.time[after] - record.time[after - 1])
    before, then = float(record.voltage[after - 1]), float(record.voltage[after])
    usual = float(np.median(np.diff(record.time)))
    if record.time[after] == moment or length < _GAP * usual or abs(then - before) <= tolerance:
        return ""
    return (
        f"in a gap of the record of {length / 3600:.1f} h, over which the cell went from {before:.3f} to {then:.3f} V; "
        "add the file in between under [electrochemistry]"
    )


def _of(by: str) -> str:
    return "time in the recipe" if by == "time" else "time in the scan's file"


def _may_be(rest: Rest, state: Scanned, tolerance: float) -> bool:
    """Tell whether a state may have been scanned in a rest."""
    wanted = {"pristine": ("",), "charge": ("charge",), "discharge": ("discharge",)}.get(
        state.step, ("charge", "discharge")
    )
    return rest.after in wanted and min(abs(v - state.voltage) for v in (rest.cut_off, rest.relaxed)) <= tolerance


def _in_order(candidates: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return for each state the rests that it may have while all states that have any come one after the other.

    >>> _in_order([[0], [1, 3], [2], [4, 5], []])
    [[0], [1], [2], [4, 5], []]
    """
    some = [k for k, each in enumerate(candidates) if each]
    first, at_least = {}, -1
    for k in some:
        first[k] = at_least = min((c for c in candidates[k] if c > at_least), default=10**9)
    last, at_most = {}, 10**9
    for k in reversed(some):
        last[k] = at_most = max((c for c in candidates[k] if c < at_most), default=-(10**9))
    return [[c for c in each if first[k] <= c <= last[k]] if each else [] for k, each in enumerate(candidates)]


def _at_a_rest(
    record: Record, quiet: Sequence[Rest], state: Scanned, sought: _Sought, possible: Sequence[int], tolerance: float
) -> Link:
    """Link a state to the one rest that it can have, or tell why there is none or more than one."""
    if len(possible) > 1:
        listed = ", ".join(f"{quiet[k].begin / 3600:.2f} h" for k in possible[:5]) + (
            " ..." if len(possible) > 5 else ""
        )
        return Link("", f"may be any of {len(possible)} rests, at {listed}; give its `time` in the recipe")
    if not possible:
        return Link("", _why_none(record, state, sought, tolerance))
    rest = quiet[possible[0]]
    doing = f"after {rest.after}" if rest.after else "before the first charge"
    near = min((rest.cut_off, rest.relaxed), key=lambda v: abs(v - state.voltage))
    charge = float(np.interp(rest.begin, record.time, record.charge))
    lasted = f"{(rest.end - rest.begin) / 60:.0f} min" if rest.end > rest.begin else "the record's end or beginning"
    reason = f"the only rest {doing} that fits: {near:.3f} V at {rest.begin / 3600:.2f} h ({lasted})"
    return Link("rest", reason, rest.begin, rest.end, near, charge)


def _why_none(record: Record, state: Scanned, sought: _Sought, tolerance: float) -> str:
    low, high = float(record.voltage.min()), float(record.voltage.max())
    if not low - tolerance <= state.voltage <= high + tolerance and not sought.rests:
        return (
            f"the record goes from {low:.3f} to {high:.3f} V and never is at {state.voltage:g} V; is it of this cell?"
        )
    if sought.rests:
        return f"no rest at {state.voltage:g} V fits the order of the states; order them as scanned, or give `time`"
    what = {"pristine": "before the first charge", "aged": "after cycling"}.get(state.step, f"after {state.step}")
    return (
        f"no rest {what} within the tolerance of {state.voltage:g} V; give its `time`, shorten rest_min, or raise "
        "tolerance under [electrochemistry]"
    )
