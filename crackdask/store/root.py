"""The root of a store: whether it is there and whole, its attributes, and its consolidated metadata."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from crackdask import schema
from crackdask.storage.locations import (
    Place,
    PlaceError,
    Prefix,
    UnreachableError,
    at_once,
    names,
    remove,
    write_whole,
    zarr_at,
)


class StoreError(ValueError):
    """The store is not what was expected; the message says what it is and the way out."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence zarr's note that consolidated metadata is an extension of format 3; it is asked for on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        yield


def consolidate(path: Place, known: Mapping[str, bytes] | None = None) -> None:
    """Write the consolidated metadata of the whole store and of each group.

    What the store says of itself is read once, but for what is known as it was just written (by the names of these
    files), and what zarr makes of it is written where it is new: in object storage each file is a request.
    """
    own = _heads(path, known or {})
    held: dict[str, Any] = {key: default_buffer_prototype().buffer.from_bytes(head) for key, head in own.items()}
    groups = [key.partition("/")[0] for key, head in own.items() if key.count("/") == 1 and _is_group(head)]
    with _quiet():
        for group in (*groups, ""):
            zarr.consolidate_metadata(MemoryStore(held), path=group, zarr_format=3)
            key = f"{group}/zarr.json".lstrip("/")
            if (head := held[key].to_bytes()) != own[key]:
                write_whole(path / key, head)


def _heads(path: Place, known: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what all groups and arrays of a store say of themselves, by the names of these files."""
    found: dict[str, bytes] = {}
    level = [""]

    def head(name: str) -> bytes | None:
        file = f"{name}zarr.json"
        return known[file] if file in known else _head(path / file)

    while level:
        asked = at_once(path, head, level)
        there = {name: head for name, head in zip(level, asked, strict=True) if head is not None}
        found |= {f"{name}zarr.json": head for name, head in there.items()}
        groups = [name for name, head in there.items() if _is_group(head)]
        below = at_once(path, names, [path / name.rstrip("/") if name else path for name in groups])
        lying = [f"{name}{one}" for name, each in zip(groups, below, strict=True) for one in each]
        level = [f"{name}/" for name in lying if not name.endswith("zarr.json")]
    return found


def _head(file: Place) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _is_group(head: bytes) -> bool:
    return bool(json.loads(head)["node_type"] == "group")


def is_there(path: Place) -> bool:
    """Tell whether there is a store, or another Zarr group, at a place: one that was made to its end."""
    return (path / "zarr.json").is_file() and not is_begun(path)


def is_begun(path: Place) -> bool:
    """Tell whether a store on object storage was begun and its making killed: what is there may be thrown away."""
    return isinstance(path, Prefix) and begun_mark(path).is_file()


def begun_mark(path: Prefix) -> Prefix:
    """Return the mark that lies beside a store on object storage while that is being made."""
    return path.with_name(f".{path.name}.begun")


def attributes(path: Place) -> dict[str, Any]:
    """Return the root attributes of a store.

    Raises
    ------
    StoreError
        If there is no crackdask store, or one of a newer format.
    """
    return cast("dict[str, Any]", _sound(path)["attributes"])


def _sound(path: Place) -> Any:
    """Return the root of a store, or raise what is wrong with it."""
    root, reason = _looked_at(path)
    if reason == _GONE and not (path / "zarr.json").exists() and not has_remains(path):
        raise StoreError(f"there is no store at {path}; `crackdask run RECIPE --store {path}` makes one")
    if reason and not has_remains(path) and kept_root(path) is None:
        raise StoreError(f"{path} is no crackdask store: its zarr.json {reason}; choose another place with --store")
    if reason:
        raise StoreError(f"{path}/zarr.json {reason}; {way_out(path)}")
    version = root["attributes"].get("format_version")
    if not isinstance(version, int):
        raise StoreError(
            f"{path} is a Zarr group but not a crackdask store: it has no format_version; choose another place"
        )
    if version > schema.FORMAT_VERSION:
        raise StoreError(
            f"{path} has format {version}, this crackdask knows formats up to {schema.FORMAT_VERSION}; "
            "install a newer crackdask to read it"
        )
    return root


def has_remains(path: Place) -> bool:
    """Tell whether a place holds volumes of a store whose root was lost."""
    return all((path / "volumes" / name / "zarr.json").is_file() for name in ("grey", "label"))


def broken(path: Place) -> str | None:
    """Return what is wrong with the file that makes a folder a store, or None.

    That other programs' groups are no stores of crackdask is no damage.
    """
    return _looked_at(path)[1]


def _looked_at(path: Place) -> tuple[Any, str | None]:
    """Return what the root of a store tells, and what is wrong with it, or None; read once."""
    try:
        root = _root(path)
    except (PlaceError, UnreachableError, PermissionError):
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None, _GONE
    except (OSError, ValueError) as error:
        return None, f"cannot be read: it is no file, or no JSON ({type(error).__name__})"
    if not isinstance(root, dict) or root.get("node_type") != "group" or not isinstance(root.get("attributes"), dict):
        return root, "is damaged: it does not describe a Zarr group"
    lacking = _lacking(root)
    # Only of a root that lacks something need be asked whether it is a store's.
    return root, lacking if lacking and has_remains(path) and not is_begun(path) else None


def _lacking(root: Mapping[str, Any]) -> str | None:
    """Return what a group lacks of the root of a store that was made to its end, or None."""
    attributes = root["attributes"]
    lost = [name for name, kind in _FACTS.items() if not isinstance(attributes.get(name), kind)]
    if lost:
        return f"is damaged: it does not tell {', '.join(lost)}"
    if not _of_one_experiment(attributes["recipe"], attributes["identity"]):
        return "is damaged: its recipe and its identity tell of different experiments"
    if not isinstance(root.get("consolidated_metadata"), dict):
        return "is damaged: it does not tell what the store holds (consolidated_metadata)"
    return None


def _of_one_experiment(recipe: Any, identity: Any) -> bool:
    """Tell whether the recipe of a store has the states and the voxels that make it this experiment's."""
    try:
        states, voxel = [state["name"] for state in recipe["states"]], recipe["experiment"]["voxel_um"]
    except (KeyError, TypeError):
        return True  # no recipe at all, which is told better by who reads it
    return bool(states == identity.get("states", states) and voxel == identity.get("voxel_um", voxel))


#: Of a root that is not there.
_GONE = "is gone"
#: What the root of every store tells.
_FACTS = {"format_version": int, "recipe": dict, "identity": dict}


def _root(path: Place) -> Any:
    return json.loads((path / "zarr.json").read_text())


def way_out(path: Place) -> str:
    """Return what helps where the root of a store is broken: its copy among the records, or else a new store."""
    if kept_root(path) is not None:
        return f"`crackdask run RECIPE --store {path}` restores it"
    return (
        f"put its zarr.json back from a copy, or remove {path}, and `crackdask run RECIPE --store {path}` makes it anew"
    )


def kept_root(path: Place) -> dict[str, Any] | None:
    """Return the root attributes as the last run kept them in its work folder, or None."""
    home = path.resolve()
    try:
        kept = json.loads((home.with_name(f"{home.name}.work") / "root").read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(kept, dict) and all(isinstance(kept.get(name), kind) for name, kind in _FACTS.items())
    return kept if whole else None


def edited(path: Place, facts: Mapping[str, Any]) -> str | None:
    """Return what is wrong with numbers that a finished run left in the root attributes, or None.

    As far as the copy in its work folder tells, and but for findings about the cell's record. Damage is worked out
    from these numbers, and what is not told of is not known.
    """
    kept = kept_root(path) if facts.get("complete") else None
    if kept is None or not kept.get("complete"):
        return None
    for name in ("found", "findings"):
        if _told(facts.get(name)) != _told(kept.get(name)):
            return f"tells another {name} than the run wrote"
    return None


def _told(value: Any) -> str:
    if isinstance(value, list):
        value = [v for v in value if not isinstance(v, dict) or v.get("code") not in schema.RECORD_FINDINGS]
    return json.dumps(value, sort_keys=True)


def restore(path: Place, kept: Mapping[str, Any]) -> None:
    """Make the root of a store anew from what was kept of it."""
    remove(path / "zarr.json")
    zarr.create_group(zarr_at(path), zarr_format=3, attributes=dict(kept))


def refuse_links(path: Place) -> None:
    """Refuse a store or work folder of which a part lies elsewhere: a run would write there.

    Raises
    ------
    StoreError
        If a group, an array or a folder of records is a symbolic link that leads out.
    """
    if isinstance(path, Prefix):
        return
    home = path.resolve()
    for pattern in ("*", "*/*", "*/*/*/", "labels/*/*/*"):
        for entry in path.glob(pattern):
            if entry.is_symlink() and not entry.resolve().is_relative_to(home):
                raise StoreError(
                    f"{entry} is a link to {entry.resolve()}, outside of {path.name}, and a run would write there; "
                    "put the folder itself in its place, or choose another store"
                )


def set_attributes(path: Place, values: Mapping[str, Any]) -> dict[str, Any]:
    """Change root attributes of a store, all by one write, and return them all.

    Between two writes, a reader would find what never was. The rest of the file stays what it is; zarr would make
    objects of all arrays that it tells of, each time.
    """
    return _write(path, _root(path), values)


def change_attributes(path: Place, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
    """Change root attributes of a store to what a function makes of them, as `set_attributes` does.

    Raises
    ------
    StoreError
        If there is no crackdask store, or one of a newer format.
    """
    root = _sound(path)
    return _write(path, root, change(root["attributes"]))


def _write(path: Place, root: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    root["attributes"].update(values)
    # What is told of all arrays is long and stays the same, and Python takes its time to indent.
    members = [f"{json.dumps(name)}: {_indented(json.dumps(value))}" for name, value in root.items()]
    write_whole(path / "zarr.json", ("{\n  " + ",\n  ".join(members) + "\n}").encode())
    return cast("dict[str, Any]", root["attributes"])


@lru_cache(maxsize=8)
def _indented(compact: str) -> str:
    """Return a member of an object in JSON as zarr writes it."""
    return json.dumps(json.loads(compact), indent=2).replace("\n", "\n  ")


def tidy(path: Place) -> None:
    """Remove what a killed writer of metadata left in a store; an object is there whole or not at all."""
    if isinstance(path, Prefix):
        return
    for pattern in ("*.partial", "*/*.partial", "*/*/*.partial", "labels/*/*/*.partial", "labels/*/[!0]*/*/*.partial"):
        for left in path.glob(pattern):
            left.unlink()
