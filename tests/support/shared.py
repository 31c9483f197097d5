"""What is made once and looked at by many tests, also when several processes test at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first to ask fills; the others wait for it.

    Nobody may change what lies there: a test that would takes a copy.
    """
    base = factory.getbasetemp()
    if base.name.startswith("popen-"):  # of one of several processes, beside those of the others
        base = base.parent
    folder, whole = base / f"shared-{name}", base / f"shared-{name}.whole"
    with FileLock(base / f"shared-{name}.lock"):
        if not whole.exists():
            if folder.exists():
                shutil.rmtree(folder)  # it failed for another process
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder
