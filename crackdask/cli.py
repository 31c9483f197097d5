"""The commands; thin: they read arguments, call the package and say what happened.

Exit 0 when everything is done, 1 when blocks failed, 2 for a mistake of the user's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from crackdask import demo as demonstration
from crackdask.cluster import ClusterError, connect
from crackdask.config import Recipe, load
from crackdask.console import Display, columns, duration, size
from crackdask.export import ExportError, export_labels, export_table
from crackdask.init import draft
from crackdask.planning import BASE_BYTES, estimate
from crackdask.run import USER_ERRORS, Outcome, Run, Scans
from crackdask.schema import STEPS
from crackdask.status import Status
from crackdask.status import status as read_status

app = typer.Typer(
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
    str, typer.Option(help="local, threads, synchronous, or a scheduler's address: tcp://host:port, tls://host:port.")
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Workers; by default one for each core.")]

_MISTAKES: tuple[type[BaseException], ...] = (*USER_ERRORS, ClusterError, ExportError)


def _mistakes(command: Callable[P, R]) -> Callable[P, R]:
    """Turn mistakes of the user's into a message and exit 2."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except _MISTAKES as error:
            err.print(f"[red]error:[/] {escape(str(error))}")
            raise typer.Exit(2) from None
        except PermissionError as error:
            err.print(f"[red]error:[/] no permission: {escape(str(error))}; choose a place you may write to")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            err.print("stopped; the finished blocks are kept, and the same command continues")
            raise typer.Exit(130) from None

    return guarded


@app.command()
@_mistakes
def run(
    recipe: RecipePath,
    store: Annotated[Path, typer.Option(help="Where the store is or will be, NAME.zarr.", show_default=False)],
    until: Annotated[str | None, typer.Option(help=f"Last step to do: {', '.join(STEPS)}.")] = None,
    cluster: ClusterOption = "local",
    workers: WorkersOption = None,
) -> None:
    """Do everything that is not done yet; call it again to continue after any stop."""
    if until is not None and until not in STEPS:
        raise typer.BadParameter(f"{until!r} is no step; the steps are {', '.join(STEPS)}", param_hint="--until")
    found = load(recipe)
    _run(Scans.of(found, recipe.resolve().parent), store, until, cluster, workers)


def _run(scans: Scans, store: Path, until: str | None, cluster: str, workers: int | None) -> None:
    started = time.monotonic()
    recipe = scans.recipe
    with connect(cluster, workers, recipe.compute.memory) as executor:
        names = [state.name for state in recipe.states]
        with _display(scans, names, executor.workers, executor.dashboard) as display:
            job = Run(scans, store.resolve(), executor, display)
            display.block_voxels = job.grid.block[0] * job.grid.block[1] * job.grid.block[2]
            outcome = job(until)
    _conclude(outcome, store, until, time.monotonic() - started)


@contextmanager
def _display(scans: Scans, names: list[str], workers: int, dashboard: str | None) -> Iterator[Display]:
    with Display(out, names, 1, workers, dashboard) as display:
        yield display


def _conclude(outcome: Outcome, store: Path, until: str | None, seconds: float) -> None:
    if outcome.failures:
        err.print(f"[red]{len(outcome.failures)} blocks failed:[/]")
        for failure in outcome.failures[:20]:
            where = " ".join(
                f"{axis} {a}:{b}" for axis, a, b in zip("zyx", failure.box.start, failure.box.stop, strict=True)
            )
            err.print(f"  {failure.unit} ({failure.step}) block {failure.number} [{where}]: {escape(failure.error)}")
        if len(outcome.failures) > 20:
            err.print(f"  and {len(outcome.failures) - 20} more: crackdask status {store}")
        if outcome.blocked:
            err.print(f"not done because of them: {', '.join(outcome.blocked)}")
        err.print("everything else is kept; mend the cause and run the same command again")
        raise typer.Exit(1)
    if not outcome.done:
        what = f"everything up to {until}" if until else "everything"
        out.print(f"{store}: {what} is done already; nothing to do")
        return
    again = f", {outcome.skipped} done before" if outcome.skipped else ""
    out.print(f"{len(outcome.done)} steps done{again} in {duration(seconds)}")
    if until is None:
        _summary(store)
        out.print(
            f"\nnext: crackdask status {store}    crackdask export {store}    python: crackdask.open({str(store)!r})"
        )


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
    heads = [
        "state",
        "voltage (V)",
        "particles",
        "median diameter (um)",
        "mean grey, tracked",
        "registration residual (voxels)",
    ]
    out.print()
    out.print(columns("", heads, rows))
    total = table.sizes["particle"]
    reasons = ", ".join(
        f"{int(table[name].any('state').sum())} {words}"
        for name, words in (
            ("on_border", "on the image border"),
            ("on_invalid", "at the edge of a scan"),
            ("lost", "absent in some state"),
            ("neighbour_lost", "beside an absent one"),
        )
    )
    out.print(
        f"\n{total} particles found, {int(tracked.sum())} tracked through all states "
        f"(dropped: {reasons}; a particle may have several reasons)"
    )


@app.command()
@_mistakes
def check(recipe: RecipePath, cluster: ClusterOption = "local", workers: WorkersOption = None) -> None:
    """Validate a recipe and plan the run: blocks, memory, disk, tasks, time. Reads no voxel."""
    found = load(recipe)
    scans = Scans.of(found, recipe.resolve().parent)
    count = workers or len(os.sched_getaffinity(0))
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
    out.print(columns("", ["plan", ""], rows))
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
    out.print(f"[bold]{store}[/] ({found.name}): {how}{held}\n")
    rows = [
        [s.step, f"{len(s.done)} of {len(s.done) + len(s.left)}", duration(s.seconds), ", ".join(s.left) or "-"]
        for s in found.steps
    ]
    out.print(columns("", ["step", "states done", "took", "states left"], rows))
    for step, state, name, done, blocks in found.at_work:
        out.print(f"\nbegun: {step} {state} ({name}), {done} of {blocks} blocks")
    for failure in found.failed:
        out.print(
            f"\n[red]failed:[/] {failure['unit']} ({failure['pass']}) block {failure['block']}: "
            f"{escape(failure['error'])}"
        )
    if found.rerun and not found.running:
        first, last = found.rerun[0], found.rerun[-1]
        out.print(f"\na rerun would do {len(found.rerun)} steps, from {first[0]} {first[1]} to {last[0]}")


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
        out.print(str(path))


@app.command()
@_mistakes
def init(
    scans: Annotated[list[Path], typer.Argument(help="Scans, or folders of scans, in electrochemical order.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe to write.")] = Path("recipe.toml"),
    force: Annotated[bool, typer.Option(help="Overwrite the recipe.")] = False,
) -> None:
    """Write a recipe for some scans, to be completed by hand."""
    if output.exists() and not force:
        err.print(f"[red]error:[/] {output} exists; give another --output, or --force")
        raise typer.Exit(2)
    output.write_text(draft(scans, output.resolve().parent), encoding="utf-8")
    out.print(f"wrote {output}: fill in voltages and steps, then: crackdask check {output}")


@app.command()
@_mistakes
def demo(
    store: Annotated[Path, typer.Option(help="Where the store goes; scans and recipe lie beside it.")] = Path(
        "crackdask-demo/demo.zarr"
    ),
    cluster: ClusterOption = "local",
    workers: WorkersOption = None,
) -> None:
    """Make a small operando experiment with known truth, and run everything on it."""
    count = workers or len(os.sched_getaffinity(0))
    recipe = demonstration.prepare(store.resolve(), count, out.print)
    _run(Scans.of(load(recipe), recipe.parent), store, None, cluster, workers)
    out.print(demonstration.verdict(store.resolve()))


def main() -> Any:
    """Run the command line."""
    return app()
