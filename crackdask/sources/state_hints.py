"""What names of files, and what NeXus tells of its sample, say of the electrochemical state of a scan."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h5py  # type: ignore[import-untyped, unused-ignore]

from crackdask.sources.base import Source, SourceError
from crackdask.sources.hdf5 import HDF5, groups_around, hdf5_file, text_of
from crackdask.sources.scan_times import scan_times
from crackdask.storage.locations import place

#: 4.2V, 4.2 V, 4_2V, 4p2V, 4V2, 4200mV; not the V of a version (v2) or of a word, nor the 3 of scan3_4V.
_VOLTAGE = re.compile(
    r"(?<![\d.])(?:(?P<mv>\d{3,4})[ _]?mV|(?P<int>\d)V(?P<frac>\d{1,2})|(?P<a>\d)[ _]?V"
    r"|(?P<c>\d)[.,p](?P<d>\d{1,3})[ _]?V|(?<![a-z])(?P<e>\d)_(?P<f>\d{1,3})[ _]?V)(?![a-z\d])",
    re.IGNORECASE,
)
_WORDS = {
    "pristine": ("pristine", "fresh", "uncycled"),
    "discharge": ("dc", "dch", "dchg", "disch", "discharge", "discharged", "discharging", "lithiated"),
    "charge": ("c", "cc", "ch", "chg", "charge", "charged", "charging", "delithiated"),
    "aged": ("aged", "cycled", "ageing", "aging"),
}
#: Letters in a row; a single one beside a digit is a unit or a rate (25C, C/20).
_WORD = re.compile(r"[a-z]{2,}|(?<![\d.])[a-z](?![ _/-]?\d)", re.IGNORECASE)
#: cycle 2, cyc02 count before 10 cycles, 100cyc: the 3 of scan3_cycle2 is of the scan.
_CYCLE = re.compile(r"(?:cycle|cyc)[ _-]?(\d+)", re.IGNORECASE)
_CYCLES = re.compile(r"(?<![a-z\d])(\d+)[ _-]?(?:cycles?|cyc)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Hint:
    """A value and where it stands."""

    value: Any
    origin: str


def hints_of_name(name: str, origin: str = "from the name") -> dict[str, Hint]:
    """Return what a name tells: `voltage` (V), `step`, `cycle`; only what is there.

    >>> {key: hint.value for key, hint in hints_of_name("4.2V_DC").items()}
    {'voltage': 4.2, 'step': 'discharge'}
    >>> {key: hint.value for key, hint in hints_of_name("scan3_2500mV_aged_10cycles").items()}
    {'voltage': 2.5, 'step': 'aged', 'cycle': 10}
    >>> hints_of_name("scan_v2_rec"), hints_of_name("pristine")["step"].value
    ({}, 'pristine')
    """
    told: dict[str, Hint] = {}
    voltages = {_volts(found) for found in _VOLTAGE.finditer(name)}
    if len(voltages) == 1:
        told["voltage"] = Hint(voltages.pop(), origin)
    words = [word.lower() for word in _WORD.findall(name)]
    steps = {step for step, known in _WORDS.items() if any(word in known for word in words)}
    which, many = _CYCLE.search(name), _CYCLES.search(name)
    if "aged" in steps or (many and not which):
        steps = {"aged"} if steps <= {"aged", "charge", "discharge"} else steps
    if (
        not steps and "ocv" in words and "voltage" not in told
    ):  # before anything was done; later a rest is called so too
        steps = {"pristine"}
    if len(steps) == 1:
        told["step"] = Hint(steps.pop(), origin)
    if found := which or many:
        told["cycle"] = Hint(int(found[1]), origin)
    return told


def _volts(found: re.Match[str]) -> float:
    if found["mv"]:
        return int(found["mv"]) / 1000
    whole = found["int"] or found["a"] or found["c"] or found["e"]
    return float(f"{whole}.{found['frac'] or found['d'] or found['f'] or '0'}")


def state_hints(source: Source, name: str) -> dict[str, Hint]:
    """Return what a scan tells of its state: `voltage`, `step`, `cycle`, `time`, each with where it stands.

    What the file says of its sample counts more than its name.
    """
    told = hints_of_name(name)
    with suppress(SourceError, OSError, ValueError, KeyError, TypeError):
        told |= _of_sample(source)
    if times := scan_times(source):
        told["time"] = Hint(times[0].replace(microsecond=0), "from the file: when the scan began")
    return told


def _of_sample(source: Source) -> dict[str, Hint]:
    """Read the sample of a NeXus file: a number `voltage`, and its name and description."""
    path = place(source.location)
    if path.suffix.lower() not in HDF5:
        return {}
    told: dict[str, Hint] = {}
    with hdf5_file(path) as file:
        for entry in (path.strip("/") for path in groups_around(file, source.inner)):
            group = file.get(f"{entry}/sample")
            if not isinstance(group, h5py.Group):
                continue
            for field in ("description", "name"):
                if isinstance(group.get(field), h5py.Dataset):
                    told |= hints_of_name(text_of(group[field][()]), f"from {entry}/sample/{field} in the file")
            voltage = group.get("voltage")
            if isinstance(voltage, h5py.Dataset) and voltage.size == 1 and voltage.dtype.kind in "iuf":
                factor = {"V": 1.0, "mV": 1e-3}.get(text_of(voltage.attrs.get("units", "V")).strip())
                if factor:
                    told["voltage"] = Hint(
                        float(voltage[()].ravel()[0]) * factor, f"from {entry}/sample/voltage in the file"
                    )
            break
    return told
