"""What the commands share: the two consoles, options, and what becomes of mistakes and signals."""

from __future__ import annotations

import errno
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from crackdask.recipe.site import KINDS, ClusterParams, Site
from crackdask.schema import STEPS
from crackdask.storage.locations import Place, Prefix, UnreachableError

if TYPE_CHECKING:
    from crackdask.engine.executors import Executor

#: The commands in the order in which they are used: where each lies, and the first line of its help.
COMMANDS = {
    "demo": ("demo", "Make a small operando experiment with known truth, run everything on it, and write the report."),
    "init": ("running", "Write a recipe for some scans, to be completed by hand."),
    "check": ("running", "Validate a recipe and plan the run: blocks, memory, disk, tasks, time. Reads no voxel."),
    "run": ("running", "Do everything that is not done yet; call it again to continue after any stop."),
    "submit": ("running", "Submit a job of a batch system that holds the whole run: scheduler, client and workers."),
    "status": ("status", "Show what is done, what failed and what a rerun would do."),
    "cracks": ("results", "Measure the cracks of every particle, and add them to the store as the table `cracks`."),
    "report": (
        "results",
        "Write the report: one page (HTML) with a summary and the figures, and the numbers behind each (CSV).",
    ),
    "export": ("results", "Write results for other tools: tables, labels as TIFF, properties as OME-Zarr images."),
}


class _Commands(TyperGroup):
    """Commands that are loaded when they are called: not one needs the libraries of all of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            import_module(f"crackdask.cli.{COMMANDS[cmd_name][0]}")
            self.commands = {**typer.main.get_group(app).commands}
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.commands = {name: TyperCommand(name, help=words) for name, (_, words) in COMMANDS.items()}
        super().format_help(ctx, formatter)


def on_disk(path: Path | None) -> Path | None:
    """Refuse a URL for what is written or read as one file of a disk; a callback of options."""
    if path is not None and re.match(r"\w+:/", str(path)):
        raise typer.BadParameter("this lies on a disk; scans and stores may be in a bucket, so name a file or folder")
    return path


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Track battery particles through operando X-ray tomograms: when does each one crack, and when does it heal?",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
P = ParamSpec("P")
R = TypeVar("R")
StoreName = Annotated[str, typer.Argument(help="The store, NAME.zarr or s3://BUCKET/NAME.zarr.", show_default=False)]
NewStore = Annotated[
    str,
    typer.Option(
        "--store", help="Where the store is or will be, NAME.zarr or s3://BUCKET/NAME.zarr.", show_default=False
    ),
]
RecipePath = Annotated[Path, typer.Argument(help="The recipe, a TOML file.", show_default=False, callback=on_disk)]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(KINDS)}, or a scheduler's address: tls://host:port, tcp://host:port. "
        "By default what the recipe's section cluster says, or local.",
        show_default=False,
    ),
]
UntilOption = Annotated[str | None, typer.Option(help=f"Last step to do: {', '.join(STEPS)}.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Workers; by default one for each core.")]
SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--cluster-config",
        help="A file of your own with keys of the section cluster.",
        show_default=False,
        callback=on_disk,
    ),
]
CaOption = Annotated[Path | None, typer.Option("--tls-ca", help="Authority of a tls:// scheduler.", show_default=False)]
CertOption = Annotated[Path | None, typer.Option("--tls-cert", help="Own certificate for it.", show_default=False)]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", help="Key of the certificate.", show_default=False)]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Let another machine's tcp:// do without TLS.", show_default=False)
]
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def mistakes(command: Callable[P, R]) -> Callable[P, R]:
    """Turn mistakes of the user's into a message and exit 2, and what the machine refuses into one and exit 1 or 2."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Exception as error:
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


def _told(error: Exception, store: object) -> tuple[str, int] | None:
    """Return what is said of an error and the exit status, or None for one that should not have happened."""
    if _is_mistake(error):
        return f"[red]error:[/] {escape(str(error))}", 2
    from crackdask.engine.executors import ClusterLostError

    if isinstance(error, ClusterLostError | UnreachableError):
        return f"[red]stopped:[/] {escape(str(error))}", 1
    if isinstance(error, OSError):
        refused = _refused(error, error.filename or store or "the disk")
        return f"[red]error:[/] {escape(refused)}", 2 if error.errno in _FORBIDDEN else 1
    return None


def _is_mistake(error: Exception) -> bool:
    from crackdask.analysis.parameters import AnalysisError
    from crackdask.cluster.errors import ClusterError
    from crackdask.engine.context import USER_ERRORS

    if isinstance(error, (*USER_ERRORS, ClusterError, AnalysisError)):
        return True
    from crackdask.export import ExportError
    from crackdask.report.page import ReportError

    return isinstance(error, ExportError | ReportError)


class _Ended(BaseException):
    """The machine or a batch system wants this process to end."""


@contextmanager
def ending_in_order() -> Iterator[None]:
    """End as after Ctrl-C when a batch system announces the end of a job, so that workers are sent home.

    That is SIGTERM nearly everywhere; Grid Engine announces it by SIGUSR2 (`-notify`).
    """

    def end(number: int, _: object) -> None:
        if number != signal.SIGALRM:
            for known in before:
                signal.signal(known, signal.SIG_IGN)  # once is enough: what follows must come to its own end
            signal.signal(signal.SIGALRM, end)
            signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
        elif _is_ending(sys.exception()):
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        raise _Ended  # where it is raised within a finaliser it is lost, so it comes again until it is under way

    here = threading.current_thread() is threading.main_thread()  # elsewhere signals do not arrive
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGUSR2) if here}
    try:
        yield
    finally:
        if here:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ending(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, _Ended):
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
    return f"{place}: {error.strerror or error}"


def _tell_version(wanted: bool) -> None:
    if wanted:
        out.print(f"crackdask {version('crackdask')}")
        raise typer.Exit


@app.callback()
def _crackdask(
    _: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # Workers that end with the run are no news, and what is lost is told in a line of the command's own.
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def shared_folder(store: Place, site: Site) -> Path:
    """Return where certificates and logs of jobs lie.

    That is where the site says, or else with the work of the run, or here if that is in a bucket.
    """
    from crackdask.engine.checkpoints import Work

    if site.folder:
        return Path(site.folder).expanduser().absolute()
    folder = Work.beside(store).folder
    return Path.cwd() / folder.name if isinstance(folder, Prefix) else folder


@dataclass(frozen=True)
class Helpers:
    """Which workers a command is to use that reads a finished store: what its options say."""

    cluster: str | None
    workers: int | None
    config: Path | None
    tls: tuple[Path | None, Path | None, Path | None]
    insecure: bool

    def connect(self, store: Place, memory: int) -> AbstractContextManager[Executor]:
        """Return the workers, of some bytes each."""
        from crackdask.cluster.launch import connect
        from crackdask.cluster.tls import Certificates
        from crackdask.recipe.recipe import load_site

        site = load_site(self.config, ClusterParams(), kind=self.cluster, workers=self.workers)
        return connect(
            site.kind,
            site.workers,
            memory,
            site=site,
            folder=shared_folder(store.resolve(), site),
            certificates=Certificates(*self.tls),
            insecure=self.insecure,
            say=notice,
        )


def notice(words: str) -> None:
    """Tell what the user should know of workers that come and go."""
    out.print(f"[yellow]note[/] {escape(words)}")


def made_of(store: Place, what: str) -> Path:
    """Return the folder for what is made of a store: beside it, or for one in a bucket in the working folder."""
    name = f"{store.resolve().stem}-{what}"
    return Path.cwd() / name if isinstance(store, Prefix) else store.resolve().with_name(name)
