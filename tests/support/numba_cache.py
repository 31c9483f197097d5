"""Compiled kernels that last from one run of the tests to the next, whichever folder the package was cloned into.

Imported before numba, which reads where its cache lies when it is imported; processes that tests start inherit it.

numba asks of a cached kernel only whether its own file is as it was. A kernel that calls one of another file holds a
copy of it, so here a cache belongs to the sources of all kernels together, and to the numba, Python and processor that
made the machine code. numba names the folder of a cache by where the sources lie: links lead from there to it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

PACKAGE = Path(__file__).parents[2] / "crackdask"
#: Caches of other sources that are kept: those of a few branches.
KEPT = 4


def compiled() -> dict[Path, bytes]:
    """Return the sources that numba has to do with, in their order."""
    sources = {path: path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))}
    return {path: content for path, content in sources.items() if b"compiling" in content or b"numba" in content}


def key(sources: Mapping[Path, bytes]) -> str:
    """Return what compiled kernels depend on, as a digest."""
    made_of = [version("numba"), version("llvmlite"), sys.version, platform.platform(), _processor()]
    digest = hashlib.sha256("\n".join(made_of).encode())
    for path, content in sources.items():
        digest.update(f"\n{path.relative_to(PACKAGE)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Return the name of the processor and what it can do."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    wanted = ("model name", "flags", "CPU part", "Features")
    return "\n".join(sorted({line for line in cpuinfo.read_text().splitlines() if line.startswith(wanted)}))


def use() -> None:
    """Have numba keep its compiled kernels in the user's cache folder, unless the user says where."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crackdask-tests"
    sources = compiled()
    cache = home / f"numba-{key(sources)}"
    try:
        for folder in {path.parent for path in sources}:
            _lead(folder, cache)
        os.utime(cache)
        _forget_others(home)
    except OSError:
        return  # a home that cannot be written: numba then keeps them beside the sources
    os.environ["NUMBA_CACHE_DIR"] = str(cache)


def _lead(folder: Path, cache: Path) -> None:
    """Make a link to the kernels of a room where numba will look for those of its folder here."""
    kernels = cache / ".".join(("crackdask", *folder.relative_to(PACKAGE).parts))
    kernels.mkdir(parents=True, exist_ok=True)
    link = cache / f"{folder.name}_{hashlib.sha1(str(folder).encode()).hexdigest()}"
    if not link.exists():
        fresh = link.with_suffix(f".{os.getpid()}")
        fresh.symlink_to(kernels.name)
        fresh.replace(link)


def _forget_others(home: Path) -> None:
    for old in sorted(home.glob("numba-*"), key=lambda path: -path.stat().st_mtime)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def one_writer_at_a_time() -> None:
    """Keep processes that compile one kernel for several types from taking one file for two of them.

    numba chooses the name of a file from an index that another process may be about to write.
    """
    from numba.core.caching import IndexDataCacheFile

    save = IndexDataCacheFile.save

    def alone(self: Any, key: Any, data: Any, save: Callable[[Any, Any, Any], None] = save) -> None:
        folder = Path(self._cache_path)
        with FileLock(folder / "lock"):
            save(self, key, data)

    IndexDataCacheFile.save = alone


use()
