"""The command that puts a run into a job of a batch system: submit."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.check import planned
from crackdask.cli.common import app, examples, out, shared_folder
from crackdask.cli.endings import mistakes
from crackdask.cli.options import (
    ClusterOption,
    NewStore,
    RecipePath,
    SiteOption,
    UntilOption,
    WatchOptions,
    WorkersOption,
    check_step,
    expanded,
)
from crackdask.cli.watch import there_now
from crackdask.cluster.submit import Submission
from crackdask.recipe.recipe import load, load_site
from crackdask.storage.locations import place


@app.command(
    epilog=examples(
        "crackdask submit recipe.toml --store nmc811.zarr --cluster slurm --workers 32",
        "crackdask submit recipe.toml --store nmc811.zarr --cluster slurm --dry-run",
        "crackdask submit recipe.toml --store nmc811.zarr --cluster pbs --spread",
        "crackdask submit recipe.toml --store nmc811.zarr --cluster slurm --watch",
    )
)
@expanded
@mistakes
def submit(
    recipe: RecipePath,
    store: NewStore,
    beamline: WatchOptions,
    until: UntilOption = None,
    spread: Annotated[
        bool,
        typer.Option("--spread", help="Give each worker a job of its own; otherwise all share one job on one node."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the job's script and submit nothing.")] = False,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    cluster_config: SiteOption = None,
) -> None:
    """Submit a job of a batch system that holds the whole run: scheduler, client and workers."""
    check_step(until)
    where, experiment = place(store).resolve(), load(recipe)
    beamline.check(until, [state.name for state in experiment.states])
    site = load_site(cluster_config, experiment.cluster, kind=cluster, workers=workers, on_state=beamline.on_state)
    count = site.workers or max(1, site.cores)
    # Mistakes are told here, not in the job's log.
    if scans := there_now(experiment, recipe.resolve().parent, watch=beamline.watch):
        planned(scans, site, count)
    words = [*(["--until", until] if until else []), *beamline.words]
    words += ["--cluster-config", str(cluster_config.resolve())] if cluster_config else []
    job = Submission(
        site.kind,
        recipe.resolve(),
        str(where),
        shared_folder(where, site) / "logs",
        count,
        experiment.compute.memory,
        site,
        spread,
        tuple(words),
    )
    if dry_run:
        sys.stdout.write(job.script())
        return
    out.print(escape(job.submit()))
    shown = shlex.quote(str(store))
    out.print(
        escape(
            f"watch it:     crackdask status {shown}\n              {job.batch.queue}\n"
            f"              its log in {job.logs}\n"
            "if it ends before it is done, submit it again by the same command: it continues"
        )
    )
