"""What a cycler would have recorded of the phantom's cell: constant currents, and a rest at each state's scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from crackdask.arrays import Floats
from crackdask.phantom.cell_states import State

CURRENT_MA, CAPACITY_MAH = 1.0, 2.0
#: Of the voltage above (charge) or below (discharge) that of the cell at rest, V.
POLARISATION = 0.04
REST_S, STEP_S, RELAXATION_S = 3600.0, 10.0, 600.0
#: Half cycles of ageing stand for as many as there were.
_MOST_CYCLES = 3
START = datetime(2026, 3, 14, 8, 0, 0)


@dataclass(frozen=True)
class CellRecord:
    """A record and the truth of it.

    Attributes
    ----------
    table
        `time` (s), `voltage` (V), `current` (mA), `charge` (mAh since the beginning), row by row.
    scans
        Beginning and end of each state's rest, seconds.
    charges
        mAh at each state.
    """

    table: pd.DataFrame
    scans: tuple[tuple[float, float], ...]
    charges: tuple[float, ...]


def at_rest(share: Floats) -> Floats:
    """Return the voltage of the cell at rest, V, from its share of the capacity; it rises with the share."""
    above = 3.0 + 1.6 * share + 0.08 * np.sin(4 * np.pi * share)
    return np.where(share < 0, 3.0 + 12.0 * share, above)


_SHARES = np.linspace(-0.2, 1.5, 20001)
_VOLTAGES = at_rest(_SHARES)


def cell_record(states: Sequence[State]) -> CellRecord:
    """Cycle a cell through some states: a rest at each, in which it would be scanned."""
    rows: list[Floats] = [np.array([[0.0, 3.0, 0.0, 0.0]])]
    scans, charges, share, low = [], [], 0.0, min(state.voltage for state in states)
    for state in states:
        ways = [state.voltage] if state.step in ("charge", "discharge") else []
        if state.step == "aged":
            ways = [4.4, low] * min(max(state.cycle, 1), _MOST_CYCLES)
        for target in ways:
            share = _pass_current(rows, share, target)
        begin = rows[-1][-1, 0]
        _rest(rows, share)
        scans.append((float(begin), float(rows[-1][-1, 0])))
        charges.append(share * CAPACITY_MAH)
    table = pd.DataFrame(np.concatenate(rows), columns=["time", "voltage", "current", "charge"])
    return CellRecord(table, tuple(scans), tuple(charges))


def _pass_current(rows: list[Floats], share: float, target: float) -> float:
    """Add rows of constant current up to a voltage; return the share of the capacity then."""
    reached = float(np.interp(target - POLARISATION, _VOLTAGES, _SHARES))
    sign = 1.0
    if reached < share:
        reached, sign = float(np.interp(target + POLARISATION, _VOLTAGES, _SHARES)), -1.0
    seconds = abs(reached - share) * CAPACITY_MAH / CURRENT_MA * 3600
    after = np.append(np.arange(STEP_S, seconds, STEP_S), seconds)
    shares = share + sign * after * CURRENT_MA / 3600 / CAPACITY_MAH
    began = rows[-1][-1, 0]
    voltage = at_rest(shares) + sign * POLARISATION
    rows.append(
        np.stack([began + after, voltage, np.full(after.size, sign * CURRENT_MA), shares * CAPACITY_MAH], axis=1)
    )
    return reached


def _rest(rows: list[Floats], share: float) -> None:
    began, voltage = rows[-1][-1, 0], rows[-1][-1, 1]
    after = np.arange(STEP_S, REST_S + 1, STEP_S)
    still = float(at_rest(np.array(share)))
    relaxed = still + (voltage - still) * np.exp(-after / RELAXATION_S)
    rows.append(np.stack([began + after, relaxed, 0 * after, np.full(after.size, share * CAPACITY_MAH)], axis=1))


def write_mpt(record: CellRecord, path: Path, start: datetime | None = START) -> None:
    """Write a record as EC-Lab's text export does."""
    began = [f"Acquisition started on : {start:%m/%d/%Y %H:%M:%S}.{start.microsecond // 1000:03d}"] if start else []
    head = ["Modulo Bat", *began, ""]
    columns = "mode\ttime/s\tEwe/V\tI/mA\t(Q-Qo)/mA.h"
    lines = ["EC-Lab ASCII FILE", f"Nb header lines : {len(head) + 3}", *head, columns]
    values = record.table[["time", "voltage", "current", "charge"]].to_numpy()
    lines += [f"1\t{t:.6E}\t{v:.7E}\t{i:.7E}\t{q:.9E}" for t, v, i, q in values]
    path.write_text("\r\n".join(lines) + "\r\n", encoding="cp1252", newline="")
