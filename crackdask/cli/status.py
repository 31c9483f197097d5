"""The command that looks at a store: status."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import StoreName, app, mistakes, out
from crackdask.cli.console import columns, duration
from crackdask.engine.status import Status
from crackdask.engine.status import status as read_status
from crackdask.storage.locations import Place, place


@app.command()
@mistakes
def status(store: StoreName, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show what is done, what failed and what a rerun would do."""
    where = place(store)
    found = read_status(where)
    if as_json:
        sys.stdout.write(json.dumps(found.as_dict(), indent=2) + "\n")
        return
    _print_status(where, found)


def _print_status(store: Place, found: Status) -> None:
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
    if found.job and not found.complete:
        out.print(escape(f"\nlast job: {found.job}; its log in {found.job.logs}"))
