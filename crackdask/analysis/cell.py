"""The cell beside its particles: the cycler's record, incremental capacity, damage against what the cell did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crackdask.analysis.damage import damage_of
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import table_of
from crackdask.arrays import Floats
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

#: A half cycle of less than this share of the largest one is a pulse or a ripple of the current.
_PULSE = 0.02
#: Rows so near the last voltage of a half cycle, in widths of an interval, hold the voltage rather than pass it.
_HELD = 0.2
_NO_CURRENT = 1e-3


def cell_record(store: xr.DataTree) -> xr.Dataset:
    """Return the record of the cell and where the states lie in it.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.

    Returns
    -------
    xarray.Dataset
        Along `record`: `time` (s), `cell_voltage` (V), `current` (mA), `charge` (mAh), and `specific_charge` (mAh/g)
        where the recipe has the active mass. Along `state`: `linked_by`, `link_reason`, `scan_begin` and `scan_end`
        (s), `scan_voltage` (V), `scan_charge` (mAh).

    Raises
    ------
    AnalysisError
        If the recipe named no files of a cycler.
    """
    if "electrochemistry" not in store.children:
        raise AnalysisError(
            "the store has no record of the cell: name the cycler's files under [electrochemistry] in the recipe"
        )
    record = table_of(store, "electrochemistry").load()
    mass = record.attrs.get("active_mass_mg")
    if mass:
        record["specific_charge"] = 1000 * record.charge / mass
        record.specific_charge.attrs = {"units": "mAh/g", "long_name": "charge over the active mass"}
    return record


def half_cycles(current: Floats, charge: Floats) -> list[slice]:
    """Return the rows of each charge and discharge; rests within one belong to it, whatever noise their current has.

    >>> half_cycles(np.array([1., 1., 0., 1., -1., -1.]), np.array([0., 1., 1., 2., 1., 0.]))
    [slice(0, 4, None), slice(3, 6, None)]
    """
    least = _NO_CURRENT * max(float(np.abs(current).max()), 1e-12)
    flowing = np.flatnonzero(np.abs(current) > least)
    if not flowing.size:
        return []
    turns = np.flatnonzero(np.diff(np.sign(current[flowing])) != 0)
    ends = [*flowing[turns], flowing[-1]]
    begins = [flowing[0], *flowing[turns]]
    parts = [slice(int(a), int(b) + 1) for a, b in zip(begins, ends, strict=True)]
    moved = [float(charge[part][-1] - charge[part][0]) for part in parts]
    pulse, whole = _PULSE * max(map(abs, moved)), list[tuple[bool, slice]]()
    for part, by in zip(parts, moved, strict=True):
        if abs(by) <= pulse:
            continue
        charging, begin = by > 0, part.start
        if whole and whole[-1][0] == charging:  # what lies between was no half cycle
            begin = whole.pop()[1].start
        whole.append((charging, slice(begin, part.stop)))
    return [part for _, part in whole]


def incremental_capacity(store: xr.DataTree, width_mv: float = 10.0) -> xr.Dataset:
    """Return the incremental capacity dQ/dV of each charge and discharge.

    The charge that flowed while the voltage was in an interval, over its width: no smoothing, and its sum is the
    capacity, less what flowed at the end while the voltage was held.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    width_mv
        Of an interval, mV.

    Returns
    -------
    xarray.Dataset
        Along `interval`: `half_cycle` (number, from 1), `direction` ("charge" or "discharge"), `voltage` (V, the middle
        of the interval) and `dq_dv` (mAh/V, positive).

    Raises
    ------
    AnalysisError
        If the store has no record of the cell, or the width is not positive.
    """
    if not width_mv > 0:
        raise AnalysisError(f"the width of an interval is {width_mv:g} mV, wanted more than 0")
    record, width = cell_record(store), width_mv / 1000
    voltage, current, charge = (record[name].values for name in ("cell_voltage", "current", "charge"))
    columns: dict[str, list[Any]] = {"half_cycle": [], "direction": [], "voltage": [], "dq_dv": []}
    for number, rows in enumerate(half_cycles(current, charge), start=1):
        v, q = voltage[rows], charge[rows]
        sign = 1.0 if q[-1] > q[0] else -1.0
        reached = np.maximum.accumulate(sign * v)
        passing = int(np.count_nonzero(reached <= reached[-1] - _HELD * width))
        if passing < 2:
            continue
        first, flowed = _by_interval(v[:passing] / width, sign * np.diff(q[:passing]))
        middles = width * (first + np.arange(flowed.size) + 0.5)
        columns["half_cycle"] += [number] * flowed.size
        columns["direction"] += ["charge" if sign > 0 else "discharge"] * flowed.size
        columns["voltage"] += middles[:: int(sign)].tolist()
        columns["dq_dv"] += (flowed / width)[:: int(sign)].tolist()
    found = xr.Dataset({name: ("interval", np.array(values)) for name, values in columns.items()})
    found.dq_dv.attrs = {"units": "mAh/V", "long_name": "incremental capacity"}
    found.voltage.attrs = {"units": "V", "long_name": "middle of the interval"}
    return found.assign_attrs(width_mv=width_mv)


def _by_interval(voltage: Floats, added: Floats) -> tuple[int, Floats]:
    """Return what flowed in each interval, and the number of the first in which anything did.

    Between two rows the voltage goes straight from one to the other, and the charge flows evenly. Where the voltage
    turns back, as after a rest or when a new phase begins to grow, it flows where the voltage is.

    Parameters
    ----------
    voltage
        Of the rows, in widths of an interval.
    added
        Between each row and the next.

    >>> _by_interval(np.array([0.5, 2.5, 2.5, 1.5]), np.array([4.0, 1.0, 2.0]))
    (0, array([1., 3., 3.]))
    """
    low, high = np.minimum(voltage[1:], voltage[:-1]), np.maximum(voltage[1:], voltage[:-1])
    first = np.floor(low).astype(np.int64)
    count = np.floor(high).astype(np.int64) - first + 1
    row = np.repeat(np.arange(added.size), count)  # each as often as it has intervals
    interval = first[row] + np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    inside = np.minimum(high[row], interval + 1) - np.maximum(low[row], interval)
    share = np.divide(inside, (high - low)[row], out=np.ones(row.size), where=(high > low)[row])
    begin = int(first.min())
    flowed: Floats = np.bincount(interval - begin, share * added[row]).astype(np.float64)
    some = np.flatnonzero(flowed)
    if not some.size:
        return begin, flowed[:0]
    return begin + int(some[0]), flowed[some[0] : some[-1] + 1]


def damage_of_cell(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return the mean damage of the tracked particles in each state beside what the cell did until then.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Returns
    -------
    xarray.Dataset
        Along `state`: `damage` (mean), `error_bar` (two standard errors of the mean over particles), `cell_voltage` (V,
        measured; the recipe's where a state is not linked), `charge` (mAh; NaN there) and `is_linked`.
    """
    record = cell_record(store)
    found, _ = damage_of(store, parameters)
    count = found.damage.notnull().sum("particle")
    bar = 2 * found.damage.std("particle", ddof=1) / np.sqrt(count)
    chosen = record.sel(state=found.state)
    linked = xr.DataArray([bool(str(by)) for by in chosen.linked_by.values], dims="state")
    told = xr.Dataset(
        {
            "damage": found.damage.mean("particle"),
            "error_bar": bar,
            "cell_voltage": chosen.scan_voltage.where(linked, chosen.voltage),
            "charge": chosen.scan_charge,
            "is_linked": linked,
        }
    )
    return told.assign_attrs(record.attrs)
