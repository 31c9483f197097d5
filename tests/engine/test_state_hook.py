"""The user's command for each state: whatever it does, the run goes on, and ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from crackdask.engine.state_hook import StateHook


def hooked(command: str, folder: Path) -> tuple[StateHook, list[str]]:
    said: list[str] = []
    (folder / "out.zarr.work").mkdir()
    return StateHook(command, folder / "out.zarr", said.append), said


def test_commands_that_hang_are_waited_for_together_and_told(tmp_path: Path) -> None:
    hook, said = hooked("echo $$ >> pids; exec sleep 100", tmp_path)
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        hook.finished(["a", "b", "c", "d"], {})
    finally:
        os.chdir(here)
    try:
        began = time.monotonic()
        hook.look(0.5)
        assert time.monotonic() - began < 1.5, "half a second for each of them"
        assert [words.partition(" (")[0] for words in said] == [
            f"{name}: the command for it is still at work" for name in "abcd"
        ]
    finally:
        for pid in (tmp_path / "pids").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        hook.look(20)


@pytest.mark.parametrize("command", ["exit 3", "/no/such/program", "kill -9 $$", "head -c 1000000 /dev/zero; false"])
def test_commands_that_fail_are_told(command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hook, said = hooked(command, tmp_path)
    hook.finished(["a"], {})
    hook.look(20)
    (words,) = said
    assert words.startswith("a: the command for it failed (")
    assert words.endswith("); the run goes on")
    hook.finished(["a"], {})
    hook.look(20)
    assert len(said) == 1, "it is begun once"
