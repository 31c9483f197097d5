"""The command that adds coarser levels to a finished store: levels."""

from __future__ import annotations

import time

import typer
from rich.markup import escape

from crackdask.cli.common import adding, app, err, examples, out
from crackdask.cli.conclusion import say_added
from crackdask.cli.endings import mistakes
from crackdask.cli.options import ClusterOptions, StoreName, expanded
from crackdask.engine.level_writer import write_levels
from crackdask.engine.pass_runner import BlocksFailedError
from crackdask.engine.platform import check_can_run
from crackdask.storage.locations import place
from crackdask.store.root import attributes


@app.command(epilog=examples("crackdask levels nmc811.zarr", "crackdask levels s3://BUCKET/nmc811.zarr"))
@expanded
@mistakes
def levels(store: StoreName, options: ClusterOptions) -> None:
    """Add the coarser levels that viewers want to a store which was made without them."""
    check_can_run()
    where = place(store).resolve()
    facts = attributes(where)
    started = time.monotonic()
    try:
        with adding(options, where, facts) as (executor, display):
            done, kept = write_levels(where, executor, display)
    except BlocksFailedError as error:
        first = error.failures[0]
        err.print(
            f"[red]error:[/] {len(error.failures)} blocks failed, the first is voxels {first.box.start} to "
            f"{first.box.stop} of {escape(first.pass_)}: {escape(first.error)}; the same command continues"
        )
        raise typer.Exit(1) from None
    if not done:
        out.print(f"{escape(str(store))}: the levels of all states are there; nothing to do")
        return
    say_added(done, kept, time.monotonic() - started)
