"""What the arrays of a store say of themselves, held against what the store says of them at its root."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from crackdask.schema import LABEL_IMAGE
from crackdask.storage.locations import Place, PlaceError, Prefix, UnreachableError, at_once
from crackdask.store.root import StoreError

#: Of a file that is not there.
_GONE = "is gone"
#: What decides which numbers are read; attributes may be added by anybody.
_DECISIVE = (
    "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs",
    "dimension_names",
)  # fmt: skip


def unlike(path: Place, group: str = "") -> Iterator[tuple[str, str]]:
    """Yield the groups and arrays of a store whose own metadata is not what its root says, and what is wrong.

    Whoever opens the store reads the one, who opens an array the other: where they differ, one of them was damaged.

    Parameters
    ----------
    path
        The store.
    group
        Look at this one alone, and what is in it.
    """
    yield from _differing(path, *_read(path, group))


def _read(path: Place, group: str) -> tuple[dict[str, Any], dict[str, dict[str, Any] | str]]:
    """Return what the root says of all groups and arrays, and what those in a group say of themselves."""
    root = json.loads((path / "zarr.json").read_text())
    told = (root.get("consolidated_metadata") or {}).get("metadata", {})
    names = [name for name in told if not group or name == group or name.startswith(f"{group}/")]
    if LABEL_IMAGE in names and not isinstance(path, Prefix):
        names.remove(LABEL_IMAGE)  # a link to the labels, without which nothing is lost
    return told, dict(zip(names, at_once(path, lambda name: _own(path, name), names), strict=True))


def _differing(path: Place, told: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cracks = [found for name, found in own.items() if name.partition("/")[0] == "cracks"]
    without_cracks = bool(cracks) and all(found == _GONE for found in cracks)  # somebody removed them, which is fine
    for name, found in own.items():
        if without_cracks and name.partition("/")[0] == "cracks":
            continue
        if isinstance(found, str):
            yield name, found
        elif differs := [key for key in _DECISIVE if found.get(key) != told[name].get(key)]:
            yield name, f"tells another {', '.join(differs)} than {path}/zarr.json"


def same_but_for_length(path: Place, name: str, told: Mapping[str, Any]) -> bool:
    """Tell whether an array says of itself what the root says of it, but for its length along the first axis."""
    own = _own(path, name)
    if isinstance(own, str) or not isinstance(own.get("shape"), list):
        return False
    pairs = [(own.get(key), told.get(key)) for key in _DECISIVE if key != "shape"]
    return all(a == b for a, b in [*pairs, (own["shape"][1:], told["shape"][1:])])


def _own(path: Place, name: str) -> dict[str, Any] | str:
    """Return what an array or group says of itself, or why that cannot be told."""
    try:
        found = json.loads((path / name / "zarr.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return _GONE
    except (PlaceError, UnreachableError, PermissionError):
        raise
    except (OSError, ValueError) as error:
        return f"cannot be read: it is no file, or no JSON ({type(error).__name__})"
    return found if isinstance(found, dict) else "does not describe an array or group"


def check_metadata(path: Place, *, complete: bool) -> dict[str, Any]:
    """Refuse a store whose metadata was damaged, and return what its groups and arrays say of themselves, by name.

    Parameters
    ----------
    path
        The store.
    complete
        Whether its run is at its end; before, its tables may be about to be made.

    Raises
    ------
    StoreError
        If metadata of the store, and of an array or group of it, tell different things.
    """
    told, own = _read(path, "" if complete else "volumes")
    for name, reason in _differing(path, told, own):
        if name.partition("/")[0] == "cracks":
            out = f"remove {path}/cracks, and `crackdask cracks {path}` makes it anew"
        else:
            out = f"`crackdask run RECIPE --store {path}` makes anew what it describes"
        raise StoreError(f"{path}/{name}/zarr.json {reason}; {out}")
    return {name: facts for name, facts in own.items() if not isinstance(facts, str)}
