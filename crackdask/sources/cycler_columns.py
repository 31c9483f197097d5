"""What the columns of a cycler's table are: names and units of many instruments, told apart from their headings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crackdask.sources.base import SourceError

#: What is read, each with the units that it may have, in seconds, V, mA and mAh.
_UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "min": 60.0,
             "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0},
    "voltage": {"v": 1.0, "mv": 1e-3, "volt": 1.0, "volts": 1.0},
    "current": {"a": 1e3, "ma": 1.0, "ua": 1e-3, "µa": 1e-3, "μa": 1e-3, "na": 1e-6, "amp": 1e3, "amps": 1e3,
                "mamps": 1.0},
    "charge": {"ah": 1e3, "a.h": 1e3, "mah": 1.0, "ma.h": 1.0, "uah": 1e-3, "µah": 1e-3, "μah": 1e-3, "c": 1 / 3.6},
}  # fmt: skip
#: Headings, without their units, in the order of preference. EC-Lab's come first: they are never anything else.
_HEADINGS: Mapping[str, Sequence[str]] = {
    "time": (r"(test|total|cumulative|run|elapsed)[ _]?time", r"time[ _]?elapsed", r"time", r"test", r"t"),
    "voltage": (
        r"<?ewe>?",
        r"<?ecell>?",
        r"ewe-ece",
        r"(cell[ _]?)?voltage",
        r"(cell[ _]?)?potential",
        r"volts?",
        r"[uve]",
    ),
    "current": (r"<?i>?", r"current", r"m?amps?", r"cur"),
    "charge": (r"\(q-qo\)",),
    "step_charge": (r"(?-i:dq)",),  # dQ is the sum of a sequence
}  # fmt: skip
_DATES = (r"date([ _]and)?[ _]?time", r"time[ _]?stamp", r"date", r"(absolute|real)[ _]?time", r"dpt[ _]?time")
#: What the cell does in a row.
_STATES = (r"step[ _]?type( ?/ ?1)?", r"state", r"md", r"status", r"command")
_USUAL = {"time": "s", "voltage": "V", "current": "mA", "charge": "mAh"}
#: Units that are a heading by themselves.
_NAMED_AS_UNITS = ("volts", "volt", "amps", "amp", "mamps")
#: Where a heading ends and its unit begins: Voltage(V), Current [mA], Ewe/V, voltage_v, "Voltage, V".
_WITH_UNIT = re.compile(r"^(?P<name>.*?)\s*(?:[(\[{]\s*(?P<a>[^)\]}]+?)\s*[)\]}]|/\s*(?P<b>[^/]+?)|,\s*(?P<c>\S+))>?$")


@dataclass(frozen=True)
class Columns:
    """Headings of the columns that are read, and the factor that takes each to s, V, mA and mAh.

    Attributes
    ----------
    time, voltage
        Headings.
    current, charge, step_charge
        Headings, or None: the current; the charge since the file began; the charge since the row before.
    mode
        Heading of the cycler's mode, of a table that tells no current: in a row at rest there is none.
    state
        Heading of what the cell does beside the current, charge or discharge; None where no current is read.
    began
        Heading of a column of dates beside a time that is none, or None.
    date
        Whether times are dates, not numbers.
    mean_current
        Whether the current is the mean since the row before.
    factors
        By what is read.
    """

    time: str
    voltage: str
    current: str | None
    charge: str | None
    step_charge: str | None
    mode: str | None
    state: str | None
    began: str | None
    date: bool
    mean_current: bool
    factors: Mapping[str, float]

    @property
    def read(self) -> list[str]:
        """Headings of all that is read."""
        wanted = (
            self.time,
            self.voltage,
            self.current,
            self.charge,
            self.step_charge,
            self.mode,
            self.state,
            self.began,
        )
        return [each for each in wanted if each]


def parted(heading: str) -> tuple[str, str]:
    """Return the name and the unit of a heading.

    >>> parted("Ewe/V"), parted("(Q-Qo)/mA.h"), parted("Current [A]"), parted("voltage_mV"), parted("<Ewe/V>")
    (('Ewe', 'V'), ('(Q-Qo)', 'mA.h'), ('Current', 'A'), ('voltage', 'mV'), ('<Ewe', 'V'))
    """
    text = heading.strip().strip("\"'~")
    if text.lower() in _NAMED_AS_UNITS:
        return text, text
    if found := _WITH_UNIT.match(text):
        unit = found["a"] or found["b"] or found["c"] or ""
        if any(unit.lower() in units for units in _UNITS.values()):
            return found["name"].strip(), unit
    name, mark, unit = text.rpartition("_")
    if mark and name and any(unit.lower() in units for units in _UNITS.values()):
        return name, unit
    return text, ""


def columns_of(headings: Sequence[str], where: str, chosen: Mapping[str, str]) -> Columns:
    """Return which columns of a table are read.

    Parameters
    ----------
    headings
        All headings.
    where
        The file, for messages.
    chosen
        Headings that the user named: `time`, `voltage`, `current`, `charge`.

    Raises
    ------
    SourceError
        If there is no time, no voltage, neither current nor charge, or a column's unit is not told.
    """
    found: dict[str, str] = {}
    told: dict[str, str] = {}  # headings with units, where the user told one that the file does not
    for what, heading in chosen.items():
        bare = parted(heading)[0]
        if heading not in headings and bare not in headings:
            raise SourceError(
                f"{where}: [electrochemistry] columns.{what}: no column {heading!r}; there are {_listed(headings)}"
            )
        found[what] = heading if heading in headings else bare
        told[what] = heading
    for what, names in _HEADINGS.items():
        if what not in found and (likely := _first(headings, names)):
            found[what] = likely
    dated = _first(headings, _DATES)
    if dated and ("time" not in found or ("time" not in told and not parted(found["time"])[1])):
        found["time"] = dated
    if "charge" in found or not parted(found.get("step_charge", ""))[1]:
        found.pop("step_charge", None)
    missing = [what for what in ("time", "voltage") if what not in found]
    mode = None
    if not {"current", "charge", "step_charge"} & set(found):
        mode = next((heading for heading in headings if heading == "mode"), None)
        if not mode:
            missing.append("current")
    if missing:
        raise SourceError(
            f"{where}: found no column of {', '.join(missing)} among {_listed(headings)}; name them under "
            '[electrochemistry], such as columns = {time = "Test_Time(s)", voltage = "Voltage(V)", '
            'current = "Current(A)"}'
        )
    if twice := next((heading for heading in found.values() if headings.count(heading) > 1), None):
        raise SourceError(
            f"{where}: {headings.count(twice)} columns are headed {twice!r}; rename those that are others"
        )
    name, unit = parted(told.get("time", found["time"]))
    is_date = any(re.fullmatch(each, name.lower()) for each in _DATES) or ("time" in chosen and not unit)
    headed = {what: told.get(what, heading) for what, heading in found.items() if what != "time" or not is_date}
    factors = {"time": 1.0} | _factors(headed, where)
    current = found.get("current")
    return Columns(
        found["time"], found["voltage"], current, found.get("charge"), found.get("step_charge"), mode,
        _first(headings, _STATES) if current else None, None if is_date else dated, is_date,
        bool(current and current.startswith("<")), factors,
    )  # fmt: skip


def _first(headings: Sequence[str], names: Sequence[str]) -> str | None:
    for name in names:  # in the order of preference
        for heading in headings:
            if re.fullmatch(name, parted(heading)[0], re.IGNORECASE):
                return heading
    return None


def _factors(headed: Mapping[str, str], where: str) -> dict[str, float]:
    """Return what takes each column to the units that are used here; `headed` tells the units of what is read."""
    factors, without = dict[str, float](), dict[str, str]()
    for what, heading in headed.items():
        name, unit = parted(heading)
        units = _UNITS["charge" if what == "step_charge" else what]
        if unit.lower() in units:
            factors[what] = units[unit.lower()]
        else:
            without[what] = name
    if without:
        named, several = ", ".join(repr(headed[what]) for what in without), len(without) > 1
        told = f"columns {named} do not tell their units" if several else f"column {named} does not tell its unit"
        wanted = "; of ".join(f"{what} one of {', '.join(_UNITS[what])}" for what in without)
        way = ", ".join(f'{what} = "{name} ({_USUAL[what]})"' for what, name in without.items())
        name_them = "name them with their units" if several else "name it with its unit"
        raise SourceError(
            f"{where}: the {told}, wanted of {wanted}; {name_them} under [electrochemistry], such as "
            f"columns = {{{way}}}"
        )
    return factors


def _listed(headings: Sequence[str]) -> str:
    shown = ", ".join(repr(heading[:40]) for heading in headings[:20])
    return shown + (f" and {len(headings) - 20} more" if len(headings) > 20 else "")
