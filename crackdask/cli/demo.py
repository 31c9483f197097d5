"""The command that shows everything at work: demo."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli import demonstration
from crackdask.cli.common import app, beside, examples, out
from crackdask.cli.conclusion import say_next
from crackdask.cli.console import columns, slabs
from crackdask.cli.endings import mistakes
from crackdask.cli.options import ClusterOption, WorkersOption
from crackdask.cli.run import run_scans
from crackdask.engine.platform import check_can_run
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import load, load_site
from crackdask.recipe.site import cores_here
from crackdask.report.page import ReportError
from crackdask.report.page import report as write_report
from crackdask.storage.locations import Place, Prefix, place


@app.command(
    epilog=examples(
        "crackdask demo",
        "crackdask demo --store /scratch/demo.zarr --workers 2",
        "crackdask demo --hard",
        "crackdask demo --projections",
    )
)
@mistakes
def demo(
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="Where the store goes; scans and recipe lie beside it.",
            show_default="crackdask-demo/demo.zarr, or crackdask-KIND-demo/demo.zarr",
        ),
    ] = None,
    is_hard: Annotated[
        bool,
        typer.Option("--hard", help="Scans with a third phase, rings, drift, cupping, blur, local motion and slip."),
    ] = False,
    is_projected: Annotated[
        bool,
        typer.Option("--projections", help="From X-ray projections, with noise, rings and a holder in the way."),
    ] = False,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
) -> None:
    """Make a small operando experiment with known truth, run everything on it, and write the report."""
    check_can_run()
    if is_hard and is_projected:
        raise typer.BadParameter("choose one of --hard and --projections", param_hint="--projections")
    kind: demonstration.Kind = "hard" if is_hard else "projections" if is_projected else "plain"
    where = place(store or f"crackdask-{'' if kind == 'plain' else f'{kind}-'}demo/demo.zarr")
    if isinstance(where, Prefix):
        raise typer.BadParameter("the demo writes its scans beside the store, on a disk", param_hint="--store")
    count = workers or cores_here()
    with slabs(out) as progress:
        recipe = demonstration.prepare(where.resolve(), count, out.print, kind, progress)
    experiment = load(recipe)
    site = load_site(None, experiment.cluster, kind=cluster, workers=workers)
    run_scans(Scans.of(experiment, recipe.parent), where, None, site)
    out.print("\ntracked particles whose core is more cracked than when pristine:")
    verdict = demonstration.verdict(where.resolve(), kind)
    rows = [[state, f"{seen:.0%}", f"{true:.0%}"] for state, seen, true in verdict]
    out.print(columns("", ["state", "found", "programmed"], rows))
    _report_if_it_can(where)
    say_next(where)
    out.print(escape(f"\nto look at it in a browser, type\n  crackdask explore {shlex.quote(str(where))}"))


def _report_if_it_can(store: Place) -> None:
    """Write the report beside a store, or say what it lacks."""
    try:
        written = write_report(store, beside(store, "report"))
    except ReportError as error:
        out.print(escape(f"\nno report: {error}"))
        return
    out.print(escape(f"\nthe report is {written.page}"))
