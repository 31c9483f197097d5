"""Places: a path on a disk or a prefix in object storage, and what the package does with either.

A path keeps all that a disk asks for (flushes, renames); a prefix needs neither, for its objects are written whole or
not at all.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast
from uuid import uuid4

import numpy as np

from crackdask.arrays import Array
from crackdask.storage.bucket import Prefix
from crackdask.storage.service import PlaceError, UnreachableError

if TYPE_CHECKING:
    from zarr.storage import StoreLike

__all__ = ["Place", "PlaceError", "Prefix", "UnreachableError", "place"]

Place = Path | Prefix
Item = TypeVar("Item")
Answer = TypeVar("Answer")
#: Requests that are under way at once.
_AHEAD = 8
#: Elsewhere, on Windows, no folder can be opened, and files are flushed only through a handle that may write.
_UNIX = hasattr(os, "O_DIRECTORY")


def place(name: str | Place) -> Place:
    """Return the place that a path or a URL names.

    >>> place("scans/a").name, place("s3://bucket/scans/a").name
    ('a', 'a')
    """
    if isinstance(name, str):
        return Prefix.of(name) if "://" in name else Path(name)
    return name


def at_home(path: Path) -> Path:
    """Return a path whose ~ is written out.

    Raises
    ------
    PlaceError
        If it begins with the name of a user whom this machine does not know.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise PlaceError(
            f"{path}: {path.parts[0]} is no home folder that this machine knows; write the path out"
        ) from None


def no_file(path: Place) -> str:
    """Say what lies at a path if it is neither a file nor a folder, or nothing; to read such a thing may never end.

    >>> no_file(Path("/dev/null"))
    'a device'
    """
    if isinstance(path, Prefix):
        return ""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "")


def flush(path: Place) -> int:
    """Flush a file or folder to the disk and return its size in bytes; an object is safe since its PUT returned.

    Folders are left alone where the system cannot flush them.
    """
    if isinstance(path, Prefix):
        return 0
    if not _UNIX and path.is_dir():
        return 0
    handle = os.open(path, os.O_RDONLY if _UNIX else os.O_RDWR)
    try:
        os.fsync(handle)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def flush_all(folder: Place) -> None:
    """Flush all that lies in a folder to the disk; a link is part of its folder, and may lead nowhere yet."""
    if isinstance(folder, Path):
        for file in folder.rglob("*"):
            if not file.is_symlink():
                flush(file)


def write_whole(path: Place, data: bytes) -> Place:
    """Write a file so that after any crash it is there whole or not at all; return the place, as `mapped` wants it."""
    if isinstance(path, Prefix):
        return path.write_bytes(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            partial.replace(path)
        except IsADirectoryError:  # which nothing here makes: a file that was damaged
            remove(path)
            partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    flush(path.parent)
    return path


def put(path: str, data: bytes, *, flushed: bool = True) -> os.stat_result:
    """Write a file so that it is there whole or not at all, and flush it; its folder is left to the caller.

    What a writer that is killed leaves is named as zarr names such files. Without `flushed`, a file may be torn after
    the machine itself stopped, as those are that zarr writes.
    """
    partial = Path(f"{path}.{uuid4().hex}.partial")
    try:
        try:
            return _placed(partial, path, data, flushed)
        except (FileNotFoundError, NotADirectoryError):
            partial.parent.mkdir(parents=True, exist_ok=True)
            return _placed(partial, path, data, flushed)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _placed(partial: Path, path: str, data: bytes, flushed: bool) -> os.stat_result:
    with partial.open("xb") as file:
        file.write(data)
        file.flush()
        if flushed:
            os.fsync(file.fileno())
        seen = os.fstat(file.fileno())
    partial.replace(path)
    return seen


def names(folder: Place) -> list[str]:
    """Return the names of what lies in a folder; none if it is not there."""
    if isinstance(folder, Prefix):
        return [entry.name for entry in folder.iterdir()]
    try:
        return [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []


def at_once(where: Place, ask: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """Return the answer about each of some things of a place, asked several at once where each is a request."""
    if not isinstance(where, Prefix):
        return [ask(item) for item in items]
    with ThreadPoolExecutor(_AHEAD) as pool:
        return list(pool.map(ask, items))


def remove(path: Place) -> None:
    """Remove a folder and all that is in it, or what else has its name, if it is there; of a link the link alone."""
    if isinstance(path, Prefix):
        path.remove()
    elif path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def forget(path: Place) -> None:
    """Remove a file, if it is there; or a folder that somebody put in its place."""
    if isinstance(path, Prefix):
        path.unlink()
    elif path.is_dir() and not path.is_symlink():
        remove(path)
    else:
        path.unlink(missing_ok=True)


def beginning(path: Place, count: int) -> bytes:
    """Return the first bytes of a file."""
    if isinstance(path, Prefix):
        return path.beginning(count)
    with path.open("rb") as file:
        return file.read(count)


def opened(path: Place) -> BinaryIO:
    """Open a file for reading."""
    return cast("BinaryIO", path.open() if isinstance(path, Prefix) else path.open("rb"))


def fetched(path: Place) -> BinaryIO:
    """Open a file of which most will be read: an object is fetched by one request."""
    return io.BytesIO(path.read_bytes()) if isinstance(path, Prefix) else path.open("rb")


def stamps(files: Iterable[tuple[str, Place]]) -> list[tuple[str, int, int | str]]:
    """Return names, sizes and what changes when a file does (time of modification, or ETag), in order."""
    told: list[tuple[str, int, int | str]] = []
    for name, path in sorted(files):
        if isinstance(path, Prefix):
            told.append((name, *path.stamp()))
        else:
            seen = path.stat()
            told.append((name, seen.st_size, seen.st_mtime_ns))
    return told


def mapped(path: Place) -> Array:
    """Return the array in a ``.npy`` file without loading all of it; from a bucket, the one that was seen there."""
    if isinstance(path, Prefix):
        return _copied(path, path.stamp())
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@lru_cache(maxsize=16)
def _copied(path: Prefix, stamp: tuple[int, str]) -> Array:
    """Fetch an array once for all blocks of a worker, into a file without a name: memory is for voxels."""
    if not _UNIX:  # Windows neither opens such a file twice nor removes it while it is mapped
        return cast("Array", np.load(io.BytesIO(path.read_bytes()), allow_pickle=False))
    with tempfile.NamedTemporaryFile(suffix=".npy") as copy:
        copy.write(path.read_bytes())
        copy.flush()
        array: Array = np.load(copy.name, mmap_mode="r", allow_pickle=False)
    return array


def zarr_at(path: Place, *, read_only: bool = False, emptied: Iterable[str] = ()) -> StoreLike:
    """Return what zarr and xarray open at a place.

    Parameters
    ----------
    path, read_only
        The place, and whether nothing is to be written there.
    emptied
        What was removed below, so that there is only what is written from now on; "" is everything.
    """
    if isinstance(path, Prefix):
        from crackdask.storage.zarr_bucket import Chunks, Emptied

        return Emptied.below(path, emptied) if emptied else Chunks.at(path, read_only=read_only)
    return str(path)
