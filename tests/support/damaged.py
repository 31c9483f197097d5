"""Ways to damage a store, and what must be said of it and done to it then."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

import crackdask
from crackdask.store.root import StoreError
from tests.support.store_files import unlike
from tests.support.tiny import Said, Tiny
from tests.support.tiny import crackdask as command

GREY, LABEL = "volumes/grey/c/0/0/0/0", "volumes/label/c/1/0/0/0"
VOXELS, Z = "particles/voxels/c/0/0", "volumes/z/c/0"


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def lost(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nothing")


def link_to_another(path: Path) -> None:
    """Make it a link to another chunk, which is sound."""
    chunks, content = next(folder for folder in path.parents if folder.name == "c"), path.read_bytes()
    other = next(p for p in sorted(chunks.rglob("*")) if p.is_file() and p.read_bytes() != content)
    path.unlink()
    path.symlink_to(other)


def flip(path: Path) -> None:
    """Change content alone, as a disk does: neither the size nor the time tells."""
    seen, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def folder_to_file(path: Path) -> None:
    """Replace the folder of all chunks by an empty file."""
    chunks = next(folder for folder in path.parents if folder.name == "c")
    shutil.rmtree(chunks)
    chunks.touch()


def folder_to_link(path: Path) -> None:
    """Replace the folder of the chunk by a link to a copy of it."""
    path.parent.rename(path.parent.with_name("kept"))
    path.parent.symlink_to("kept")


def line(said: Said) -> str:
    """Return the one line in which a command refused."""
    assert said.code == 2, (said.code, said.out, said.err)
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("error: ")
    return said.err.strip()


def read_all(store: Path) -> None:
    """Read every number of a store as a notebook does."""
    for node in crackdask.open(store).subtree:
        node.to_dataset().load()


def assert_read_by_nobody(tiny: Tiny, where: str, *, labels: bool = False) -> str:
    """Assert that what reads a place of the store says in one line that it is damaged; return the last line."""
    with pytest.raises(StoreError) as caught:
        read_all(tiny.store)
    assert where in str(caught.value)
    words: list[str | Path] = ["export", tiny.store, "--to", tiny.folder / "out", *(["--labels"] if labels else [])]
    said = line(command(*words))
    assert where in said
    return said


def follow(said: str, tiny: Tiny) -> None:
    """Do what an error tells to do."""
    delete = re.search(r"; to have it made anew, remove (\S+) and run again$", said)
    if delete:
        path = Path(delete[1])
        assert path.is_relative_to(tiny.folder)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return
    if remove := re.search(r"or remove (\S+), and `crackdask run", said):
        shutil.rmtree(remove[1])
        return
    assert f"`crackdask run RECIPE --store {tiny.store}` " in said, said


def assert_mended(tiny: Tiny, wanted: Tiny) -> Said:
    """Assert that a run mends the store to the same bytes, after which nobody has anything to say."""
    said = tiny.run()
    assert said.code == 0, said.err
    assert unlike(tiny.store, wanted.store) == []
    assert "nothing to do" in tiny.run().out
    checked = command("status", tiny.store, "--verify")
    assert checked.code == 0, checked.out
    assert "(tiny): complete" in checked.out
    read_all(tiny.store)
    return said


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}
