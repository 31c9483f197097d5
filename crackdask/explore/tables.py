"""The tables of a store as their metadata tells them, and their rows straight from zarr.

Not by xarray, which with pandas is a hundred megabytes and a second that no picture needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from crackdask.analysis.tables import origin_of
from crackdask.arrays import Array
from crackdask.storage.locations import Place
from crackdask.store.metadata import check_metadata


class Tables:
    """The groups of a finished store.

    Parameters
    ----------
    store
        Where it is.
    facts
        Its root attributes.
    array
        Opens an array of the store by its path.

    Raises
    ------
    StoreError
        If its metadata was damaged.
    """

    def __init__(self, store: Place, facts: Mapping[str, Any], array: Callable[[str], Any]) -> None:
        check_metadata(store, complete=True)
        self.attrs, self.array = facts, array
        told = json.loads((store / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
        self._told: dict[str, dict[str, Any]] = told

    def __contains__(self, group: str) -> bool:
        return group in self._told

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of a group or an array."""
        return dict(self._told[path].get("attributes") or {})

    def sizes(self, path: str) -> dict[str, int]:
        """Return the lengths of an array by the names of its dimensions, in their order."""
        told = self._told[path]
        return dict(zip(told["dimension_names"] or (), told["shape"], strict=False))

    def is_whole(self, path: str) -> bool:
        """Whether an array holds whole numbers or truths."""
        return str(self._told[path]["data_type"]).startswith(("bool", "int", "uint"))

    def names(self, group: str) -> list[str]:
        """Return the names of the arrays of a group."""
        found = [path.rpartition("/") for path, told in self._told.items() if told["node_type"] == "array"]
        return [name for where, _, name in found if where == group]

    def cracked(self) -> Array | None:
        """Tell of which states the cracks were measured; None where no such table fits what the store holds now."""
        if "cracks" not in self or self.attributes("cracks").get("of") != origin_of(self.attrs):
            return None
        computed: Array = self.array("cracks/computed")[...]
        return computed if computed.any() else None
