"""The command that makes a store: run."""

from __future__ import annotations

import gc
import time
from contextlib import AbstractContextManager
from functools import cache
from math import prod
from pathlib import Path
from typing import Annotated

import typer

from crackdask.cli.check import expected_seconds, planned
from crackdask.cli.common import app, beside, examples, notice, out, shared_folder
from crackdask.cli.conclusion import conclude, print_profile, say_next
from crackdask.cli.console import Display
from crackdask.cli.endings import ending_in_order, mistakes
from crackdask.cli.options import (
    ClusterOptions,
    NewStore,
    RecipePath,
    UntilOption,
    WatchOptions,
    check_step,
    expanded,
)
from crackdask.cli.warm import say_what_is_awaited
from crackdask.cli.watch import PATIENCE, watched
from crackdask.cluster.launch import begin, connect, recorded
from crackdask.cluster.tls import Trust
from crackdask.engine.context import CenterError, ResultError
from crackdask.engine.executors import Executor, Serial
from crackdask.engine.platform import check_can_run
from crackdask.engine.run import Run
from crackdask.engine.run_times import RunTime, likeness, remember
from crackdask.engine.scans import Scans
from crackdask.engine.state_hook import StateHook
from crackdask.recipe.recipe import load, load_site
from crackdask.recipe.site import Site, cores_here
from crackdask.storage.locations import Place, place
from crackdask.store.root import broken, is_there

#: Where workers are this machine's own.
_HERE = ("local", "threads", "synchronous")
_TOLD = "What is told of it"


@app.command(
    epilog=examples(
        "crackdask run recipe.toml --store nmc811.zarr",
        "crackdask run recipe.toml --store nmc811.zarr --until mask --profile",
        "crackdask run recipe.toml --store nmc811.zarr --cluster slurm --workers 32",
        "crackdask run recipe.toml --store s3://BUCKET/nmc811.zarr --workers 8",
        "crackdask run recipe.toml --store nmc811.zarr --watch --settle 60",
    )
)
@expanded
@mistakes
def run(
    recipe: RecipePath,
    store: NewStore,
    beamline: WatchOptions,
    options: ClusterOptions,
    until: UntilOption = None,
    patience: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long to wait while there is no worker, such as '2 h'.",
            show_default=False,
            rich_help_panel="Where the work runs",
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print what each step cost.", rich_help_panel=_TOLD)
    ] = False,
    performance_report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write dask's performance report (HTML) of the run.",
            show_default=False,
            rich_help_panel=_TOLD,
        ),
    ] = None,
) -> None:
    """Do everything that is not done yet; call it again to continue after any stop."""
    check_step(until)
    check_can_run()
    where, experiment, base = place(store), load(recipe), recipe.resolve().parent
    beamline.check(until, [state.name for state in experiment.states])
    site = load_site(
        options.cluster_config, experiment.cluster, kind=options.cluster, workers=options.workers, patience=patience,
        on_state=beamline.on_state,
    )  # fmt: skip
    hook = StateHook(site.on_state, where.resolve(), notice)
    if beamline.watch:

        def grown(scans: Scans) -> bool:
            return run_scans(scans, where, None, site, performance_report, options.trust)

        was_done = watched(experiment, base, where, beamline, hook, grown)
    else:
        was_done = run_scans(Scans.of(experiment, base), where, until, site, performance_report, options.trust)
        hook.finished([state.name for state in experiment.states] if until is None else [], {})
    hook.look(PATIENCE)
    if profile:
        print_profile(where)
    if was_done and until is None:
        say_next(where)


def run_scans(
    scans: Scans,
    store: Place,
    until: str | None,
    site: Site,
    performance_report: Path | None = None,
    trust: Trust | None = None,
) -> bool:
    """Run, say how it ended, and tell whether anything was done."""
    started = time.monotonic()
    workers = site.workers or cores_here()
    plan = planned(scans, site, workers)
    for name, what in scans.unwritten.items():
        notice(f"{name}: {what} are not there and are read as the fill value, as the recipe says")
    for words in scans.doubts():
        notice(words)
    names, where, voxels = [state.name for state in scans.recipe.states], store.resolve(), prod(scans.shape)
    alone = Run(scans, where, Serial(), Display(out, names, voxels, 1, None))
    compiles = False
    there = performance_report is None and is_there(where) and not broken(where)
    if there and (until or alone.may_be_done()) and not alone.outstanding(until):
        outcome = alone(until)  # no worker is needed to find that there is nothing to do
    else:
        begin(site.kind)
        if site.kind in _HERE:
            compiles = say_what_is_awaited()
        with (
            ending_in_order(),
            _workers(scans, where, site, trust) as executor,
            recorded(executor, performance_report),
            Display(out, names, voxels, executor.workers, executor.dashboard) as display,
        ):
            _leave_what_is_loaded()
            alone = Run(scans, where, executor, display)
            try:
                outcome = alone(until)
            except CenterError as error:
                raise ResultError(_with_slices(error, where)) from error
    took = time.monotonic() - started
    whole = outcome.done and not (outcome.skipped or outcome.failures or until)
    if whole and site.kind in _HERE and not compiles:
        waited = alone.waited_share()
        remember(RunTime(likeness(scans.recipe), expected_seconds(scans, plan, workers), took, waited))
    conclude(outcome, store, until, took)
    return bool(outcome.done)


@cache
def _leave_what_is_loaded() -> None:
    """Leave what is there now out of collections of garbage: half a million objects that stay, looked at each time.

    Once in a process: what is garbage by then is never found, which is little, and must not become more.
    """
    gc.freeze()


def _with_slices(error: CenterError, store: Place) -> str:
    """Write slices about the centers that were tried, and return what is said of the error and of them."""
    from crackdask.report.center_strip import write_center_strip  # loads matplotlib
    from crackdask.report.page import ReportError

    picture = beside(store, "center") / f"state-{error.number}.png"
    try:
        write_center_strip(picture, error.state, error.center, error.centers, error.images)
    except (OSError, ReportError):
        return str(error)  # which says how to look at slices
    return f"{error}. Some are in {picture}"


def _workers(scans: Scans, store: Place, site: Site, trust: Trust | None) -> AbstractContextManager[Executor]:
    memory, folder = scans.recipe.compute.memory, shared_folder(store, site)
    return connect(site.kind, site.workers, memory, site=site, folder=folder, trust=trust, say=notice)
