"""A store with a few dozen particles in three states, served once for all tests that only ask; one that tells more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import zarr

import crackdask
from crackdask import schema
from crackdask.analysis.findings import Finding, as_attribute
from crackdask.engine.checkpoints import Work
from crackdask.engine.crack_table import write_cracks
from crackdask.engine.executors import Serial
from crackdask.phantom import states
from crackdask.phantom.cell_record import cell_record
from crackdask.store import seals
from crackdask.store.arrays import Axes, write_array, write_state_coordinates
from crackdask.store.root import attributes, consolidate, set_attributes
from tests.support import browser as browsers
from tests.support.browser import Open, Pages, Watched
from tests.support.explored import Asker, served
from tests.support.shared import made_once
from tests.support.silence import Silent
from tests.support.store_files import copied

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="package")
def asker(whole_store: Path) -> Iterator[Asker]:
    with served(whole_store) as held:
        yield Asker(held)


@pytest.fixture(scope="package")
def tree(whole_store: Path) -> xr.DataTree:
    return crackdask.open(whole_store)


@pytest.fixture(scope="session")
def told_store(whole_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same store with cracks of its particles in two of three states, a record of the cell, and findings."""

    def make(folder: Path) -> None:
        store = copied(whole_store, folder / "told.zarr")
        names = [state.name for state in states(3)]
        assert write_cracks(store, Serial(), Silent(), names[1:])[0] == names[1:]
        true = cell_record(states(3))
        group = zarr.open_group(store, mode="r+").create_group("electrochemistry")
        shape, edges = (attributes(store)["identity"][name] for name in ("shape", "voxel_um"))
        columns: list[Any] = [
            tuple(getattr(s, name) for s in states(3)) for name in ("name", "voltage", "step", "cycle")
        ]
        write_state_coordinates(group, Axes(*[*columns, tuple(shape), tuple(edges)]))
        group.attrs.update(start="2026-03-14T08:00:00", active_mass_mg=10.0)
        linked = np.array([True, True, False])
        begin, end = (np.where(linked, [scan[k] for scan in true.scans], np.nan) for k in (0, 1))
        values = {
            "time": true.table.time.to_numpy(), "cell_voltage": true.table.voltage.to_numpy(),
            "current": true.table.current.to_numpy(), "charge": true.table.charge.to_numpy(),
            "linked_by": np.array(["rest", "rest", ""]), "link_reason": np.array(["a rest", "a rest", "no rest fits"]),
            "scan_begin": begin, "scan_end": end,
            "scan_voltage": np.where(linked, [state.voltage for state in states(3)], np.nan),
            "scan_charge": np.where(linked, true.charges, np.nan),
        }  # fmt: skip
        for name, variable in schema.ELECTROCHEMISTRY.items():
            write_array(group, name, values[name], variable.dims, variable.attributes)
        warning, note = (
            Finding("rings", names[1], 0.02, 0.01, "2.0%"),
            Finding("three-phases", None, 3, 2, "<b>three</b>"),
        )
        set_attributes(store, {"findings": as_attribute([note, warning])})
        consolidate(store)
        Work.beside(store).note("root", attributes(store))  # as the run that found them
        seals.keep(store, seals.TABLES, [seals.seals_of(store, seals.table_folders(store))])

    return made_once(tmp_path_factory, "told", make) / "told.zarr"


@pytest.fixture(scope="package")
def told(told_store: Path) -> Iterator[Asker]:
    """Return what asks that store."""
    with served(told_store) as held:
        yield Asker(held)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start a browser, one for all tests of a module: while there is one, its event loop is that of this thread."""
    if lacks := browsers.missing():
        pytest.skip(lacks)
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(chromium: Browser) -> Pages:
    return Pages(chromium)


@pytest.fixture
def visit(pages: Pages, asker: Asker) -> Iterator[Open]:
    """Open the page, in a browser of its own; afterwards nothing may have gone wrong in it."""
    opened = []

    def go(words: str = "", width: int = 1024, height: int = 640, to: Asker = asker) -> Watched:
        watched = pages.open(to.served.address, width, height)
        opened.append(watched)
        watched.page.goto(f"{to.served.link}#{words}")
        watched.ready()
        return watched

    yield go
    wrong = [watched.wrong for watched in opened]
    for watched in opened:
        pages.take_back(watched)
    assert wrong == [[] for _ in opened]


@pytest.fixture(scope="package")
def volumes(tree: xr.DataTree) -> xr.Dataset:
    return tree["volumes"].to_dataset().load()
