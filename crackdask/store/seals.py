"""Seals: which chunk lies at which place, kept beside a store by the run that wrote it.

A chunk ends in a checksum of its content, so the last four bytes of its file, with its size, tell whether it is the one
that was written at this place: a chunk at another's place is as sound as before, but not the one that is sealed there.
``NAME.zarr.work/chunks/`` holds a table of seals for each state of a volume (``grey-0``) and of a level of it
(``levels.1.grey-0``), for the tables of particles
(``tables``) and for the coordinates of the volumes (``coordinates``); a store without its work folder has none.
"""

from __future__ import annotations

import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from crackdask.schema import LABEL_IMAGE, TOMOGRAMS, VOXEL_GROUPS, level_array
from crackdask.storage.locations import Place, Prefix, at_once, fetched, forget, names, write_whole

#: What is sealed beside the states of volumes.
TABLES, COORDINATES = "tables", "coordinates"
#: Groups of the store that hold coarser levels; each state of an array of theirs is sealed by itself.
LEVEL_GROUPS = ("levels", "labels")
#: Groups of the store that are sealed with `TABLES`.
TABLE_GROUPS = ("particles", "shells", "histograms", "contacts", "transforms", "reconstruction", "electrochemistry")
#: Size, time of modification (0 where there is none), chunks in the file (more than one in a shard), what it ends in.
_FIELDS = [("size", "<u8"), ("stamp", "<i8"), ("inner", "<u4"), ("mark", "<u4")]
_ABSENT = 2**64 - 1

Read = Callable[[int, int], Any]
Seals = np.ndarray[Any, np.dtype[Any]]
#: One row of them, as `_FIELDS`.
Seal = tuple[int, int, int, int]


def mark(read: Read, size: int, inner: int) -> int:
    """Return what tells a chunk or shard from others, without reading all of it: the checksums at its end.

    Parameters
    ----------
    read
        Returns bytes of the file: offset, count.
    size, inner
        Of the file, and how many chunks are in it.
    """
    if inner == 1:
        return int.from_bytes(bytes(read(max(0, size - 4), 4)), "little")
    index, places = _shard(read, size, inner)
    return zlib.crc32(index + b"".join(bytes(read(start + count - 4, 4)) for start, count in places))


def _shard(read: Read, size: int, inner: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the index of a shard, and where its chunks lie: offset, count."""
    length = 16 * inner + 4
    index = bytes(read(max(0, size - length), length))
    if len(index) < length:
        return index, []
    pairs = np.frombuffer(index[:-4], "<u8").reshape(-1, 2).tolist()
    return index, [(start, count) for start, count in pairs if start != _ABSENT and 4 <= count <= size - start]


def is_whole(data: Any, inner: int) -> bool:
    """Tell whether the content of a chunk, or of a shard and its chunks, is what its checksums say.

    >>> is_whole(b"abc" + google_crc32c.value(b"abc").to_bytes(4, "little"), 1), is_whole(b"abc", 1)
    (True, False)
    """
    data = memoryview(data)
    if inner == 1:
        return _fits(data)
    index, places = _shard(lambda start, count: data[start : start + count], len(data), inner)
    return _fits(memoryview(index)) and all(_fits(data[start : start + count]) for start, count in places)


def _fits(data: memoryview) -> bool:
    return len(data) >= 4 and google_crc32c.value(bytes(data[:-4])) == int.from_bytes(data[-4:], "little")


def seal_of(data: Any, inner: int) -> Seal:
    """Return the seal of a chunk from its bytes."""
    data = memoryview(data)
    return len(data), 0, inner, mark(lambda start, count: data[start : start + count], len(data), inner)


def seal_of_file(path: Path, inner: int) -> Seal:
    """Return the seal of a chunk from its file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        found = os.fstat(handle)
        told = mark(lambda start, count: _pread(handle, start, count), found.st_size, inner)
    finally:
        os.close(handle)
    return found.st_size, found.st_mtime_ns, inner, told


def _pread(handle: int, start: int, count: int) -> bytes:
    os.lseek(handle, start, os.SEEK_SET)  # Windows has no pread
    return os.read(handle, count)


def seals_of(store: Place, folders: Iterable[str]) -> Seals:
    """Return the seals of small arrays from what lies in some folders of a store."""
    keys = [key for key, _, _ in _lying(store, folders)]

    def seal(key: str) -> Seal:
        where = store / key
        return seal_of(where.read_bytes(), 1) if isinstance(where, Prefix) else seal_of_file(where, 1)

    return as_seals(zip(keys, at_once(store, seal, keys), strict=True))


def table_folders(store: Place) -> list[str]:
    """Return the folders in which the chunks of the tables lie; in object storage their groups, each listed at once."""
    if isinstance(store, Prefix):
        return list(TABLE_GROUPS)
    return [f"{group}/{name}/c" for group in TABLE_GROUPS for name in sorted(names(store / group)) if "." not in name]


def as_seals(rows: Iterable[tuple[str, Seal]]) -> Seals:
    """Return a table of seals from names of chunks (as seen from the store) and what they are."""
    listed = [(key.encode(), *seal) for key, seal in rows]
    width = max((len(row[0]) for row in listed), default=1)
    return np.array(listed, np.dtype([("key", f"S{width}"), *_FIELDS]))


def sealed(store: Place, what: str) -> Place:
    """Return where the seals of a volume's state, the tables or the coordinates are kept."""
    home = store.resolve()
    return home.with_name(f"{home.name}.work") / "chunks" / what


def keep(store: Place, what: str, parts: Sequence[Seals]) -> None:
    """Write seals down."""
    rows = [(row["key"].decode(), tuple(row.tolist()[1:])) for part in parts for row in part]
    table = as_seals(sorted(rows))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, seals=table)
    write_whole(sealed(store, what), buffer.getvalue())
    load.cache_clear()


def drop(store: Place, what: str) -> None:
    """Forget the seals of what is about to be written anew."""
    forget(sealed(store, what))
    load.cache_clear()


@lru_cache(maxsize=4)
def load(store: Place, what: str) -> Seals | None:
    """Return seals by the order of their keys, or None where there are none (or they are damaged themselves)."""
    try:
        with fetched(sealed(store, what)) as file, np.load(file, allow_pickle=False) as packed:
            table: Seals = packed["seals"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return table if table.dtype.names == ("key", *(name for name, _ in _FIELDS)) else None


def seal_at(store: Place, key: str) -> Seal | None:
    """Return the seal of a place, or None where there is none."""
    what = what_of(key)
    table = load(store, what) if what else None
    if table is None or not len(table):
        return None
    row = int(np.searchsorted(table["key"], key.encode()))
    if row == len(table) or table["key"][row] != key.encode():
        return None
    _, *seal = table[row].tolist()
    return tuple(seal)


def what_of(key: str) -> str | None:
    """Return what a chunk is sealed with; None for what other programs, or other commands, put into a store.

    >>> what_of("volumes/grey/c/1/0/0/2"), what_of("volumes/z/c/0"), what_of("shells/voxels/c/0/0/0")
    ('grey-1', 'coordinates', 'tables')
    >>> what_of("levels/2/grey/c/1/0/0/0"), what_of("cracks/computed/c/0")
    ('levels.2.grey-1', None)
    """
    array, _, chunk = key.partition("/c/")
    group = array.partition("/")[0]
    if group not in VOXEL_GROUPS:
        return TABLES if group in TABLE_GROUPS else None
    if group in ("volumes", TOMOGRAMS) and "/" not in chunk:
        return COORDINATES
    return of_array(array, chunk.partition("/")[0])


def of_array(array: str, state: int | str) -> str:
    """Return what a state of an array of voxels is sealed with."""
    group, _, name = array.partition("/")
    return f"{name if group == 'volumes' else array.replace('/', '.')}-{state}"


def as_written(store: Place, key: str) -> str:
    """Return the name under which a chunk was written: on a disk the labels have another, by a link."""
    array, _, chunk = key.partition("/c/")
    if array == LABEL_IMAGE and not isinstance(store, Prefix):
        return f"{level_array('label', 0)}/c/{chunk}"
    return key


# ---------------------------------------------------------------- what lies on the disk


def lying(store: Place, folder: str) -> Iterator[tuple[str, int, int]]:
    """Yield the chunks below a folder of a store: name, size, time of modification.

    What is not a file counts for nothing, nor does what a link leads to.
    """
    where = store / folder
    if isinstance(where, Prefix):
        for item in where.files():
            if "/c/" in (key := f"{folder}/{item.relative_to(where)}"):
                yield key, item.stamp()[0], 0
        return
    try:
        entries = list(os.scandir(where))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if not entry.name.isdigit():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from lying(store, f"{folder}/{entry.name}")
        elif entry.is_file(follow_symlinks=False):
            seen = entry.stat(follow_symlinks=False)
            yield f"{folder}/{entry.name}", seen.st_size, seen.st_mtime_ns


def _lying(store: Place, folders: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Yield what `lying` does of several folders."""
    yield from chain.from_iterable(at_once(store, lambda folder: list(lying(store, folder)), list(folders)))


def stray(
    store: Place, folders: Iterable[str], what: str, expected: Iterable[str] | None = None, *, but: str | None = None
) -> str | None:
    """Return what is wrong with the chunks of some folders of a store, or None; their content is not read.

    A chunk must be there, of its size, and no other must have been put in its place: where a file was changed since it
    was written, the checksum at its end is looked at.

    Parameters
    ----------
    store, folders
        The store, and folders of it.
    what
        With which they are sealed.
    expected
        Names of all chunks that must be there, where they are not sealed.
    but
        A group that is not in the folders, and whose seals do not count.
    """
    folders = list(folders)
    for folder in folders:
        if _leads_elsewhere(store, folder):
            return f"{folder} is not a folder of its own"
    found = {key: (size, stamp) for key, size, stamp in _lying(store, folders)}
    load.cache_clear()  # a run may have written them anew in another process
    table = load(store, what)
    if table is None:
        lost = next((key for key in expected or () if key not in found), None)
        return f"{lost} is not there as a file" if lost else None
    for row in table:
        key, size, stamp, inner, told = row.tolist()
        name = key.decode()
        if but and name.startswith(f"{but}/"):
            continue
        if name not in found:
            return f"{name} is not there as a file"
        here, changed = found.pop(name)
        if here != size or (changed != stamp and _changed(store, name, inner, (size, told))):
            return f"{name} is not the chunk that was written there"
    more = next(iter(found), None)
    return f"{more} is a chunk where none was written" if more else None


def _changed(store: Place, name: str, inner: int, wanted: tuple[int, int]) -> bool:
    where = store / name
    if isinstance(where, Prefix):  # a request for each chunk: left to who reads it
        return False
    size, _, _, told = seal_of_file(where, inner)
    return (size, told) != wanted


def _leads_elsewhere(store: Place, folder: str) -> bool:
    """Tell whether a folder of a store is a link, or a file, or below one."""
    if isinstance(store, Prefix):
        return False
    where = store
    for part in folder.split("/"):
        where = where / part
        if where.is_symlink() or (where.exists() and not where.is_dir()):
            return True
    return False


def make_room(store: Place, array: str, state: int, depth: int) -> None:
    """Forget the seals of a state of an array that is about to be written anew, and clear its place.

    Parameters
    ----------
    store, array, state
        The store, an array of it, and an index along its first axis.
    depth
        How many axes follow.
    """
    drop(store, of_array(array, state))
    clear(store, f"{array}/c/{state}", depth)


def clear(store: Place, folder: str, depth: int) -> None:
    """Remove what stands in the way of chunks that are about to be written: links, files for folders, and the reverse.

    Parameters
    ----------
    store, folder
        The store, and a folder of it.
    depth
        How many levels below it the chunks lie.
    """
    if isinstance(store, Prefix):
        return
    where = store
    for part in folder.split("/"):
        where = where / part
        if where.is_symlink() or (where.exists() and not where.is_dir()):
            where.unlink()
            return
    _clear(where, depth)


def _clear(folder: Path, depth: int) -> None:
    if not folder.is_dir():
        return
    for entry in list(os.scandir(folder)):
        if not entry.name.isdigit():
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and depth > 1:
            _clear(Path(entry.path), depth - 1)
        elif is_folder:
            shutil.rmtree(entry.path)
        elif depth > 1 or not entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink()
