"""The commands; thin: they read arguments, call the package and say what happened.

Exit 0 when everything is done, 1 when blocks failed, the disk is full or the cluster went away, 2 for a mistake of the
user's, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from crackdask import demo as demonstration
from crackdask.bench import USER_ERRORS
from crackdask.cluster import Certificates, ClusterError, ClusterLostError, connect, recorded
from crackdask.config import Recipe, load, load_site
from crackdask.console import Display, columns, duration, facts, size
from crackdask.export import ExportError, export_labels, export_table
from crackdask.init import draft
from crackdask.planning import BASE_BYTES, estimate
from crackdask.profile import profile as profile_of
from crackdask.regions import AnalysisError
from crackdask.report import ReportError
from crackdask.report import report as write_report
from crackdask.resources import KINDS, Site
from crackdask.run import Outcome, Run
from crackdask.scans import Scans
from crackdask.schema import STEPS
from crackdask.status import Status
from crackdask.status import status as read_status
from crackdask.store import attributes
from crackdask.submit import Submission
from crackdask.work import Work

_ORDER = ("demo", "init", "check", "run", "submit", "status", "report", "export", "explore")


class _InOrder(TyperGroup):
    """The commands in the order in which they are used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Track battery particles through operando X-ray tomograms: when does each one crack, and when does it heal?",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

P = ParamSpec("P")
R = TypeVar("R")

StorePath = Annotated[Path, typer.Argument(help="The store, NAME.zarr.", show_default=False)]
RecipePath = Annotated[Path, typer.Argument(help="The recipe, a TOML file.", show_default=False)]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(KINDS)}, or a scheduler's address: tls://host:port, tcp://host:port. "
        "By default what [cluster] in the recipe says, or local.",
        show_default=False,
    ),
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Workers; by default one for each core.")]
SiteOption = Annotated[
    Path | None, typer.Option("--cluster-config", help="A file of your own with keys of [cluster].", show_default=False)
]

_MISTAKES: tuple[type[BaseException], ...] = (*USER_ERRORS, ClusterError, ExportError, AnalysisError, ReportError)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def _mistakes(command: Callable[P, R]) -> Callable[P, R]:
    """Turn mistakes of the user's into a message and exit 2, and what the machine refuses into one and exit 1 or 2."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except _MISTAKES as error:
            err.print(f"[red]error:[/] {escape(str(error))}")
            raise typer.Exit(2) from None
        except ClusterLostError as error:
            err.print(f"[red]stopped:[/] {escape(str(error))}")
            raise typer.Exit(1) from None
        except OSError as error:
            place = error.filename or kwargs.get("store") or "the disk"
            err.print(f"[red]error:[/] {escape(_refused(error, place))}")
            raise typer.Exit(2 if error.errno in _FORBIDDEN else 1) from None
        except _Ended:
            err.print("stopped by a signal to end; the finished blocks are kept, and the same command continues")
            raise typer.Exit(143) from None
        except KeyboardInterrupt:
            err.print("stopped; the finished blocks are kept, and the same command continues")
            raise typer.Exit(130) from None

    return guarded


class _Ended(BaseException):
    """The machine or a batch system wants this process to end."""


@contextmanager
def _ending_in_order() -> Iterator[None]:
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


@app.command()
@_mistakes
def run(
    recipe: RecipePath,
    store: Annotated[Path, typer.Option(help="Where the store is or will be, NAME.zarr.", show_default=False)],
    until: Annotated[str | None, typer.Option(help=f"Last step to do: {', '.join(STEPS)}.")] = None,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    cluster_config: SiteOption = None,
    tls_ca: Annotated[Path | None, typer.Option(help="Authority of a tls:// scheduler.", show_default=False)] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Own certificate for it.", show_default=False)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of the certificate.", show_default=False)] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let another machine's tcp:// do without TLS.")] = False,
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
    found = load(recipe)
    scans = Scans.of(found, recipe.resolve().parent)
    site = load_site(cluster_config, found.cluster, kind=cluster, workers=workers, patience=patience)
    certificates = Certificates(tls_ca, tls_cert, tls_key)
    did = _run(scans, store, until, site, performance_report, certificates, insecure=insecure)
    if profile:
        _print_profile(store)
    if did and until is None:
        _next(store)


@app.command()
@_mistakes
def submit(
    recipe: RecipePath,
    store: Annotated[Path, typer.Option(help="Where the store is or will be, NAME.zarr.", show_default=False)],
    until: Annotated[str | None, typer.Option(help=f"Last step to do: {', '.join(STEPS)}.")] = None,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    cluster_config: SiteOption = None,
    spread: Annotated[bool, typer.Option("--spread", help="Give each worker a job of its own.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the job's script and submit nothing.")] = False,
) -> None:
    """Submit a job of a batch system that holds the whole run: scheduler, client and workers."""
    _check_step(until)
    found = load(recipe)
    site = load_site(cluster_config, found.cluster, kind=cluster, workers=workers)
    count = site.workers or max(1, site.cores)
    Scans.of(found, recipe.resolve().parent).plan(count)  # mistakes are told here, not in the job's log
    words = ["--until", until] if until else []
    words += ["--cluster-config", str(cluster_config.resolve())] if cluster_config else []
    job = Submission(
        site.kind, recipe.resolve(), store.resolve(), count, found.compute.memory, site, spread, tuple(words)
    )
    if dry_run:
        sys.stdout.write(job.script())
        return
    if who := Work.beside(store.resolve()).is_held():
        raise ClusterError(f"another run is writing this store ({who}); wait for it or stop it")
    out.print(escape(job.submit()))
    place = shlex.quote(str(store))
    out.print(
        escape(
            f"watch it:     crackdask status {place}\n              {job.batch.queue}\n"
            f"              its log in {job.logs}\n"
            "if it ends before it is done, submit it again by the same command: it continues"
        )
    )


def _check_step(until: str | None) -> None:
    if until is not None and until not in STEPS:
        raise typer.BadParameter(f"{until!r} is no step; the steps are {', '.join(STEPS)}", param_hint="--until")


def _print_profile(store: Path) -> None:
    """Print what each step cost, as the store remembers it."""
    facts = attributes(store)
    shape = facts["identity"]["shape"]
    steps = profile_of(facts.get("steps", {}), shape[0] * shape[1] * shape[2])
    rows = [
        [
            s.step,
            str(s.states),
            duration(s.seconds),
            duration(s.cost.busy_seconds),
            f"{s.voxels_per_second / 1e6:.1f}",
            size(s.cost.bytes_read),
            size(s.cost.bytes_written),
            size(s.cost.peak_bytes) if s.cost.peak_bytes else "-",
        ]
        for s in steps
    ]
    total = sum(s.seconds for s in steps)
    heads = ["step", "states", "took", "workers busy", "Mvoxel/s", "read", "written", "peak memory"]
    out.print(columns("", heads, [*rows, ["all", "", duration(total), "", "", "", "", ""]]))


def _run(
    scans: Scans,
    store: Path,
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
    scans.plan(site.workers or len(os.sched_getaffinity(0)))  # too little memory is told before workers start with it
    shared = Path(site.folder).expanduser() if site.folder else Work.beside(store.resolve()).folder
    with (
        _ending_in_order(),
        connect(
            site.kind,
            site.workers,
            recipe.compute.memory,
            site=site,
            folder=shared,
            certificates=certificates,
            insecure=insecure,
            say=_notice,
        ) as executor,
        recorded(executor, performance_report),
    ):
        names = [state.name for state in recipe.states]
        with Display(out, names, prod(scans.shape), executor.workers, executor.dashboard) as display:
            job = Run(scans, store.resolve(), executor, display)
            outcome = job(until)
    _conclude(outcome, store, until, time.monotonic() - started)
    return bool(outcome.done)


def _notice(words: str) -> None:
    out.print(f"[yellow]note[/] {escape(words)}")


def _conclude(outcome: Outcome, store: Path, until: str | None, seconds: float) -> None:
    if outcome.failures:
        failed = len(outcome.failures)
        err.print(f"[red]{failed} block{'s' * (failed > 1)} failed:[/]")
        for failure in outcome.failures[:20]:
            where = " ".join(
                f"{axis} {a}:{b}" for axis, a, b in zip("zyx", failure.box.start, failure.box.stop, strict=True)
            )
            err.print(escape(f"  {failure.unit} ({failure.step}) block {failure.number} [{where}]: {failure.error}"))
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


def _next(store: Path) -> None:
    """Say what to type next, ready to copy."""
    place = shlex.quote(str(store))
    look = shlex.quote(f"import crackdask; print(crackdask.open({json.dumps(str(store))}))")
    out.print(f"\nthe store is {escape(str(store))}\nnext, for instance:")
    for command in (f"crackdask status {place}", f"crackdask export {place}", f"python -c {look}"):
        out.print(f"  {escape(command)}")


def _summary(store: Path) -> None:
    """Print what was found: a row for each state."""
    from crackdask.opening import open_store

    tree = open_store(store)
    table = tree["particles"].to_dataset().load()
    residual = tree["transforms"].to_dataset().residual_voxels.load()
    tracked = table.tracked.any("state")
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
            ]
        )
    heads = ["state", "voltage", "particles", "diameter um", "mean grey", "residual voxels"]
    out.print()
    out.print(columns("", heads, rows))
    out.print(
        "(medians and means of the tracked particles; residual of the registration)\n\n"
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
@_mistakes
def check(recipe: RecipePath, cluster: ClusterOption = None, workers: WorkersOption = None) -> None:
    """Validate a recipe and plan the run: blocks, memory, disk, tasks, time. Reads no voxel."""
    found = load(recipe)
    scans = Scans.of(found, recipe.resolve().parent)
    count = load_site(None, found.cluster, kind=cluster, workers=workers).workers or len(os.sched_getaffinity(0))
    _print_plan(found, scans, count)


def _print_plan(recipe: Recipe, scans: Scans, workers: int) -> None:
    plan = scans.plan(workers)
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
            f"({size(BASE_BYTES)} program, {size(plan.peak.bytes)} {plan.peak.step})",
        ],
        ["scans to read", size(cost.source_bytes)],
        ["store", f"about {size(cost.store_bytes)}"],
        ["work folder, at most", f"about {size(cost.work_bytes)}"],
        ["likely time", f"{duration(cost.seconds)} on {workers} worker{'s' * (workers > 1)}"],
    ]
    out.print(facts(rows))
    out.print("\nthe recipe is valid")


@app.command()
@_mistakes
def status(store: StorePath, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show what is done, what failed and what a rerun would do."""
    found = read_status(store)
    if as_json:
        sys.stdout.write(json.dumps(found.as_dict(), indent=2) + "\n")
        return
    _print_status(store, found)


def _print_status(store: Path, found: Status) -> None:
    how = "complete" if found.complete else "not complete"
    held = f", being written by {found.running}" if found.running else ""
    out.print(f"[bold]{escape(str(store))}[/] {escape(f'({found.name}): {how}{held}')}\n")
    rows = [
        [s.step, f"{len(s.done)} of {len(s.done) + len(s.left)}", duration(s.seconds), ", ".join(s.left) or "-"]
        for s in found.steps
    ]
    out.print(columns("", ["step", "states done", "took", "states left"], rows))
    for step, state, name, done, blocks in found.at_work:
        out.print(escape(f"\nbegun: {step} {state} ({name}), {done} of {blocks} blocks"))
    for failure in found.failed:
        out.print(
            f"\n[red]failed:[/] {failure['unit']} ({failure['pass']}) block {failure['block']}: "
            f"{escape(failure['error'])}"
        )
    if found.rerun and not found.running:
        first, last = found.rerun[0], found.rerun[-1]
        count = f"{len(found.rerun)} step{'s' * (len(found.rerun) > 1)}"
        out.print(escape(f"\na rerun would do {count}, from {first[0]} {first[1]} to {last[0]}"))


@app.command()
@_mistakes
def report(
    store: StorePath,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default NAME-report beside the store.")
    ] = None,
) -> None:
    """Write the report: one page (HTML) with a summary and the figures, and the numbers behind each (CSV)."""
    made = write_report(store, to or store.resolve().with_name(f"{store.resolve().stem}-report"))
    for title, why in made.missing.items():
        out.print(escape(f"not drawn: {title}: {why}"))
    for words in made.warnings:
        out.print(f"[yellow]warning:[/] {escape(words)}")
    out.print(escape(str(made.page)))


@app.command()
@_mistakes
def export(
    store: StorePath,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default NAME-export beside the store.")
    ] = None,
    table: Annotated[bool, typer.Option(help="The particle table, as CSV and Parquet.")] = True,
    labels: Annotated[bool, typer.Option(help="The labels, as 16-bit TIFF slices.")] = False,
) -> None:
    """Write the particle table (CSV, Parquet) and, on request, the labels (TIFF) for other tools."""
    folder = to or store.resolve().with_name(f"{store.resolve().stem}-export")
    written: list[Path] = []
    if labels:
        written += export_labels(store, folder)
    if table:
        written += export_table(store, folder)
    for path in written:
        out.print(escape(str(path)))


@app.command()
@_mistakes
def init(
    scans: Annotated[list[Path], typer.Argument(help="Scans, or folders of scans, in electrochemical order.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe to write.")] = Path("recipe.toml"),
    force: Annotated[bool, typer.Option(help="Overwrite the recipe.")] = False,
) -> None:
    """Write a recipe for some scans, to be completed by hand."""
    if output.exists() and not force:
        err.print(f"[red]error:[/] {escape(str(output))} exists; give another --output, or --force")
        raise typer.Exit(2)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(draft(scans, output.resolve().parent), encoding="utf-8")
    out.print(
        escape(f"wrote {output}: fill in voltages and steps, then:\n  crackdask check {shlex.quote(str(output))}")
    )


@app.command()
@_mistakes
def demo(
    store: Annotated[Path, typer.Option(help="Where the store goes; scans and recipe lie beside it.")] = Path(
        "crackdask-demo/demo.zarr"
    ),
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
) -> None:
    """Make a small operando experiment with known truth, and run everything on it."""
    count = workers or len(os.sched_getaffinity(0))
    recipe = demonstration.prepare(store.resolve(), count, out.print)
    found = load(recipe)
    site = load_site(None, found.cluster, kind=cluster, workers=workers)
    _run(Scans.of(found, recipe.parent), store, None, site)
    out.print("\ntracked particles whose core is more cracked than when pristine:")
    rows = [[state, f"{found:.0%}", f"{true:.0%}"] for state, found, true in demonstration.verdict(store.resolve())]
    out.print(columns("", ["state", "found", "programmed"], rows))
    _next(store)


def main() -> Any:
    """Run the command line."""
    return app()
