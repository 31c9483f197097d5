"""DXchange: frames, flats, darks and angles in a group `exchange`."""

from __future__ import annotations

from typing import Any

import h5py  # type: ignore[import-untyped, unused-ignore]

from crackdask.sources.nxtomo import Layout

_GROUP = "/exchange"


def dxchange_layout(file: Any, inner: str) -> Layout | None:
    """Return where the parts of a scan lie, or None if the file holds none.

    Reconstructions are written to `exchange/data` too; they have neither flats nor angles beside them.
    """
    if inner and f"/{inner.strip('/')}" not in (_GROUP, f"{_GROUP}/data"):
        return None
    there = {name: _path(file, name) for name in ("data", "theta", "data_white", "data_dark")}
    if not there["data"] or not (there["theta"] or there["data_white"]):
        return None
    return Layout(
        "DXchange",
        _GROUP,
        there["data"],
        rotation_angle=there["theta"],
        flats=there["data_white"],
        darks=there["data_dark"],
    )


def _path(file: Any, name: str) -> str:
    """Return the path of a dataset that holds something, or nothing."""
    item = file.get(f"{_GROUP}/{name}")
    return f"{_GROUP}/{name}" if isinstance(item, h5py.Dataset) and item.size else ""
