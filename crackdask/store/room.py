"""Room for chunks that are about to be written anew, on a disk: whatever stands in their way goes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from crackdask.storage.locations import Place, Prefix
from crackdask.store import seals


def make_room(store: Place, array: str, state: int, depth: int) -> None:
    """Forget the seals of a state of an array that is about to be written anew, and clear its place.

    Parameters
    ----------
    store, array, state
        The store, an array of it, and an index along its first axis.
    depth
        How many axes follow.
    """
    seals.drop(store, seals.of_array(array, state))
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
