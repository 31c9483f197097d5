"""Images that were painted, read level by level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr


def level(image: Path, number: int = 0) -> Any:
    return np.asarray(zarr.open_array(image / str(number), mode="r"))
