"""What can be wrong with disks and permissions: each is told in words, and once it is mended nothing has suffered."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zarr

from crackdask.engine.checkpoints import Work
from crackdask.phantom.projected_scans import write_projections
from tests.support.projected import PROJECTED
from tests.support.refusals import assert_mended, assert_said
from tests.support.tiny import Tiny, crackdask


def mount(place: Path, *options: str) -> None:
    if os.getuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a file system of its own for this test")
    place.mkdir(exist_ok=True)
    found = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"no permission to mount a file system here: {found.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of half a megabyte."""
    place = tmp_path / "disk"
    mount(place, "-t", "tmpfs", "-o", "size=512k", "tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("cluster", ["synchronous", "threads"])
def test_a_full_disk(tiny: Tiny, finished: Tiny, small_disk: Path, cluster: str) -> None:
    tiny.store = small_disk / "out.zarr"
    said = tiny.run("--cluster", cluster)
    assert_said(said, 1, "the disk is full", "make room, then run the same command again", "finished blocks are kept")
    assert said.out.count("is tried again") == 0
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert_mended(tiny, finished.store)


def test_a_disk_that_is_full_before_all_projections_are_sorted(small_disk: Path, tmp_path: Path) -> None:
    recipe = write_projections(PROJECTED, tmp_path / "scans")
    run = ("run", recipe, "--until", "reconstruct", "--cluster", "synchronous", "--store")
    subprocess.run(["mount", "-o", "remount,size=256k", str(small_disk)], check=True)
    said = crackdask(*run, small_disk / "out.zarr")
    assert_said(said, 1, "the disk is full", "make room, then run the same command again")
    work = Work.beside(small_disk / "out.zarr")
    chunks = {
        name: sum(path.is_file() for path in Path(str(work.volume(name, 0) / "c")).rglob("*"))
        for name in ("sinograms", "tomogram")
    }
    assert chunks["sinograms"] < 4
    assert chunks["tomogram"] == 0
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    tomograms = []
    for store in (small_disk / "out.zarr", tmp_path / "undisturbed.zarr"):
        assert crackdask(*run, store).code == 0
        tomograms.append(np.asarray(zarr.open_array(str(Work.beside(store).volume("tomogram", 0)))[...]))
    first, second = tomograms
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) > 1000


def test_a_read_only_disk(tiny: Tiny, finished: Tiny, small_disk: Path) -> None:
    tiny.store = small_disk / "out.zarr"
    subprocess.run(["mount", "-o", "remount,size=64m,ro", str(small_disk)], check=True)
    assert_said(tiny.run(), 2, "cannot be written: the disk is read-only; choose a place you may write to")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_mended(tiny, finished.store)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "complete" in crackdask("status", tiny.store).out
    assert crackdask("export", tiny.store, "--to", tiny.folder / "tables").code == 0
    assert_said(crackdask("export", tiny.store), 2, "the disk is read-only")
    tiny.change("mask", min_island=60)
    assert_said(tiny.run(), 2, "the disk is read-only")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user whom permissions bind, for they do not bind root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Return a folder that anybody can enter (pytest's own are closed to others)."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


def test_no_permission(open_place: Path, finished: Tiny) -> None:
    tiny = Tiny(open_place)
    closed = open_place / "closed"
    closed.mkdir(mode=0o555)
    tiny.store, recipe = closed / "out.zarr", tiny.recipe
    with nobody():
        said = crackdask("run", recipe, "--store", tiny.store, "--cluster", "synchronous")
    assert_said(said, 2, f"no permission: {closed}", "choose a place you may write to")
    with nobody():
        said = crackdask("init", open_place / "scans", "-o", closed / "recipe.toml")
    assert_said(said, 2, f"no permission: {closed}/recipe.toml")
    recipe.chmod(0o000)
    with nobody():
        said = crackdask("check", recipe)
    assert_said(said, 2, f"the recipe {recipe} cannot be read: Permission denied")
    recipe.chmod(0o644)
    slice_7 = open_place / "scans/b/slice_0007.tif"
    slice_7.chmod(0o000)
    with nobody():
        said = crackdask("check", recipe)
    assert_said(said, 2, f"{slice_7}: no permission to read it")
    slice_7.chmod(0o644)
    closed.chmod(0o755)
    assert_mended(tiny, finished.store)


def test_a_store_that_may_only_be_read(open_place: Path) -> None:
    tiny = Tiny(open_place)
    assert tiny.run().code == 0
    recipe = tiny.recipe
    with nobody():
        assert "complete" in crackdask("status", tiny.store).out
        said = crackdask("run", recipe, "--store", tiny.store, "--cluster", "synchronous")
    assert_said(said, 2, "no permission: ", "choose a place you may write to")
