"""What the commands share: the application, its two consoles, and where things of a store go."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from crackdask.lazy_import import uncollected
from crackdask.recipe.site import ClusterParams, Site
from crackdask.storage.locations import Place, Prefix, at_home

if TYPE_CHECKING:
    from crackdask.cli.console import Display
    from crackdask.cli.options import ClusterOptions
    from crackdask.engine.executors import Executor

#: The commands in the order in which they are used, each in the module of its name; and the first line of its help.
COMMANDS = {
    "demo": "Make a small operando experiment with known truth, run everything on it, and write the report.",
    "init": "Write a recipe for some scans, to be completed by hand.",
    "check": "Validate a recipe and plan the run: blocks, memory, disk, tasks, time. Reads no voxel.",
    "preview": "Show one crop under each value of a key: outlines, counts, sizes, and how the answers differ.",
    "run": "Do everything that is not done yet; call it again to continue after any stop.",
    "warm": "Compile the kernels that a run needs, so that the first run on this machine need not wait for them.",
    "submit": "Submit a job of a batch system that holds the whole run: scheduler, client and workers.",
    "status": "Show what is done, what failed and what a rerun would do.",
    "levels": "Add the coarser levels that viewers want to a store which was made without them.",
    "cracks": "Measure the cracks of every particle, and add them to the store as the table `cracks`.",
    "report": "Write the report: one page (HTML) with a summary and the figures, and the numbers behind each (CSV).",
    "explore": "Look at a store in a browser: any plane and state, every particle with its numbers. Ctrl-C ends it.",
    "export": "Write results for other tools: tables, labels and tomograms as TIFF, properties as OME-Zarr images.",
}


def examples(*lines: str) -> str:
    """Return what stands at the end of a command's help: lines to copy, each of at most 78 characters."""
    return "\n\n".join(["[bold]For example[/]", *(escape(line) for line in lines)])


class _Commands(TyperGroup):
    """Commands that are loaded when they are called: not one needs the libraries of all of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if sys.flags.optimize > 1:
            err.print(
                "[red]error:[/] Python was told to drop its docstrings (PYTHONOPTIMIZE=2 or -OO), which zarr needs; "
                "unset PYTHONOPTIMIZE"
            )
            raise typer.Exit(2)
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            with uncollected():
                import_module(f"crackdask.cli.{cmd_name}")
            self.commands = {**typer.main.get_group(app).commands}
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._name_only()
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        self._name_only()
        return super().shell_complete(ctx, incomplete)

    def _name_only(self) -> None:
        """Hold of each command its name and what it is for, without loading it."""
        self.commands = {name: TyperCommand(name, help=words) for name, words in COMMANDS.items()}


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Track battery particles through operando X-ray tomograms: when does each one crack, and when does it heal?",
    epilog=examples(
        "crackdask demo                                 see everything at work",
        "crackdask init SCAN... && crackdask check recipe.toml",
        "crackdask run recipe.toml --store nmc811.zarr",
        "crackdask --install-completion                 let the Tab key complete",
    ),
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal cannot show is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    # Workers that end with the run are no news, and what is lost is told in a line of the command's own.
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def shared_folder(store: Place, site: Site) -> Path:
    """Return where certificates and logs of jobs lie.

    That is where the site says, or else with the work of the run, or here if that is in a bucket.
    """
    from crackdask.engine.checkpoints import Work

    if site.folder:
        return at_home(Path(site.folder)).absolute()
    folder = Work.beside(store).folder
    return Path.cwd() / folder.name if isinstance(folder, Prefix) else folder


def connected(options: ClusterOptions, store: Place, memory: int) -> AbstractContextManager[Executor]:
    """Return the workers, of some bytes each, for a command that reads a finished store."""
    from crackdask.cluster.launch import connect
    from crackdask.recipe.recipe import load_site

    site = load_site(options.cluster_config, ClusterParams(), kind=options.cluster, workers=options.workers)
    folder = shared_folder(store.resolve(), site)
    return connect(site.kind, site.workers, memory, site=site, folder=folder, trust=options.trust, say=notice)


@contextmanager
def adding(options: ClusterOptions, store: Place, facts: Mapping[str, Any]) -> Iterator[tuple[Executor, Display]]:
    """Yield workers, and what shows how far they are, for a command that adds to a store with these attributes."""
    from crackdask.cli.console import Display

    names = [each["name"] for each in facts["recipe"]["states"]]
    with (
        connected(options, store, 2**30) as executor,
        Display(out, names, prod(facts["identity"]["shape"]), executor.workers, executor.dashboard) as display,
    ):
        yield executor, display


def notice(words: str) -> None:
    """Tell what the user should know: of workers that come and go, of a recipe that may be mistaken."""
    out.print(f"[yellow]note[/] {escape(words)}")


def beside(store: Place, what: str) -> Path:
    """Return the folder for what a command writes of a store: beside it, or for a bucket's in the working folder."""
    name = f"{store.resolve().stem}-{what}"
    return Path.cwd() / name if isinstance(store, Prefix) else store.resolve().with_name(name)
