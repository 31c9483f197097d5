"""Reading a store, its analysis, figures, report and export ask for nothing that only Unix has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.tiny import Tiny

#: Loads other libraries, which know where they are; garbage is looked for neither then nor at the end.
LOADED = """
import atexit, gc, os, signal, subprocess, sys
gc.disable()
import dask.array, filelock, matplotlib.figure, numba, pandas, pyarrow.parquet, pydantic, scipy.ndimage
import skimage.measure, skimage.morphology, tifffile, xarray, xlsxwriter, zarr
gc.freeze()
gc.enable()
atexit.register(gc.freeze)
"""
#: Goes on in a copy of the process, which knows nothing of the others, for each of some words; ends where one fails.
IN_COPIES = """
for words in sys.argv[1:]:
    if copy := os.fork():
        if code := os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]):
            sys.exit(f"{words}: ended with {code}")
    else:
        break
else:
    sys.exit()
"""
#: Takes away modules and functions that Windows lacks.
WITHOUT_UNIX = """
sys.modules.update(dict.fromkeys(("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog")))
for name in ("sched_getaffinity", "fork", "getuid", "geteuid", "getpgid", "killpg", "setsid", "getloadavg"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "pthread_sigmask", "sigwait"):
    delattr(signal, name)
"""


def run(words: str, *arguments: str | Path, before: str = "") -> str:
    child = [sys.executable, "-W", "ignore", "-c", LOADED + before + WITHOUT_UNIX + words, *map(str, arguments)]
    said = subprocess.run(child, capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_imports_without_unix() -> None:
    """Each in a copy of one process, in which other libraries are there and nothing of this package is."""
    imports = (
        "import crackdask; crackdask.open",
        "from crackdask import analyse, cracks",
        "from crackdask import figures",
        "from crackdask.report.page import report",
        "from crackdask import export",
    )
    said = run("exec(words); print(words, flush=True)", *imports, before=IN_COPIES)
    assert said.splitlines() == list(imports)


def test_what_runs_blocks_is_not_imported_to_read() -> None:
    said = run(
        "import crackdask, crackdask.export, crackdask.figures, crackdask.report.page\n"
        "crackdask.open, crackdask.analyse\n"
        "print(*sorted(n for n in sys.modules if n == 'distributed' or n.startswith('crackdask.engine')))"
    )
    assert said.split() == []


def test_a_store_is_read_without_unix(finished: Tiny, tmp_path: Path) -> None:
    said = run(
        "from pathlib import Path; import crackdask; from crackdask.export import export_labels, export_tables\n"
        "from crackdask.report.page import report\n"
        "store, folder = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "print(crackdask.open(store)['particles'].sizes['particle'])\n"
        "export_tables(store, folder, ['particles']); export_labels(store, folder); report(store, folder)",
        finished.store,
        tmp_path,
    )
    assert int(said) > 0
    assert {path.name for path in tmp_path.iterdir()} >= {"particles.csv", "labels", "report.html"}
