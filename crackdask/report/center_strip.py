"""Slices about the centers that a search could not choose from, as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from crackdask.arrays import Floats, Singles
from crackdask.report.preview_page import check_can_draw

_DPI = 150


def write_center_strip(file: Path, state: str, center: float, centers: Floats, images: Singles) -> None:
    """Write slices (center, y, x) of a state, each with its center above it, that nearest to `center` in bold.

    Raises
    ------
    ReportError
        If matplotlib is not installed.
    """
    check_can_draw()
    from crackdask.figures.reconstruction import draw_center_strip

    strip = xr.Dataset(
        {
            "strip": (("state", "at", "strip_y", "strip_x"), images[None]),
            "strip_center": (("state", "at"), np.asarray(centers)[None]),
            "center": (("state", "row"), [[center]]),
        },
        {"state": [state]},
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    draw_center_strip(strip).savefig(file, dpi=_DPI, metadata={"Software": None})
