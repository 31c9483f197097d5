"""Files as EC-Lab writes them in binary (.mpr), as far as that is known: modules, and in one of them a table.

The format is told nowhere: names of modules, numbers of columns and where things lie are what programs expect that
read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

_MAGIC = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4)
#: Bits of one byte: mode, oxidation, error, control changes, step changes, counter.
_FLAGS = (1, 2, 3, 21, 31, 65)
#: Numbers of columns, and how each is written.
_TIME, _EWE, _MEAN_CURRENT, _STEP_CHARGE, _CHARGE = (4, "<f8"), (6, "<f4"), (11, "<f8"), (7, "<f8"), (13, "<f8")
#: Bytes from the beginning of the module to the table, by the module's version.
_HEAD = {0: 100, 2: 405, 3: 406}


def write_mpr(
    table: pd.DataFrame,
    path: Path,
    start: datetime,
    version: int = 2,
    *,
    charge: bool = False,
    loops: Sequence[int] = (),
) -> Path:
    """Write a record with its mean currents, and the charge since it began or since the row before.

    `loops` are the rows with which the cycler's sequence of techniques begins; none where there is no such sequence.
    """
    columns = [_TIME, _EWE, _MEAN_CURRENT, _CHARGE if charge else _STEP_CHARGE]
    told = [table.time, table.voltage, table.current, table.charge if charge else table.charge.diff().fillna(0.0)]
    rows = np.zeros(len(table), [("flags", "u1"), *((str(number), kind) for number, kind in columns)])
    for (number, _), values in zip(columns, told, strict=True):
        rows[str(number)] = values
    numbers = np.array([*_FLAGS, *(number for number, _ in columns)], "u1" if version == 0 else "<u2")
    head = len(rows).to_bytes(4, "little") + len(numbers).to_bytes(1, "little") + numbers.tobytes()
    day = f"{start:%m/%d/%y}".encode()
    log = bytearray(600)
    log[465:473] = np.float64((start - datetime(1899, 12, 30)) / timedelta(days=1)).tobytes()
    path.write_bytes(
        _MAGIC
        + _module("VMP Set", "VMP settings", 0, day, bytes(64))
        + _module("VMP data", "VMP data", version, day, head.ljust(_HEAD[version], b"\0") + rows.tobytes())
        + _module("VMP LOG", "VMP log", 0, day, bytes(log))
        + (_module("VMP loop", "VMP loop index", 0, day, _counted(loops, len(rows))) if loops else b"")
    )
    return path


def _counted(loops: Sequence[int], rows: int) -> bytes:
    """How many loops there are, with which rows they begin, and behind which one the last ends."""
    return np.array([len(loops), *loops, rows], "<u4").tobytes()


def _module(short: str, long: str, version: int, day: bytes, content: bytes) -> bytes:
    sizes = len(content).to_bytes(4, "little") + version.to_bytes(4, "little")
    return b"MODULE" + short.encode().ljust(10) + long.encode().ljust(25) + sizes + day + content
