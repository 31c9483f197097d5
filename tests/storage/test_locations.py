"""Files and folders on systems that lack what Unix has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crackdask.storage import locations

#: Takes away what Windows does not have, before anything of the package is loaded.
WITHOUT = """
import os, signal, sys, time
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for owner, gone in ((os, ("O_DIRECTORY", "sched_getaffinity", "fork", "getuid", "sysconf")),
                    (signal, ("pthread_kill", "pthread_sigmask", "SIGALRM", "SIGUSR2")), (time, ("clock_gettime",))):
    for name in gone:
        if hasattr(owner, name):
            delattr(owner, name)
unix_open, unix_fsync = os.open, os.fsync
def opened(path, flags, *rest, **more):
    if os.path.isdir(path):
        raise PermissionError(13, "folders are not opened", str(path))
    return unix_open(path, flags, *rest, **more)
def flushed(handle):
    os.write(handle, b"")  # flushing needs a handle that may write
    unix_fsync(handle)
"""

ROOMS = """
import importlib, pkgutil
import crackdask
for room in ("kernels", "storage", "store", "sources", "phantom"):
    package = importlib.import_module(f"crackdask.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"crackdask.{room}.{module.name}")
"""

WRITTEN_AND_READ = """
import numpy as np
from pathlib import Path
from crackdask.grid import Box
from crackdask.sources import open_source
from crackdask.storage import locations
from crackdask.store import volumes
from crackdask.store.arrays import Axes, Compression, VolumeLayout
from crackdask.store.create import create
os.open, os.fsync = opened, flushed
here = Path(sys.argv[1])
axes = Axes(("a",), (3.0,), ("charge",), (0,), (4, 6, 8), (1.0, 1.0, 1.0))
create(here / "a.zarr", axes, {"grey": "uint8"}, VolumeLayout((4, 4, 4), None, Compression()), {})
whole, voxels = Box.whole((4, 6, 8)), np.arange(192, dtype=np.uint8).reshape(4, 6, 8)
volume = volumes.volume(here / "a.zarr", "grey", 0)
assert volume.write(whole, voxels).bytes > 0
assert (volume.read(whole) == voxels).all()
np.save(here / "scan.npy", voxels)
assert (open_source("scan.npy", here).read(whole) == voxels).all()
assert (locations.mapped(here / "scan.npy") == voxels).all()
locations.flush_all(here)
"""


@pytest.mark.parametrize("what", [ROOMS, WRITTEN_AND_READ], ids=["import", "write and read"])
def test_rooms_of_files_and_kernels_do_without_what_only_unix_has(what: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + what, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr


def test_folders_are_flushed_where_the_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append((os.fstat(handle).st_dev, os.fstat(handle).st_ino)))
    locations.write_whole(tmp_path / "record", b"done")
    seen = [(entry.stat().st_dev, entry.stat().st_ino) for entry in (tmp_path / "record", tmp_path)]
    assert flushed == seen


@pytest.mark.parametrize("what", ["file", "folder", "link to a folder", "link to nowhere", "nothing"])
def test_what_is_in_the_way_is_forgotten_and_what_a_link_leads_to_is_not(what: str, tmp_path: Path) -> None:
    there, kept = tmp_path / "there", tmp_path / "kept"
    (kept / "in").mkdir(parents=True)
    if what == "file":
        there.write_text("3")
    elif what == "folder":
        (there / "in").mkdir(parents=True)
    elif what != "nothing":
        there.symlink_to(kept if "folder" in what else tmp_path / "gone")
    locations.forget(there)
    assert not there.exists()
    assert not there.is_symlink()
    assert (kept / "in").is_dir()
