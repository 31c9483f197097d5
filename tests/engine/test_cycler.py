"""What stands for the cycler's files is asked for often, and read from them once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from crackdask.engine.cycler import Cycler
from crackdask.phantom.cell_record import cell_record, write_mpt
from crackdask.phantom.cell_states import FIVE_STATES
from crackdask.recipe.recipe import load
from crackdask.storage.locations import opened as sound
from tests.support.tiny import Tiny


def test_files_are_read_again_only_where_they_changed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.folder / "cell.mpt"
    write_mpt(cell_record(FIVE_STATES[:2]), path)
    tiny.change("electrochemistry", files=["cell.mpt"])
    read: list[Path] = []

    def opened(path: Any) -> Any:
        read.append(path)
        return sound(path)

    monkeypatch.setattr("crackdask.engine.cycler.opened", opened)

    def told() -> str:
        found = Cycler.of(load(tiny.recipe), tiny.folder, [None, None])
        assert found is not None
        return found.fingerprint()

    first = told()
    assert told() == first
    assert len(read) == 1
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    os.utime(path, ns=(1, 1))
    assert told() != first
    assert len(read) == 2
