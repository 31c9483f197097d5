"""macOS and Windows, as far as Linux can show them: functions and modules that they lack are taken away."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crackdask.engine.platform import PlatformError, check_can_run
from tests.support.tiny import Tiny, assert_same_store

#: No sched_getaffinity, no /proc, and no copies of processes that have threads or loaded libraries of the system.
MACOS = """
import builtins, io, os, sys
sys.platform = "darwin"
del os.sched_getaffinity
_open = io.open
def opened(file, *words, **more):
    if str(file).startswith("/proc/") and not sys._getframe(1).f_globals["__name__"].startswith("psutil"):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return _open(file, *words, **more)
builtins.open = io.open = opened
"""
#: No fcntl, resource, termios, no fork and its kin, no signals but three, no masks of signals.
WINDOWS = """
import multiprocessing.context, os, signal, sys
sys.platform = "win32"
for name in "fcntl resource termios pwd grp multiprocessing.forkserver multiprocessing.popen_fork".split():
    sys.modules[name] = None
for name in "fork forkpty killpg setsid sched_getaffinity sched_setaffinity getuid geteuid getloadavg uname".split():
    delattr(os, name)
for name in "SIGKILL SIGALRM SIGUSR1 SIGUSR2 SIGHUP pthread_sigmask setitimer alarm sigwait ITIMER_REAL".split():
    delattr(signal, name)
import threadpoolctl
threadpoolctl.ThreadpoolController._load_libraries = lambda self: None  # which asks Windows itself
multiprocessing.get_all_start_methods = lambda: ["spawn"]
multiprocessing.context.DefaultContext.get_all_start_methods = lambda self: ["spawn"]
"""


def there(system: str, code: str, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run code where something is missing; what it imports before that is loaded as Linux loads it.

    Libraries choose by the platform's name what they load of the system, so they are loaded before it changes.
    """
    before = "import atexit, gc; gc.disable()\n"  # as a command does, while it loads and at its end
    before += "import asyncio, ctypes, multiprocessing, pathlib, platform, shutil, socket, subprocess, tempfile, uuid\n"
    before += "import dask, distributed, filelock, numba, pandas, psutil, pyarrow, SimpleITK, tifffile, typer, zarr\n"
    before += "import h5py, hdf5plugin, imagecodecs, rich.console, scipy.ndimage, skimage, xarray\n"
    before += "import matplotlib.backends.backend_agg, matplotlib.pyplot\n"
    before += "gc.freeze(); gc.enable(); atexit.register(gc.freeze)\n"
    program = folder / "there.py"
    program.write_text(f"{before}{system}\nsys.argv[0] = 'crackdask'\nif __name__ == '__main__':\n    {code}\n")
    environment = os.environ | {"COLUMNS": "80", "MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(program), *map(str, words)],
        capture_output=True, text=True, check=False, env=environment, cwd=folder,
    )  # fmt: skip


#: Does the commands that it is given, one after the other, and prints how each ended.
COMMANDS = """import json; from crackdask.cli import app
    for words in json.loads(sys.argv[1]):
        try:
            app(words, prog_name="crackdask")
        except SystemExit as ended:
            print("ended with", ended.code or 0)
"""


def commands(system: str, folder: Path, *lines: tuple[object, ...]) -> tuple[list[str], str, str]:
    """Return how commands ended, and what they said."""
    said = there(system, COMMANDS, folder, json.dumps([[str(word) for word in words] for words in lines]))
    return re.findall(r"^ended with (.+)$", said.stdout, re.MULTILINE), said.stdout, said.stderr


# ---------------------------------------------------------------- macOS


def test_check_and_run_on_macos(tiny: Tiny, finished: Tiny) -> None:
    run = ("run", tiny.recipe, "--store", tiny.store, "--cluster", "threads", "--profile")
    ended, out, err = commands(MACOS, tiny.folder, ("check", tiny.recipe), run)
    assert ended == ["0", "0"], err
    assert f"on {os.cpu_count()} worker" in out
    assert "19 steps done in" in out
    assert_same_store(tiny.store, finished.store)


def test_workers_on_macos_are_no_copies_of_a_process(tmp_path: Path) -> None:
    code = (
        "from crackdask.cluster.launch import connect; from crackdask.cluster.local import start_method;"
        " print(start_method());"
        " held = connect('local', 1, 2**30); executor = held.__enter__();"
        " print([outcome for _, outcome in executor.map(abs, [-3])]); held.__exit__(None, None, None)"
    )
    said = there(MACOS, code, tmp_path)
    assert said.stdout.split() == ["spawn", "[3]"], said.stderr


def test_the_demo_on_macos(tmp_path: Path) -> None:
    code = (
        "import crackdask.cli.demonstration as demo, crackdask.phantom as phantom;"
        " demo.DEMO = phantom.Phantom(shape=(32, 48, 48), states=phantom.states(2), seed=3, max_shift=1.0,"
        " radius_median=5.0, radius_range=(4.0, 7.0));"
        " more = '[register]\\ntransform = \\'none\\'\\n[denoise]\\nmethod = \\'none\\'\\n';"
        " demo.prepare = lambda *words, was=demo.prepare: quickly(was(*words));"
        " quickly = lambda recipe: (recipe.write_text(recipe.read_text() + '\\n' + more), recipe)[1];"
        " from crackdask.cli import main; main()"
    )
    said = there(MACOS, code, tmp_path, "demo", "--store", tmp_path / "demo.zarr", "--cluster", "synchronous")
    assert said.returncode == 0, said.stderr
    assert f"the report is {tmp_path / 'demo-report' / 'report.html'}" in said.stdout


# ---------------------------------------------------------------- Windows


def test_what_writes_a_store_says_on_windows_what_it_needs(tiny: Tiny) -> None:
    before = {path.name for path in (tiny.folder, tiny.recipe)} | {path.name for path in tiny.folder.iterdir()}
    run = ("run", tiny.recipe, "--store", tiny.store)
    ended, _, err = commands(WINDOWS, tiny.folder, run, ("demo",), ("cracks", tiny.store))
    assert ended == ["2", "2", "2"], err
    lines = err.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("error: a run needs Linux or macOS; on Windows use WSL (`wsl --install`")
    assert {path.name for path in tiny.folder.iterdir()} <= before | {"there.py"}


def test_what_reads_a_store_works_on_windows(finished: Tiny, tmp_path: Path) -> None:
    store = finished.store
    code = (
        "import crackdask; from crackdask import figures;"
        f" tree = crackdask.open({str(store)!r}); assert tree['particles'].sizes['particle'] == 3;"
        " crackdask.analyse.damage(tree); print(len(figures.PANELS))"
    )
    said = there(WINDOWS, code, tmp_path)
    assert said.returncode == 0, said.stderr
    ended, _, err = commands(
        WINDOWS, tmp_path, ("status", store), ("report", store, "--to", tmp_path / "report"),
        ("export", store, "--to", tmp_path / "tables"), ("check", finished.recipe), ("run", "--help"),
        ("export", store, "--labels", "--paint", "volume_um3", "--cluster", "synchronous", "--to", tmp_path / "images"),
    )  # fmt: skip
    assert ended == ["0"] * 6, err
    assert (tmp_path / "report" / "report.html").exists()
    assert {path.name for path in (tmp_path / "tables").iterdir()} >= {"particles.parquet", "particles.csv"}
    assert any((tmp_path / "images").iterdir())


def test_here_a_run_can_work() -> None:
    check_can_run()


def test_without_locks_of_files_no_run_can_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(PlatformError, match="needs Linux or macOS"):
        check_can_run()
