"""How a command ends: what becomes of mistakes, of what the machine refuses, and of signals."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import typer
from rich.markup import escape

from crackdask.cli.common import err
from crackdask.storage.locations import UnreachableError

P = ParamSpec("P")
R = TypeVar("R")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MISNAMED = (errno.ENAMETOOLONG, errno.ELOOP)
_MISPLACED = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def mistakes(command: Callable[P, R]) -> Callable[P, R]:
    """Turn mistakes of the user's into a message and exit 2, and what the machine refuses into one and exit 1 or 2."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = command(*args, **kwargs)
            sys.stdout.flush()
            return result
        except Exception as error:
            if isinstance(error, OSError) and not error.filename and (unwritable := _output_error()) is not None:
                if unwritable.errno == errno.EPIPE:
                    raise  # who read it has gone, and wants no words
                err.print(f"[red]error:[/] standard output cannot be written: {unwritable.strerror}")
                raise typer.Exit(1) from None
            told = _told(error, kwargs.get("store"))
            if told is None:
                raise
            err.print(told[0])
            raise typer.Exit(told[1]) from None
        except _Ended:
            err.print("stopped by a signal to end; the finished blocks are kept, and the same command continues")
            raise typer.Exit(143) from None
        except KeyboardInterrupt:
            err.print("stopped; the finished blocks are kept, and the same command continues")
            raise typer.Exit(130) from None

    return guarded


def _output_error() -> OSError | None:
    """Return why what was printed cannot be written, if so; it is then given up, for it would fail again at exit."""
    try:
        sys.stdout.write("\n")  # what failed may have been let go of
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return error
    return None


def _told(error: Exception, store: object) -> tuple[str, int] | None:
    """Return what is said of an error and the exit status, or None for one that should not have happened."""
    if _is_mistake(error):
        return f"[red]error:[/] {escape(str(error))}", 2
    from crackdask.engine.executors import ClusterLostError

    if isinstance(error, ClusterLostError | UnreachableError):
        return f"[red]stopped:[/] {escape(str(error))}", 1
    if isinstance(error, UnicodeEncodeError) and error.encoding == sys.getfilesystemencoding():
        return (
            f"[red]error:[/] no file can be named {escape(ascii(error.object))} in this locale "
            f"({error.encoding}); set PYTHONUTF8=1, or LC_ALL=C.UTF-8",
            2,
        )
    if isinstance(error, OSError):
        refused = _refused(error, error.filename or store or "the disk")
        return f"[red]error:[/] {escape(refused)}", 2 if error.errno in (*_FORBIDDEN, *_MISNAMED, *_MISPLACED) else 1
    return None


def _is_mistake(error: Exception) -> bool:
    from crackdask.analysis.parameters import AnalysisError
    from crackdask.cluster.errors import ClusterError
    from crackdask.engine.context import USER_ERRORS
    from crackdask.engine.platform import PlatformError

    if isinstance(error, (*USER_ERRORS, ClusterError, AnalysisError, PlatformError)):
        return True
    from crackdask.explore.errors import ExploreError
    from crackdask.export import ExportError
    from crackdask.report.page import ReportError

    return isinstance(error, ExportError | ReportError | ExploreError)


class _Ended(BaseException):
    """The machine or a batch system wants this process to end."""


@contextmanager
def ending_in_order() -> Iterator[None]:
    """End as after Ctrl-C when a batch system announces the end of a job, so that workers are sent home.

    That is SIGTERM nearly everywhere; Grid Engine announces it by SIGUSR2 (`-notify`). Ctrl-C itself ends too where it
    comes while Python heeds no exception.
    """
    ended: type[BaseException] = _Ended

    def end(number: int, _: object) -> None:
        nonlocal ended
        if number != signal.SIGALRM:
            ended = KeyboardInterrupt if number == signal.SIGINT else _Ended
            for known in announced if ended is _Ended else ():
                signal.signal(known, signal.SIG_IGN)  # once is enough: what follows must come to its own end
            signal.signal(signal.SIGALRM, end)
            signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
        elif _is_ending(sys.exception(), ended):
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        raise ended  # where it is raised within a finaliser it is lost, so it comes again until it is under way

    here = threading.current_thread() is threading.main_thread()  # elsewhere signals do not arrive
    announced = (signal.SIGTERM, signal.SIGUSR2)
    heard = signal.getsignal(signal.SIGINT) not in (
        signal.SIG_IGN,
        signal.SIG_DFL,
        None,
    )  # as scripts set for what waits
    numbers = (*announced, signal.SIGINT) if heard else announced
    before = {number: signal.signal(number, end) for number in numbers if here}
    try:
        yield
    finally:
        if here:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ending(error: BaseException | None, ended: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, ended):
        error = error.__context__
    return error is not None


def _refused(error: OSError, place: object) -> str:
    """Say what the machine refused, and the way out."""
    if error.errno in _FULL:
        return (
            f"the disk is full ({place}: {error.strerror}); make room, then run the same command again: "
            "the finished blocks are kept (`crackdask check RECIPE` tells the room that is needed)"
        )
    if error.errno == errno.EROFS:
        return f"{place} cannot be written: the disk is read-only; choose a place you may write to"
    if error.errno in _FORBIDDEN:
        return f"no permission: {place}; choose a place you may write to, or have the permission changed"
    if error.errno in _MISPLACED:
        return (
            f"{place}: a file lies where a folder is needed, or a folder where a file is; move it, or choose another "
            "place"
        )
    if error.errno == errno.ENAMETOOLONG:
        return f"{place}: a name of it is too long for the disk; choose a shorter one"
    return f"{place}: {error.strerror or error}"
