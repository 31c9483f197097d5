"""The command that measures the cracks of particles: cracks."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.markup import escape

from crackdask.cli.common import adding, app, err, examples, out
from crackdask.cli.conclusion import say_added
from crackdask.cli.console import columns
from crackdask.cli.endings import mistakes
from crackdask.cli.options import ClusterOptions, StoreName, expanded
from crackdask.engine.crack_table import BlockError, check, write_cracks
from crackdask.engine.platform import check_can_run
from crackdask.storage.locations import Place, place
from crackdask.store.open import open_store
from crackdask.store.root import attributes


@app.command(
    epilog=examples(
        "crackdask cracks nmc811.zarr",
        "crackdask cracks nmc811.zarr --state pristine --state 4.2V --threshold 0.3",
    )
)
@expanded
@mistakes
def cracks(
    store: StoreName,
    options: ClusterOptions,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A state, by name; may be given again. By default all.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Void fraction from which a voxel counts as crack; by default the recipe's.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure the cracks of every particle, and add them to the store as the table `cracks`."""
    check_can_run()
    where = place(store).resolve()
    facts = attributes(where)
    changed: dict[str, Any] = {} if threshold is None else {"crack_threshold": threshold}
    check(where, state or (), **changed)
    started = time.monotonic()
    try:
        with adding(options, where, facts) as (executor, display):
            done, kept = write_cracks(where, executor, display, state or (), **changed)
    except BlockError as error:
        err.print(f"[red]error:[/] {escape(str(error))}; the same command continues with the states that are left")
        raise typer.Exit(1) from None
    if not done:
        out.print(f"{escape(str(store))}: the cracks of {'these' if state else 'all'} states are there; nothing to do")
        return
    say_added(done, kept, time.monotonic() - started)
    _print_cracks(where)


def _print_cracks(store: Place) -> None:
    """Print a row for each state: sums over the tracked particles, or over all where none is tracked."""
    from crackdask.analysis.cracks import table

    tree = open_store(store)
    all_cracks = table(tree).load()
    tracked = tree["particles"].to_dataset().tracked.isel(state=0).values
    some = all_cracks.isel(particle=tracked) if tracked.any() else all_cracks
    rows = []
    for number in range(some.sizes["state"]):
        here = some.isel(state=number)
        if not bool(here.computed):
            continue
        rows.append(
            [
                str(here.state.values),
                f"{float(here.core_volume_um3.sum()):.0f}",
                f"{float(here.crack_volume_partial_um3.sum()):z.0f}",
                f"{float(here.crack_volume_um3.sum()):.0f}",
                f"{float(here.skeleton_length_um.sum()):.0f}",
                f"{float(here.thickness_mean_um.mean()):.2f}",
            ]
        )
    heads = ["state", "cores um3", "void um3", "cracks um3", "skeleton um", "thickness um"]
    out.print()
    out.print(columns("", heads, rows))
    which = "tracked" if tracked.any() else "found"
    words = "void: by partial volume; cracks: voxels counted; mean thickness"
    out.print(f"(sums over the {some.sizes['particle']} particles {which}; {words})")
