"""A store that is looked at: opened anew when its run has moved on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from crackdask.analysis.findings import Finding, of_store, parted, sentences
from crackdask.explore.analysed import Analysed
from crackdask.explore.byte_cache import ByteCache
from crackdask.explore.columns import Columns
from crackdask.explore.planes import TILE, Planes
from crackdask.explore.report_files import WrittenReport
from crackdask.explore.tables import Tables
from crackdask.storage.locations import Place, stamps
from crackdask.store.root import StoreError, attributes

if TYPE_CHECKING:
    import xarray as xr

_CHUNK_BYTES = 96 * 2**20
_AGAIN = 0.5  # seconds after which it is looked whether the store has changed


@dataclass(frozen=True)
class View:
    """A store as it was at one time.

    Attributes
    ----------
    stamp
        Another one, another state of the store.
    facts
        Its root attributes.
    planes
        Its volumes.
    analysed
        What the analysis makes of its tables.
    """

    place: Place
    stamp: str
    facts: dict[str, Any]
    planes: Planes
    analysed: Analysed

    @cached_property
    def _columns(self) -> Columns:
        return Columns(Tables(self.place, self.facts, self.planes.array), self.analysed)

    @cached_property
    def tree(self) -> xr.DataTree:
        """What ``crackdask.open`` returns: large libraries are loaded for it."""
        from crackdask.store.open import open_store

        return open_store(self.place)

    @property
    def columns(self) -> Columns:
        """The columns of its particles.

        Raises
        ------
        StoreError
            If its run is not at its end.
        """
        if not self.planes.complete:
            raise StoreError("the run of this store is under way, or was stopped: tables are made at its end")
        return self._columns

    @property
    def state_names(self) -> list[str]:
        """Names of the states in their order."""
        return [str(state["name"]) for state in self.facts["recipe"]["states"]]


class Explored:
    """A store in a browser.

    Parameters
    ----------
    store
        The store.
    report
        Where its report is, once there is one.

    Raises
    ------
    StoreError
        If there is none.
    """

    def __init__(self, store: Place, report: WrittenReport) -> None:
        self.store, self.report = store.resolve(), report
        self._chunks = ByteCache(_CHUNK_BYTES)
        self._lock = Lock()
        self._view, self._looked = self._opened(self._stamp()), monotonic()

    @property
    def view(self) -> View:
        """The store as it is now."""
        with self._lock:
            if monotonic() - self._looked < _AGAIN:
                return self._view
            self._looked = monotonic()
            if (stamp := self._stamp()) != self._view.stamp:
                self._chunks.clear()
                self._view.analysed.close()
                self._view = self._opened(stamp)
            return self._view

    def close(self) -> None:
        """End what is at work for it."""
        self._view.analysed.close()

    def _stamp(self) -> str:
        try:
            _, size, changed = stamps([("zarr.json", self.store / "zarr.json")])[0]
        except (FileNotFoundError, NotADirectoryError):
            return ""  # what is wrong is told by who reads it
        return f"{size:x}-{changed}"

    def _opened(self, stamp: str) -> View:
        facts = attributes(self.store)
        complete = bool(facts.get("complete"))
        planes = Planes(self.store, complete=complete, cache=self._chunks)
        return View(self.store, stamp, facts, planes, Analysed(self.store))


def layout(view: View) -> dict[str, Any]:
    """Return what the page must know before it asks for anything else."""
    recipe, planes = view.facts["recipe"], view.planes
    warnings, notes = parted(of_store(view.facts))
    return {
        "name": str(recipe["experiment"].get("name", view.place.stem)),
        "store": view.place.name,
        "stamp": view.stamp,
        "complete": planes.complete,
        "done": sorted(view.facts.get("steps", {})),
        "states": [
            {name: state.get(name) for name in ("name", "voltage", "step", "cycle")} for state in recipe["states"]
        ],
        "shape": list(planes.shape),
        "voxel_um": list(view.facts["identity"]["voxel_um"]),
        "volumes": {name: str(planes.array(each.paths[0]).dtype) for name, each in planes.levels.items()},
        "levels": planes.count,
        "stored_levels": len(planes.levels["grey"].paths),
        "tile": TILE,
        "warnings": _told(warnings),
        "notes": _told(notes),
    }


def _told(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings of one kind together: `words`, and names of the `states` that they are of."""
    by_code: dict[str, list[Finding]] = {}
    for each in found:
        by_code.setdefault(each.code, []).append(each)
    return [
        {"words": words, "states": sorted({one.state for one in alike if one.state})}
        for alike in by_code.values()
        for words in sentences(alike)
    ]


def catalogue(view: View) -> dict[str, Any]:
    """Return which columns there are, and what the analysis goes by.

    Raises
    ------
    StoreError
        If the run of the store is not at its end.
    """
    columns = view.columns
    return {
        "particles": columns.count,
        "cell": "electrochemistry" in columns.tables,
        "columns": [column.as_dict() for column in columns.listed.values()],
        "largest": columns.params.largest,
        "class_limits": list(columns.params.class_limits),
        "significance": columns.params.significance,
    }
