"""How a run ended, what it found, and what to type next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

import typer
from rich.markup import escape

from crackdask.analysis.findings import of_store
from crackdask.cli.common import err, out
from crackdask.cli.console import brief, columns, duration, size
from crackdask.cli.findings import print_findings
from crackdask.engine.profile import profile as profile_of
from crackdask.engine.run import Outcome
from crackdask.schema import NOT_TRACKED
from crackdask.storage.locations import Place
from crackdask.store.root import attributes


def print_profile(store: Place) -> None:
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


def conclude(outcome: Outcome, store: Place, until: str | None, seconds: float) -> None:
    """Say how a run ended.

    Raises
    ------
    typer.Exit
        If blocks failed.
    """
    if outcome.failures:
        _print_failures(outcome, store)
        raise typer.Exit(1)
    if not outcome.done:
        what = f"everything up to {until}" if until else "everything"
        out.print(f"{escape(str(store))}: {what} is done already; nothing to do")
        return
    again = f", {outcome.skipped} done before" if outcome.skipped else ""
    out.print(f"{len(outcome.done)} steps done{again} in {duration(seconds)}")
    if until is None:
        _summary(store)


def _print_failures(outcome: Outcome, store: Place) -> None:
    """Say which blocks failed, and what was not done because of them."""
    failed = len(outcome.failures)
    err.print(f"[red]{failed} block{'s' * (failed > 1)} failed:[/]")
    for failure in outcome.failures[:20]:
        where = " ".join(
            f"{axis} {a}:{b}" for axis, a, b in zip("zyx", failure.box.start, failure.box.stop, strict=True)
        )
        err.print(escape(f"  {failure.unit} ({failure.pass_}) block {failure.number} [{where}]: {failure.error}"))
    if failed > 20:
        err.print(f"  and {failed - 20} more: crackdask status {escape(shlex.quote(str(store)))}")
    if outcome.blocked:
        err.print(f"not done because of them: {', '.join(outcome.blocked)}")
    err.print("everything else is kept; mend the cause and run the same command again")


def say_added(done: Sequence[str], kept: Sequence[str], seconds: float) -> None:
    """Say for how many states something was added to a store, and for how many it was there."""
    again = f", {len(kept)} there before" if kept else ""
    out.print(f"{len(done)} state{'s' * (len(done) > 1)} done{again} in {duration(seconds)}")


def say_next(store: Place) -> None:
    """Say what to type next, ready to copy."""
    place = shlex.quote(str(store))
    look = shlex.quote(f"import crackdask; print(crackdask.open({json.dumps(str(store))}))")
    out.print(f"\nthe store is {escape(str(store))}\nnext, for instance:")
    for command in (
        f"crackdask status {place}",
        f"crackdask cracks {place}",
        f"crackdask report {place}",
        f"crackdask explore {place}",
        f"crackdask export {place}",
        f"python -c {look}",
    ):
        out.print(f"  {escape(command)}")


def _summary(store: Place) -> None:
    """Print what was found: a row for each state."""
    from crackdask.store.open import open_store  # loads xarray: not before the run is over

    tree = open_store(store)
    # Of some forty columns; all of them took 1.6 s of a store of the paper's size.
    told = ["tracked", "voxels", "equivalent_diameter_um", "grey_mean", *NOT_TRACKED]
    table = tree["particles"].to_dataset()[told].load()
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
    _print_dropped(table)
    print_findings(of_store(tree.attrs))


def _print_dropped(table: Any) -> None:
    """Print how many particles are not tracked, and why."""
    dropped = [
        f"  {count} {words}" for name, words in NOT_TRACKED.items() if (count := int(table[name].any("state").sum()))
    ]
    if dropped:
        out.print("\n".join(["dropped, some for several reasons:", *dropped]))
