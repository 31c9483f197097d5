"""The commands; thin: they read arguments, call the package and say what happened."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crackdask.cluster import connect
from crackdask.config import load
from crackdask.run import USER_ERRORS, Run, Scans

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(recipe: Path, store: Annotated[Path, typer.Option()], until: str | None = None, cluster: str = "local", workers: int | None = None) -> None:
    """Process."""
    found = load(recipe)
    scans = Scans.of(found, recipe.parent)
    class P:
        def begin(self, *a): print(*a)
        def advance(self, r): pass
        def failed(self, *a): print(*a)
        def end(self, *a): print(*a)
    with connect(cluster, workers, found.compute.memory) as ex:
        print(Run(scans, store, ex, P())(until))

@app.command()
def x(): ...
