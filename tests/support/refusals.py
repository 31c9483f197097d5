"""How a command refuses what it cannot do, and that nothing has suffered once it is mended."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.tiny import Said, Tiny, assert_same_store


def one_line(text: str) -> str:
    """Return a text whose lines are not broken."""
    return re.sub(r"\s+", " ", text)


def check_and_run(tiny: Tiny) -> tuple[list[str | Path], list[str | Path]]:
    """Return the words of the two commands that look at scans."""
    return ["check", tiny.recipe], ["run", tiny.recipe, "--store", tiny.store]


def assert_said(said: Said, code: int, *words: str) -> None:
    """Assert how a command ended, and that its message has these words and is not a traceback."""
    assert said.code == code, (said.code, said.out, said.err)
    assert "Traceback" not in said.err + said.out
    for word in words:
        assert word in one_line(said.err), said.err


def assert_mended(tiny: Tiny, wanted: Path) -> None:
    """Assert that the same command now ends well, with the store of a run that never failed."""
    said = tiny.run()
    assert said.code == 0, said.err
    assert_same_store(tiny.store, wanted)
    assert "nothing to do" in tiny.run().out


def assert_nothing_made(tiny: Tiny) -> None:
    assert not tiny.store.exists()
    assert not tiny.store.with_name("out.zarr.work").exists()
