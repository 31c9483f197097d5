"""Disks of their own for the fault suite: small ones, and ones that cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mounted(*options: str | Path) -> None:
    """Mount something, or skip and say what is missing."""
    if os.getuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a file system of its own for this test")
    found = subprocess.run(["mount", *map(str, options)], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"no file system can be mounted here ({' '.join(map(str, options))}): {found.stderr.strip()}")


def unmount(place: Path) -> None:
    # Lazily: what still holds it open ends with the test.
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def small_disk(place: Path, kind: str, megabytes: int) -> Iterator[Path]:
    """Have a small file system of a kind: ext4 in a file, or tmpfs."""
    place.mkdir()
    if kind == "tmpfs":
        mounted("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place)
    else:
        image = place.with_suffix(".image")
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        if not shutil.which(f"mkfs.{kind}"):
            pytest.skip(f"mkfs.{kind} is not installed")
        subprocess.run([f"mkfs.{kind}", "-q", "-m", "0", str(image)], check=True, timeout=60)
        mounted("-o", "loop", image, place)
    try:
        yield place
    finally:
        unmount(place)


@contextmanager
def read_only(folder: Path, place: Path) -> Iterator[None]:
    """Have a folder that cannot be written, not even by root, seen at a place (that may be its own)."""
    place.mkdir(exist_ok=True)
    mounted("--bind", folder, place)
    try:
        mounted("-o", "remount,bind,ro", place)
        yield
    finally:
        unmount(place)
