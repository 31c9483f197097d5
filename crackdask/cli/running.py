"""Commands that make a store: init, check, run, submit."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from math import prod
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import (
    CaOption,
    CertOption,
    ClusterOption,
    InsecureOption,
    KeyOption,
    NewStore,
    RecipePath,
    SiteOption,
    UntilOption,
    WorkersOption,
    app,
    ending_in_order,
    err,
    mistakes,
    notice,
    on_disk,
    out,
    shared_folder,
)
from crackdask.cli.console import Display, brief, columns, duration, facts, size
from crackdask.cluster.launch import connect, recorded
from crackdask.cluster.submit import Submission
from crackdask.cluster.tls import Certificates
from crackdask.cluster.worker_settings import check_memory
from crackdask.engine.block_plan import BASE_BYTES, Plan, estimate
from crackdask.engine.executors import Serial
from crackdask.engine.profile import profile as profile_of
from crackdask.engine.run import Outcome, Run
from crackdask.engine.scans import Scans
from crackdask.recipe.draft import draft
from crackdask.recipe.recipe import Recipe, load, load_site
from crackdask.recipe.site import SYSTEMS, Site
from crackdask.schema import STEPS
from crackdask.storage.locations import Place, place
from crackdask.store.root import attributes, is_there


@app.command()
@mistakes
def init(
    scans: Annotated[list[str], typer.Argument(help="Scans, or folders of scans, in electrochemical order.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe to write.", callback=on_disk)] = Path(
        "recipe.toml"
    ),
    force: Annotated[bool, typer.Option(help="Overwrite the recipe.")] = False,
) -> None:
    """Write a recipe for some scans, to be completed by hand."""
    if output.exists() and not force:
        err.print(f"[red]error:[/] {escape(str(output))} exists; give another --output, or --force")
        raise typer.Exit(2)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(draft([place(scan) for scan in scans], output.resolve().parent), encoding="utf-8")
    out.print(
        escape(f"wrote {output}: fill in voltages and steps, then:\n  crackdask check {shlex.quote(str(output))}")
    )


@app.command()
@mistakes
def check(recipe: RecipePath, cluster: ClusterOption = None, workers: WorkersOption = None) -> None:
    """Validate a recipe and plan the run: blocks, memory, disk, tasks, time. Reads no voxel."""
    found = load(recipe)
    scans = Scans.of(found, recipe.resolve().parent)
    site = load_site(None, found.cluster, kind=cluster, workers=workers)
    count = site.workers or len(os.sched_getaffinity(0))
    _print_plan(found, scans, _planned(scans, site, count), count)


def _planned(scans: Scans, site: Site, workers: int) -> Plan:
    """Return the blocks for some workers: too little memory is told before any starts with it."""
    plan = scans.plan(workers)
    if site.kind in (*SYSTEMS, "kubernetes"):
        check_memory(site, plan.worker_bytes)
    return plan


def _print_plan(recipe: Recipe, scans: Scans, plan: Plan, workers: int) -> None:
    dtype = scans.sources[0].dtype
    cost = estimate(recipe, plan, dtype, workers)
    shape = " x ".join(map(str, plan.grid.shape))
    rows = [
        ["states", f"{len(recipe.states)}, reference {recipe.states[recipe.reference].name!r}"],
        ["stored volume (z, y, x)", f"{shape} voxels, {dtype} scans"],
        ["blocks", f"{cost.blocks} a state of {' x '.join(map(str, plan.grid.block))} voxels"],
        ["tasks", str(cost.tasks)],
        [
            "memory, each worker",
            f"{size(plan.worker_bytes)} of {size(recipe.compute.memory)} "
            f"({size(BASE_BYTES)} program, {size(plan.peak.bytes)} {plan.peak.step}, {size(plan.kept_bytes)} heap)",
        ],
        ["scans to read", size(cost.source_bytes)],
        ["store", f"about {size(cost.store_bytes)}"],
        ["work folder, at most", f"about {size(cost.work_bytes)}"],
        ["likely time", f"{duration(cost.seconds)} on {workers} worker{'s' * (workers > 1)}"],
    ]
    out.print(facts(rows))
    out.print("\nthe recipe is valid")


@app.command()
@mistakes
def run(
    recipe: RecipePath,
    store: NewStore,
    until: UntilOption = None,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    cluster_config: SiteOption = None,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    insecure: InsecureOption = False,
    patience: Annotated[
        str | None, typer.Option(help="How long to wait while there is no worker, such as '2 h'.", show_default=False)
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Print what each step cost.")] = False,
    performance_report: Annotated[
        Path | None, typer.Option(help="Write dask's performance report (HTML) of the run.", show_default=False)
    ] = None,
) -> None:
    """Do everything that is not done yet; call it again to continue after any stop."""
    _check_step(until)
    where, found = place(store), load(recipe)
    scans = Scans.of(found, recipe.resolve().parent)
    site = load_site(cluster_config, found.cluster, kind=cluster, workers=workers, patience=patience)
    certificates = Certificates(tls_ca, tls_cert, tls_key)
    did = run_scans(scans, where, until, site, performance_report, certificates, insecure=insecure)
    if profile:
        _print_profile(where)
    if did and until is None:
        say_next(where)


def _check_step(until: str | None) -> None:
    if until is not None and until not in STEPS:
        raise typer.BadParameter(f"{until!r} is no step; the steps are {', '.join(STEPS)}", param_hint="--until")


def _print_profile(store: Place) -> None:
    """Print what each step cost, as the store remembers it."""
    facts = attributes(store)
    shape = facts["identity"]["shape"]
    steps = profile_of(facts.get("steps", {}), shape[0] * shape[1] * shape[2])
    rows = [
        [
            s.step,
            str(s.states),
            brief(s.seconds),
            brief(s.cost.busy_seconds),
            f"{s.voxels_per_second / 1e6:.1f}",
            size(s.cost.bytes_read),
            size(s.cost.bytes_written),
            size(s.cost.peak_bytes) if s.cost.peak_bytes else "-",
        ]
        for s in steps
    ]
    total = sum(s.seconds for s in steps)
    heads = ["step", "states", "took", "busy", "Mvoxel/s", "read", "written", "memory"]
    out.print(columns("", heads, [*rows, ["all", "", brief(total), "", "", "", "", ""]]))
    out.print("(took: steps at work together share the time; busy: all workers; memory: the largest worker's peak)")


def run_scans(
    scans: Scans,
    store: Place,
    until: str | None,
    site: Site,
    performance_report: Path | None = None,
    certificates: Certificates | None = None,
    *,
    insecure: bool = False,
) -> bool:
    """Run, say how it ended, and tell whether anything was done."""
    started = time.monotonic()
    recipe = scans.recipe
    _planned(scans, site, site.workers or len(os.sched_getaffinity(0)))
    names, where = [state.name for state in recipe.states], store.resolve()
    alone = Run(scans, where, Serial(), Display(out, names, prod(scans.shape), 1, None))
    if performance_report is None and is_there(where) and not alone.outstanding(until):
        outcome = alone(until)  # no worker is needed to find that there is nothing to do
    else:
        shared = shared_folder(where, site)
        with (
            ending_in_order(),
            connect(
                site.kind,
                site.workers,
                recipe.compute.memory,
                site=site,
                folder=shared,
                certificates=certificates,
                insecure=insecure,
                say=notice,
            ) as executor,
            recorded(executor, performance_report),
            Display(out, names, prod(scans.shape), executor.workers, executor.dashboard) as display,
        ):
            outcome = Run(scans, where, executor, display)(until)
    _conclude(outcome, store, until, time.monotonic() - started)
    return bool(outcome.done)


def _conclude(outcome: Outcome, store: Place, until: str | None, seconds: float) -> None:
    if outcome.failures:
        failed = len(outcome.failures)
        err.print(f"[red]{failed} block{'s' * (failed > 1)} failed:[/]")
        for failure in outcome.failures[:20]:
            where = " ".join(
                f"{axis} {a}:{b}" for axis, a, b in zip("zyx", failure.box.start, failure.box.stop, strict=True)
            )
            err.print(escape(f"  {failure.unit} ({failure.pass_}) block {failure.number} [{where}]: {failure.error}"))
        if len(outcome.failures) > 20:
            err.print(f"  and {len(outcome.failures) - 20} more: crackdask status {escape(shlex.quote(str(store)))}")
        if outcome.blocked:
            err.print(f"not done because of them: {', '.join(outcome.blocked)}")
        err.print("everything else is kept; mend the cause and run the same command again")
        raise typer.Exit(1)
    if not outcome.done:
        what = f"everything up to {until}" if until else "everything"
        out.print(f"{escape(str(store))}: {what} is done already; nothing to do")
        return
    again = f", {outcome.skipped} done before" if outcome.skipped else ""
    out.print(f"{len(outcome.done)} steps done{again} in {duration(seconds)}")
    if until is None:
        _summary(store)


def say_next(store: Place) -> None:
    """Say what to type next, ready to copy."""
    place = shlex.quote(str(store))
    look = shlex.quote(f"import crackdask; print(crackdask.open({json.dumps(str(store))}))")
    out.print(f"\nthe store is {escape(str(store))}\nnext, for instance:")
    for command in (
        f"crackdask status {place}",
        f"crackdask cracks {place}",
        f"crackdask report {place}",
        f"crackdask export {place}",
        f"python -c {look}",
    ):
        out.print(f"  {escape(command)}")


def _summary(store: Place) -> None:
    """Print what was found: a row for each state."""
    from crackdask.store.open import open_store  # loads xarray: not before the run is over

    tree = open_store(store)
    table = tree["particles"].to_dataset().load()
    residual = tree["transforms"].to_dataset().residual_voxels.load()
    tracked, clipped = table.tracked.any("state"), tree.attrs["found"]["clipped_share"]
    rows = []
    for number, state in enumerate(table.state.values):
        here = table.isel(state=number)
        followed = here.where(tracked & (here.voxels > 0))
        rows.append(
            [
                str(state),
                f"{float(here.voltage):.2f}",
                str(int((here.voxels > 0).sum())),
                f"{float(followed.equivalent_diameter_um.median()):.2f}",
                f"{float(followed.grey_mean.mean()):.2f}",
                f"{float(residual[number]):.3f}",
                f"{sum(clipped[str(state)]):.2%}",
            ]
        )
    heads = ["state", "voltage", "particles", "diameter um", "mean grey", "residual voxels", "clipped"]
    out.print()
    out.print(columns("", heads, rows))
    out.print(
        "(medians and means of the tracked particles; residual of the registration;\n"
        "clipped: voxels beyond the grey window)\n\n"
        f"{table.sizes['particle']} particles found, {int(tracked.sum())} tracked through all states"
    )
    dropped = [
        f"  {count} {words}"
        for name, words in (
            ("on_border", "on the image border"),
            ("on_invalid", "at the edge of a scan"),
            ("lost", "absent in some state"),
            ("neighbour_lost", "beside an absent one"),
        )
        if (count := int(table[name].any("state").sum()))
    ]
    if dropped:
        out.print("\n".join(["dropped, some for several reasons:", *dropped]))


@app.command()
@mistakes
def submit(
    recipe: RecipePath,
    store: NewStore,
    until: UntilOption = None,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    cluster_config: SiteOption = None,
    spread: Annotated[bool, typer.Option("--spread", help="Give each worker a job of its own.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the job's script and submit nothing.")] = False,
) -> None:
    """Submit a job of a batch system that holds the whole run: scheduler, client and workers."""
    _check_step(until)
    where, found = place(store).resolve(), load(recipe)
    site = load_site(cluster_config, found.cluster, kind=cluster, workers=workers)
    count = site.workers or max(1, site.cores)
    _planned(Scans.of(found, recipe.resolve().parent), site, count)  # mistakes are told here, not in the job's log
    words = ["--until", until] if until else []
    words += ["--cluster-config", str(cluster_config.resolve())] if cluster_config else []
    job = Submission(
        site.kind,
        recipe.resolve(),
        str(where),
        shared_folder(where, site) / "logs",
        count,
        found.compute.memory,
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
