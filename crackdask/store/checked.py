"""Zarr's view of a store of which every chunk that is read is looked at: is it there, whole, and in its place.

Zarr takes a chunk that is not there for background, and what is no file for one that is not there. Here that is an
error, as is a chunk whose checksum does not fit, or that was written elsewhere, as far as seals are at hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import SuffixByteRequest
from zarr.storage import LocalStore

from crackdask.storage.locations import Place, Prefix
from crackdask.storage.zarr_bucket import Chunks
from crackdask.store import seals
from crackdask.store.damage import damaged_chunk

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

#: Attribute of arrays whose every chunk is written, so that one that is not there was lost.
WHOLE = {"chunks_of_zeros": "written"}


#: How many chunks are in a file of an array, and whether every one of them was written.
Layout = tuple[int, bool]


def checked(
    store: Place, *, read_only: bool = True, own: Mapping[str, Mapping[str, Any]] | None = None
) -> CheckedFiles | CheckedObjects:
    """Return the view of a store; who writes may find nothing where a chunk comes to lie.

    What arrays say of themselves, as far as `own` has it, is not asked for again where each question is a request.
    """
    if not isinstance(store, Prefix):
        return CheckedFiles(store, read_only=read_only)
    view = CheckedObjects.at(store, read_only=read_only)
    view.layouts = {name: _layout_in(facts) for name, facts in (own or {}).items()}
    return view


class CheckedFiles(LocalStore):
    """A store on a disk."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what lies under a key, or None."""
        found = await super().get(key, prototype, byte_range)
        if self.read_only:
            _look_at(self.root, key, found, byte_range, partial(layout, self.root))
        return found

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what lies under a key, or None."""
        found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        if self.read_only:
            _look_at(self.root, key, found, byte_range, partial(layout, self.root))
        return found

    def __dask_tokenize__(self) -> tuple[str, str, int]:
        """Tell stores apart in the names of a graph, which are the same in every process."""
        return type(self).__name__, str(self.root), (self.root / "zarr.json").stat().st_mtime_ns


class CheckedObjects(Chunks):
    """A store in object storage.

    Attributes
    ----------
    sealed
        Seals of what was written, by key.
    layouts
        Those of arrays of which it is known what they say of themselves.
    """

    sealed: dict[str, tuple[int, int, int, int]]
    layouts: dict[str, Layout]

    @classmethod
    def at(cls, where: Prefix, *, read_only: bool = False) -> CheckedObjects:
        """Return the view of a prefix."""
        store = super().at(where, read_only=read_only)
        store.sealed, store.layouts = {}, {}
        return store

    def _layout(self, array: str) -> Layout:
        return self.layouts[array] if array in self.layouts else layout(self.where, array)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return an object, or None."""
        found = await super().get(key, prototype, byte_range)
        if self.read_only:
            _look_at(self.where, key, found, byte_range, self._layout)
        return found

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object whole."""
        await super().set(key, value)
        if "/c/" in key and (inner := self._layout(key.partition("/c/")[0])[0]):
            self.sealed[key] = seals.seal_of(value.as_numpy_array(), inner)


def _look_at(
    store: Place, key: str, found: Buffer | None, byte_range: ByteRequest | None, layout_of: Callable[[str], Layout]
) -> None:
    """Refuse a chunk that is not the one which was written.

    Raises
    ------
    DamagedError
        If it is not.
    """
    array, is_chunk, _ = key.partition("/c/")
    if not is_chunk or "/" not in array:
        return
    told = seals.as_written(store, key)
    if found is None:
        if reason := _absent(store, key, array, layout_of):
            raise damaged_chunk(store, told, reason)
        return
    inner, _ = layout_of(array)
    if not inner:
        return
    if byte_range is None:
        data = found.as_numpy_array()
        if not seals.is_whole(data, inner):
            raise damaged_chunk(store, told, "its checksum does not fit")
        wrong = _misplaced(store, told, seals.seal_of(data, inner))
    elif isinstance(store, Path):  # a part of a shard
        if not seals.is_whole(found.as_numpy_array(), 1) and not seals.is_whole((store / key).read_bytes(), inner):
            raise damaged_chunk(store, told, "its checksum does not fit")
        # Its index, which comes first, is where the place is looked at.
        wrong = isinstance(byte_range, SuffixByteRequest) and _misplaced(
            store, told, seals.seal_of_file(store / key, inner)
        )
    else:
        return
    if wrong:
        raise damaged_chunk(store, told, "it was written at another place, or at another time")


def _misplaced(store: Place, key: str, found: tuple[int, int, int, int]) -> bool:
    """Tell whether a chunk is not the one that is sealed; seals are read again before one is accused."""
    if _fits(store, key, found):
        return False
    seals.load.cache_clear()
    return not _fits(store, key, found)


def _fits(store: Place, key: str, found: tuple[int, int, int, int]) -> bool:
    seal = seals.seal_at(store, key)
    if seal is None:
        what = seals.what_of(key)
        return what is None or seals.load(store, what) is None
    return (seal[0], seal[3]) == (found[0], found[3])


def _absent(store: Place, key: str, array: str, layout_of: Callable[[str], Layout]) -> str | None:
    """Return why a chunk cannot be read, or None where it is not there because it holds nothing but background."""
    where = store / key
    if isinstance(where, Path):
        if where.is_symlink():
            return "it is a link that leads nowhere"
        if where.is_dir():
            return "it is a folder, not a file"
        above = next((folder for folder in where.parents if folder.exists()), where)
        if not above.is_dir():
            return f"{above} is a file, not a folder"
    if layout_of(array)[1]:
        return "it is not there"
    if seals.seal_at(store, key):
        seals.load.cache_clear()
        return "it is not there" if seals.seal_at(store, key) else None
    return None


def layout(store: Place, array: str) -> Layout:
    """Return how many chunks are in a file of an array, and whether every one of them was written.

    There are none that can be told where chunks do not end in a checksum, as in arrays that others put into a store.
    """
    changed = None
    if isinstance(store, Path):  # where another store may come to lie
        try:
            seen = (store / array / "zarr.json").stat()
        except OSError:
            return 0, False
        changed = seen.st_mtime_ns, seen.st_ino
    return _layout(store, array, changed)


@lru_cache(maxsize=512)
def _layout(store: Place, array: str, changed: tuple[int, int] | None) -> Layout:
    try:
        return _layout_in(json.loads((store / array / "zarr.json").read_text()))
    except (OSError, ValueError):
        return 0, False


def _layout_in(facts: Mapping[str, Any]) -> Layout:
    """Return the layout of an array from what it says of itself."""
    try:
        codecs, inner = facts["codecs"], 1
        if codecs[0]["name"] == "sharding_indexed":
            outer, within = facts["chunk_grid"]["configuration"]["chunk_shape"], codecs[0]["configuration"]
            inner = prod(-(-a // b) for a, b in zip(outer, within["chunk_shape"], strict=True))
            codecs = within["codecs"]
        if codecs[-1]["name"] != "crc32c":
            inner = 0
        return inner, WHOLE.items() <= facts.get("attributes", {}).items()
    except (ValueError, LookupError, TypeError, AttributeError):
        return 0, False
