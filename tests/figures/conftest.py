"""An invented store, and all figures of it: drawn once, looked at by every module."""

from __future__ import annotations

import pytest
import xarray as xr
from matplotlib.figure import Figure

from tests.support.pictured import (
    NAMES,
    collect_all,
    draw_all,
    electrode,
)


@pytest.fixture(scope="session")
def store() -> xr.DataTree:
    return electrode()


@pytest.fixture(scope="session")
def numbers(store: xr.DataTree) -> dict[str, xr.Dataset]:
    made, missing = collect_all(store)
    assert missing == {}
    return made


@pytest.fixture(scope="session")
def pictures(numbers: dict[str, xr.Dataset]) -> dict[str, Figure]:
    return draw_all(numbers)


@pytest.fixture(scope="session")
def drawn(numbers: dict[str, xr.Dataset], pictures: dict[str, Figure]) -> dict[str, tuple[xr.Dataset, Figure]]:
    return {name: (numbers[name], pictures[name]) for name in NAMES}
