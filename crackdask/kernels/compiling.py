"""How kernels become machine code: once for all processes of a machine, into a cache that can be written.

numba keeps what it compiled in files, but each of several processes that want a kernel at once compiles it. Here one of
them does, and the others wait for its file. Where none of numba's places for files can be written, they lie in a
temporary folder.

numba itself is loaded with the first kernel that is called: commands that call none are there in half the time. Until
then a `Late` stands for each kernel; then all of them give way to what numba knows.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial, update_wrapper
from pathlib import Path
from threading import RLock
from typing import Any

from filelock import FileLock, Timeout

from crackdask.lazy_import import uncollected

#: Seconds that another process may take for a kernel, until this one compiles it too.
_LONGEST = 300.0
#: The newest numba with which `inner_kernels` was tried.
NEWEST_KNOWN = (0, 68)
#: All that were ever decorated here.
_kernels: list[Any] = []
#: The kernel that is being compiled because Python calls it, guarded by numba's lock.
_outer: list[Any] = []
#: What still stands for something that takes numba.
_late: list[Late] = []
_loading = RLock()


class Late:
    """What stands in a module for something that takes numba to make, until a kernel is first called.

    Attributes
    ----------
    make
        Makes it.
    py_func
        The function that a kernel is made of, as numba's kernels have it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.py_func: Callable[..., Any] | None = None
        self._made: Any = None
        with _loading:
            _late.append(self)

    def made(self) -> Any:
        """Return what it stands for; all others are made with it, for kernels call each other."""
        load()
        return self._made

    def __call__(self, *args: Any) -> Any:
        """Call what it stands for."""
        return self.made()(*args)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.made(), name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.__module__, self.__qualname__)


def _named(module: str, name: str) -> Any:
    """Return a kernel in another process, by where it lies."""
    return getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name)


def load() -> None:
    """Have numba know all kernels that are there, each in its place in the modules that name it."""
    if not _late:
        return
    with _loading:
        late = _late[:]
        _settle_once()
        for each in late:
            each._made = each.make()
        for module in list(sys.modules.values()):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if type(value) is Late and value._made is not None:
                    setattr(module, name, value._made)
        del _late[: len(late)]  # last: until then other threads wait


def compiled(
    function: Callable[..., Any] | None = None,
    /,
    *,
    error_model: str = "python",
    inline: str = "never",
    boundscheck: bool | None = None,
    apart: bool = False,
) -> Any:
    """Compile a kernel, which lets go of the interpreter's lock, when it is first called with arguments of some types.

    Parameters
    ----------
    function
        The kernel, where the decorator has no parameters.
    error_model
        "numpy" leaves out the test whether a divisor is 0.
    inline
        "always" puts its statements into each caller before anything is compiled.
    boundscheck
        False leaves indices unchecked, even if NUMBA_BOUNDSCHECK asks for it.
    apart
        True optimises it before it becomes a part of a kernel that calls it, and not only with that: a loop may become
        vectors by itself, and not among all else there. It takes longer to compile; which is faster, measuring tells.
    """
    if function is None:
        return partial(compiled, error_model=error_model, inline=inline, boundscheck=boundscheck, apart=apart)
    options = {"error_model": error_model, "inline": inline, "boundscheck": boundscheck}
    kernel = Late(partial(_kernel, function, options, apart))
    update_wrapper(kernel, function)
    kernel.py_func = function
    return kernel


def _kernel(function: Callable[..., Any], options: dict[str, Any], apart: bool) -> Any:
    from numba import njit

    kernel = njit(nogil=True, cache=True, no_cfunc_wrapper=True, **options)(function)
    if hasattr(kernel, "compile"):  # not where NUMBA_DISABLE_JIT leaves it as it is
        _kernels.append(kernel)
        kernel.compile = partial(_compile_once, kernel, kernel.compile, apart)
    return kernel


def read_only(array: Any) -> Any:
    """Return a view that cannot be written to: numba compiles apart for arrays that can and for those that cannot.

    >>> import numpy as np
    >>> read_only(np.zeros(1)).flags.writeable
    False
    """
    view = array.view()
    view.flags.writeable = False
    return view


def is_compiled(module: str) -> bool:
    """Tell whether the cache holds a kernel of a module, as its source now is, for arguments of some types."""
    load()
    own = [kernel for kernel in _kernels if kernel.__module__ == module]
    try:
        return not own or any(kernel._cache._cache_file._load_index() for kernel in own)
    except OSError:  # what may not be read is of no use
        return False


def folder() -> Path:
    """Return where the package's kernels are kept."""
    from numba import config
    from numba.core.caching import FunctionCache

    _settle_once()
    return Path(config.CACHE_DIR or FunctionCache(_settle).cache_path)


def fallback() -> str | None:
    """Return what a user should know where compiled kernels had to go to a temporary folder."""
    return _settle_once()


def _compile_once(kernel: Any, compile_: Callable[[Any], Any], apart: bool, signature: Any) -> Any:
    """Compile a kernel, or load what another process compiled; who comes second waits for the first.

    Kernels that it calls are compiled on the way, as a part of it, and neither locked nor kept. numba's lock of this
    process is taken first, as numba itself would take it between the two: threads must not take them in another order.
    The system lets go of the lock of a process that ends.
    """
    from numba.core.compiler_lock import global_compiler_lock

    inner = _inner_kernels()
    with global_compiler_lock:
        if inner and _outer:
            return inner.compile_inner(kernel, signature, apart)
        if inner:
            inner.forget_inner(kernel, signature)
        lock = Path(kernel._cache.cache_path) / f"{kernel.__module__}.{kernel.py_func.__qualname__}.lock"
        with _turn(lock), uncollected():
            _outer.append(kernel)
            try:
                entry = compile_(signature)
            finally:
                _outer.pop()
        if inner:
            inner.set_environments(kernel, signature)
        return entry


def _inner_kernels() -> Any:
    """Return what compiles kernels for kernels, or None with a numba that is newer than those which it knows.

    It takes parts of numba that are nobody else's business; without it, compiling takes longer and does the same.
    """
    from numba import version_info

    if version_info.short > NEWEST_KNOWN:
        return None
    from crackdask.kernels import inner_kernels

    return inner_kernels


@contextmanager
def _turn(file: Path) -> Iterator[None]:
    """Hold a lock; where there can be none, each process compiles for itself, as numba would have it.

    A lock that is but a file is none: it stays when its holder is killed.
    """
    if any(kind.__name__ == "SoftFileLock" for kind in FileLock.__mro__):
        yield
        return
    lock = FileLock(file)
    try:
        lock.acquire(timeout=_LONGEST)
    except (OSError, NotImplementedError, Timeout):
        yield
        return
    try:
        yield
    finally:
        lock.release()


@lru_cache(maxsize=1)
def _settle_once() -> str | None:
    return _settle()


def _settle() -> str | None:
    """See to it that there is a cache, and return what is to be said of it.

    A cache that was named and cannot be written, such as that of an image, is copied: what it holds need not be
    compiled again, and there is nothing to say. Processes that this one starts find the same folder.
    """
    from numba import config
    from numba.core.caching import FunctionCache

    named = config.CACHE_DIR
    if named and _can_write(Path(named)):
        return None
    if not named:
        try:
            FunctionCache(_settle)  # which looks beside the source and in the user's cache folder
            return None
        except RuntimeError:
            named = "neither the package's folder nor the user's cache folder"
    place = _private_folder()
    config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = str(place)
    if Path(named).is_dir():
        _copy_missing(Path(named), place)
        return None
    verb = "can" if named.startswith("neither") else "cannot"
    return f"{named} {verb} be written: compiled kernels are in {place}; NUMBA_CACHE_DIR names a folder that lasts"


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _private_folder() -> Path:
    """Return the same temporary folder for all processes of a user; nobody else may put machine code into it."""
    if hasattr(os, "geteuid"):
        place = Path(tempfile.gettempdir()) / f"crackdask-kernels-{os.geteuid()}"
        try:
            place.mkdir(mode=0o700, exist_ok=True)
            found = place.lstat()
        except OSError:
            pass
        else:
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
                return place
    return Path(tempfile.mkdtemp(prefix="crackdask-kernels-"))


def _copy_missing(source: Path, target: Path) -> None:
    """Copy files that are not there yet; unlike `shutil.copytree`, into folders that can be written to."""
    for found in source.rglob("*"):
        copy = target / found.relative_to(source)
        if found.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
            shutil.copyfile(found, fresh)
            fresh.replace(copy)
