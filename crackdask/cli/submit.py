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
    WorkersOption,
    check_step,
)
from crackdask.cluster.submit import Submission
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import load, load_site
from crackdask.storage.locations import place


@app.command(
    epilog=examples(
        "crackdask submit recipe.toml --store nmc811.zarr --cluster slurm --workers 32",
        "crackdask submit recipe.toml --store nmc811.zarr --cluster slurm --dry-run",
        "crackdask submit recipe.toml --store nmc811.zarr --cluster pbs --spread",
    )
)
@mistakes
def submit(
    recipe: RecipePath,
    store: NewStore,
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
    site = load_site(cluster_config, experiment.cluster, kind=cluster, workers=workers)
    count = site.workers or max(1, site.cores)
    planned(Scans.of(experiment, recipe.resolve().parent), site, count)  # mistakes are told here, not in the job's log
    words = ["--until", until] if until else []
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
