"""The root of a store: whether it is there and whole, its attributes, and its consolidated metadata."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import zarr

from crackdask import schema
from crackdask.storage.locations import Place, PlaceError, Prefix, UnreachableError, flush, zarr_at


class StoreError(ValueError):
    """The store is not what was expected; the message says what it is and the way out."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence zarr's note that consolidated metadata is an extension of format 3; it is asked for on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        yield


def consolidate(path: Place) -> None:
    """Write the consolidated metadata of the whole store and of each group."""
    with _quiet():
        for group in [*(p for p in path.iterdir() if (p / "zarr.json").is_file()), path]:
            zarr.consolidate_metadata(zarr_at(group))


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
    if not (path / "zarr.json").is_file():
        raise StoreError(f"there is no store at {path}; `crackdask run RECIPE --store {path}` makes one")
    try:
        stored = dict(zarr.open_group(zarr_at(path), mode="r", zarr_format=3).attrs)
    except (PlaceError, UnreachableError):
        raise
    except Exception as error:
        raise StoreError(f"the store {path} cannot be read: {error}") from error
    version = stored.get("format_version")
    if not isinstance(version, int):
        raise StoreError(f"{path} is a Zarr group but not a crackdask store: it has no format_version")
    if version > schema.FORMAT_VERSION:
        raise StoreError(
            f"{path} has format {version}, this crackdask knows formats up to {schema.FORMAT_VERSION}; "
            "install a newer crackdask to read it"
        )
    return stored


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
    for pattern in ("*", "*/*", "*/*/*/"):
        for entry in path.glob(pattern):
            if entry.is_symlink() and not entry.resolve().is_relative_to(home):
                raise StoreError(
                    f"{entry} is a link to {entry.resolve()}, outside of {path.name}, and a run would write there; "
                    "put the folder itself in its place, or choose another store"
                )


def set_attributes(path: Place, values: Mapping[str, Any]) -> None:
    """Change root attributes of a store."""
    zarr.open_group(zarr_at(path), mode="r+", zarr_format=3).attrs.update(dict(values))
    flush(path / "zarr.json")


def tidy(path: Place) -> None:
    """Remove what a killed writer of metadata left in a store; an object is there whole or not at all."""
    if isinstance(path, Prefix):
        return
    for pattern in ("*.partial", "*/*.partial", "*/*/*.partial"):
        for left in path.glob(pattern):
            left.unlink()
