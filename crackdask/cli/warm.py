"""The command that compiles the kernels of runs to come: warm."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import app, examples, notice, out
from crackdask.cli.console import duration
from crackdask.cli.endings import mistakes
from crackdask.engine.platform import check_can_run
from crackdask.engine.warm_up import DTYPES, warm_up
from crackdask.kernels import compiling


@app.command(
    epilog=examples(
        "crackdask warm",
        "crackdask warm --dtype uint16",
    )
)
@mistakes
def warm(
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            help="What scans are stored as; may be given more than once.",
            show_default=", ".join(DTYPES),
        ),
    ] = None,
) -> None:
    """Compile the kernels that a run needs, so that the first run on this machine need not wait for them.

    They lie in the folder that NUMBA_CACHE_DIR names, or beside the package, or in the user's cache folder; they serve
    on processors of the kind of this one. What few recipes ask for is compiled when it is.
    """
    check_can_run()
    types = tuple(dict.fromkeys(dtype or DTYPES))
    if wrong := [name for name in types if name not in DTYPES]:
        raise typer.BadParameter(f"{', '.join(wrong)}: one of {', '.join(DTYPES)} is needed", param_hint="--dtype")
    say_where_kernels_are()
    out.print("compiling what runs need, by a small one")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crackdask-warm-") as folder:
        warm_up(Path(folder), types)
    where = escape(str(compiling.folder()))
    out.print(f"done in {duration(time.monotonic() - started)}; compiled kernels are in {where}")


def say_where_kernels_are() -> None:
    """Say so where compiled kernels could not be put where they last."""
    if words := compiling.fallback():
        notice(words)


def say_what_is_awaited() -> bool:
    """Say so where a run on this machine begins with compiling, and tell whether it does."""
    say_where_kernels_are()
    awaited = not compiling.is_compiled("crackdask.kernels.tally")
    if awaited:
        out.print("compiling kernels as they are needed, once per machine and version (`crackdask warm` does so alone)")
    return awaited
