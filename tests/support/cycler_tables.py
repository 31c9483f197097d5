"""A short record of a cell as a table, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crackdask.sources.cycler import CyclerRecord, Reading, read_record


def read(*paths: Path, **reading: Any) -> CyclerRecord:
    return read_record(list(paths), Reading(**{"columns": {}, **reading}))


# ---------------------------------------------------------------- what would be wrong in silence


def short(**columns: Any) -> pd.DataFrame:
    """Return a table of a cell that is charged for an hour, ten minutes a row."""
    time = np.arange(7) * 600.0
    return pd.DataFrame({"time_s": time, "voltage_V": 3.7 + time * 1e-5, "current_mA": 2.0, **columns})


def saved(table: pd.DataFrame, path: Path, **how: Any) -> Path:
    table.to_csv(path, index=False, **how)
    return path
