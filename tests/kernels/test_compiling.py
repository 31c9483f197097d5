"""Kernels are compiled once for all processes of a machine, whatever becomes of the one that compiles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

from crackdask.kernels import compiling

KERNEL = """
import sys, time
from pathlib import Path
import numpy as np
from numba.core import event
from crackdask.kernels.compiling import compiled

@compiled
def inner(a):
    return a.sum() + 1.0

@compiled
def outer(a):
    total = 0.0
    for i in range(a.size):
        total += inner(a[: i + 1]) * np.sqrt(a[i])
    return total

class Compiled(event.Listener):
    own = 0
    def on_start(self, happens):
        self.own += happens.data["dispatcher"] in (inner, outer)
    def on_end(self, happens):
        pass
"""
TOGETHER = (
    KERNEL
    + """
listener = Compiled()
event.register("numba:compile", listener)
here = Path(sys.argv[1])
(here / sys.argv[2]).touch()
while len(list(here.glob("ready-*"))) < 3:
    time.sleep(0.001)
print(outer(np.arange(4.0)), listener.own)
"""
)
INNER = """
import gc
import numpy as np
from numba.core import event
from crackdask.kernels.compiling import compiled, load

@compiled
def inner(a, refused):
    for i in range(a.size):
        if a[i] == refused:
            raise ValueError("no", refused)
    return a.sum()

@compiled
def outer(a, refused):
    return 2.0 * inner(a, refused)

class Compiled(event.Listener):
    own = 0
    def on_start(self, happens):
        self.own += happens.data["dispatcher"] in (outer, inner)
    def on_end(self, happens):
        pass

def said(kernel, *words):
    try:
        print(kernel(*words))
    except ValueError as error:
        print(*error.args)

a = np.arange(3.0)
load()
listener = Compiled()
event.register("numba:compile", listener)
said(outer, a, 7.0)
said(outer, np.array([7.0]), 7.0)
said(outer, a, 7.0)
said(inner, np.array([2.0]), 7.0)
said(inner, np.array([8.0]), 8.0)
gc.collect()
said(outer, np.array([9.0]), 9.0)
print(listener.own)
"""
SIGNATURES = """
found = sorted(f"{k.__module__}.{k.__qualname__} {s}" for k in compiling._kernels for s in k.signatures)
print(json.dumps(found))
"""
WARM = """
import json, sys
from pathlib import Path
from crackdask.engine.warm_up import warm_up
from crackdask.kernels import compiling
warm_up(Path(sys.argv[1]), ("uint16",))
"""
RUN = """
import json, sys
from pathlib import Path
from crackdask.kernels import compiling
from tests.support.tiny import Tiny
tiny = Tiny(Path(sys.argv[1]))
tiny.change("denoise", patch_distance=5)
said = tiny.run()
assert said.code == 0, said.err
"""


def child(code: str, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=-1, stderr=-1, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_of_processes_that_want_a_kernel_at_once_one_compiles_it(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(TOGETHER)  # a kernel has a file
    code = "import sys; sys.path.insert(0, sys.argv[1]); import module"
    env = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    running = [child(code, str(tmp_path), f"ready-{n}", env=env) for n in range(3)]
    results = [said(process).split() for process in running]
    assert len({value for value, _ in results}) == 1
    apart = numba.version_info.short > compiling.NEWEST_KNOWN
    assert sorted(int(count) for _, count in results) == [0, 0, 2 if apart else 1]  # the inner one is a part of it


@pytest.mark.parametrize("newest", [compiling.NEWEST_KNOWN, (0, 0)])
def test_a_kernel_that_kernels_call_may_be_called_from_python_too(tmp_path: Path, newest: tuple[int, int]) -> None:
    """So it is with a numba that is newer than what is known of it."""
    (tmp_path / "module.py").write_text(INNER)
    known = f"from crackdask.kernels import compiling; compiling.NEWEST_KNOWN = {newest}"
    code = f"import sys; {known}; sys.path.insert(0, sys.argv[1]); import module"
    env = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    wanted = ["6.0", "no 7.0", "6.0", "2.0", "no 8.0", "no 9.0"]
    for compiled in (["2"], ["0"]):  # the second process finds both in their files
        assert said(child(code, str(tmp_path), env=env)).splitlines() == wanted + compiled


def test_a_compiler_that_is_killed_keeps_nobody_waiting(tmp_path: Path) -> None:
    file = tmp_path / "kernel.lock"
    code = (
        "import sys, time; from pathlib import Path; from crackdask.kernels import compiling\n"
        "with compiling._turn(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    holder = child(code, str(file))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waiter = child(code.replace("time.sleep(600)", "pass"), str(file))
    time.sleep(0.5)
    assert waiter.poll() is None
    holder.send_signal(signal.SIGKILL)
    assert said(waiter) == "held\n"
    holder.communicate()


def test_a_system_whose_locks_outlive_their_holders_has_none(tmp_path: Path) -> None:
    """There filelock makes a file and waits until it is gone; that of a killed holder stays."""
    file = tmp_path / "kernel.lock"
    file.touch()
    code = (
        "import sys; sys.modules['fcntl'] = None; import filelock; from pathlib import Path\n"
        "from crackdask.kernels import compiling\n"
        "with compiling._turn(Path(sys.argv[1])): print(issubclass(filelock.FileLock, filelock.SoftFileLock))"
    )
    assert said(child(code, str(file))) == "True\n"


def test_a_cache_that_cannot_be_written_is_copied(open_folder: Path) -> None:
    cache, temporary = open_folder / "kernels", open_folder / "temporary"
    (cache / "room_1").mkdir(parents=True)
    (cache / "room_1" / "kernel.nbi").write_bytes(b"machine code")
    temporary.mkdir()
    temporary.chmod(0o777)
    for folder in (cache / "room_1", cache):
        folder.chmod(0o555)
    code = (
        "import os, sys, tempfile; from numba import config; from crackdask.kernels import compiling\n"
        "config.CACHE_DIR, tempfile.tempdir = sys.argv[1:]\n"
        "if os.geteuid() == 0: os.seteuid(65534)  # permissions do not bind root\n"
        "words = compiling._settle(); print(compiling.folder()); print(words)"
    )
    first, second = (said(child(code, str(cache), str(temporary))).splitlines() for _ in range(2))
    assert first == second
    place = Path(first[0])
    assert place.parent == temporary
    assert place.stat().st_mode & 0o077 == 0
    assert (place / "room_1").stat().st_mode & 0o700 == 0o700
    assert (place / "room_1" / "kernel.nbi").read_bytes() == b"machine code"
    assert first[1] == "None"  # as an image has it: nothing to tell
    for folder in (cache, cache / "room_1"):
        folder.chmod(0o755)


def test_a_cache_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "kernels"), "TMPDIR": str(tmp_path)}
    code = "from crackdask.kernels import compiling; print(compiling.folder()); print(compiling.fallback())"
    folder, words = said(child(code, env=env)).splitlines()
    assert Path(folder).parent == tmp_path
    wanted = f"{tmp_path}/file/kernels cannot be written: compiled kernels are in {folder}; "
    assert words == wanted + "NUMBA_CACHE_DIR names a folder that lasts"


def test_a_folder_of_somebody_else_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = compiling._private_folder()
    assert compiling._private_folder() == mine
    mine.chmod(0o777)
    other = compiling._private_folder()
    assert other != mine
    assert other.stat().st_mode & 0o077 == 0


def test_what_is_warmed_up_is_what_a_run_needs(tmp_path: Path) -> None:
    ready = set(json.loads(said(child(WARM + SIGNATURES, str(tmp_path)))))
    needed = set(json.loads(said(child(RUN + SIGNATURES, str(tmp_path / "run"))).splitlines()[-1]))
    assert len(needed) > 20
    assert needed <= ready, needed - ready
