"""A store with a few dozen particles in three states, served once for all tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

import crackdask
from tests.support.explored import Asker, served


@pytest.fixture(scope="module")
def asker(whole_store: Path) -> Iterator[Asker]:
    with served(whole_store) as held:
        yield Asker(held)


@pytest.fixture(scope="module")
def tree(whole_store: Path) -> xr.DataTree:
    return crackdask.open(whole_store)
