"""The command that shows everything at work: demo."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli import demonstration
from crackdask.cli.common import ClusterOption, WorkersOption, app, made_of, mistakes, out
from crackdask.cli.console import columns
from crackdask.cli.running import run_scans, say_next
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import load, load_site
from crackdask.report.page import ReportError
from crackdask.report.page import report as write_report
from crackdask.storage.locations import Place, Prefix, place


@app.command()
@mistakes
def demo(
    store: Annotated[
        str, typer.Option(help="Where the store goes; scans and recipe lie beside it.")
    ] = "crackdask-demo/demo.zarr",
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
) -> None:
    """Make a small operando experiment with known truth, run everything on it, and write the report."""
    where = place(store)
    if isinstance(where, Prefix):
        raise typer.BadParameter("the demo writes its scans beside the store, on a disk", param_hint="--store")
    count = workers or len(os.sched_getaffinity(0))
    recipe = demonstration.prepare(where.resolve(), count, out.print)
    found = load(recipe)
    site = load_site(None, found.cluster, kind=cluster, workers=workers)
    run_scans(Scans.of(found, recipe.parent), where, None, site)
    out.print("\ntracked particles whose core is more cracked than when pristine:")
    rows = [[state, f"{found:.0%}", f"{true:.0%}"] for state, found, true in demonstration.verdict(where.resolve())]
    out.print(columns("", ["state", "found", "programmed"], rows))
    _report_if_it_can(where)
    say_next(where)


def _report_if_it_can(store: Place) -> None:
    """Write the report beside a store, or say what it lacks."""
    try:
        made = write_report(store, made_of(store, "report"))
    except ReportError as error:
        out.print(escape(f"\nno report: {error}"))
        return
    out.print(escape(f"\nthe report is {made.page}"))
