"""The command that looks at a store: status."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import app, examples, out
from crackdask.cli.console import columns, duration
from crackdask.cli.endings import mistakes
from crackdask.cli.findings import print_findings
from crackdask.cli.options import StoreName
from crackdask.cli.viewers import viewer_lines
from crackdask.engine.status import Status
from crackdask.engine.status import status as read_status
from crackdask.storage.locations import Place, place
from crackdask.store.root import attributes


@app.command(
    epilog=examples(
        "crackdask status nmc811.zarr",
        "crackdask status s3://BUCKET/nmc811.zarr --json",
        "crackdask status nmc811.zarr --verify",
    )
)
@mistakes
def status(
    store: StoreName,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, for other programs.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also read every chunk and check its content; exit 2 if one is damaged.")
    ] = False,
) -> None:
    """Show what is done, what failed and what a rerun would do."""
    where = place(store)
    report = read_status(where, content=verify)
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=2) + "\n")
    else:
        _print_status(where, report)
    if verify and report.damaged:
        raise typer.Exit(2)


def _print_status(store: Place, report: Status) -> None:
    how = "complete" if report.complete else "not complete"
    held = f", being written by {report.running}" if report.running else ""
    out.print(f"[bold]{escape(str(store))}[/] {escape(f'({report.name}): {how}{held}')}\n")
    rows = [
        [s.step, f"{len(s.done)} of {len(s.done) + len(s.left)}", duration(s.seconds), ", ".join(s.left) or "-"]
        for s in report.steps
    ]
    out.print(columns("", ["step", "states done", "took", "states left"], rows))
    for step, state, name, done, blocks in report.at_work:
        out.print(escape(f"\nbegun: {step} {state} ({name}), {done} of {blocks} blocks"))
    for failure in report.failed:
        out.print(
            f"\n[red]failed:[/] {failure['unit']} ({failure['pass']}) block {failure['block']}: "
            f"{escape(failure['error'])}"
        )
    for words in report.damaged:
        out.print(f"\n[red]damaged:[/] {escape(words)}")
    if report.rerun and not report.running:
        first, last = report.rerun[0], report.rerun[-1]
        count = f"{len(report.rerun)} step{'s' * (len(report.rerun) > 1)}"
        out.print(escape(f"\na rerun would do {count}, from {first[0]} {first[1]} to {last[0]}"))
    print_findings(report.findings)
    for number, line in enumerate(viewer_lines(store, attributes(store))):
        out.print(escape(f"\n{line}" if number == 0 else line))
    if report.job and not report.complete:
        out.print(escape(f"\nlast job: {report.job}; its log in {report.job.logs}"))
