"""Stores as files: what differs between two, and copies with their work folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from crackdask.engine.checkpoints import Work


def work_folder(store: Path) -> Path:
    """Return the work folder of a store on a disk."""
    folder = Work.beside(store).folder
    assert isinstance(folder, Path)
    return folder


def files(store: Path) -> dict[str, bytes]:
    """Return every file of a store, without how long its steps took."""
    found = {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    root = json.loads(found["zarr.json"])
    root["attributes"]["steps"] = {name: facts["fingerprint"] for name, facts in root["attributes"]["steps"].items()}
    return found | {"zarr.json": json.dumps(root, sort_keys=True).encode()}


def unlike(found: Path, wanted: Path) -> list[str]:
    """Return the files in which two stores differ."""
    mine, theirs = files(found), files(wanted)
    return [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]


def copied(store: Path, to: Path) -> Path:
    """Copy a store, its links as links, and its work folder."""
    shutil.copytree(store, to, symlinks=True)
    shutil.copytree(work_folder(store), work_folder(to))
    return to
