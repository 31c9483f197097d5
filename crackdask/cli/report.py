"""The command that writes the report: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import app, beside, examples, out
from crackdask.cli.endings import mistakes
from crackdask.cli.options import StoreName, on_disk
from crackdask.report.page import report as write_report
from crackdask.storage.locations import place


@app.command(
    epilog=examples(
        "crackdask report nmc811.zarr",
        "crackdask report s3://BUCKET/nmc811.zarr --to figures",
    )
)
@mistakes
def report(
    store: StoreName,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder to write to; by default NAME-report beside the store (here, if it is in a bucket).",
            callback=on_disk,
        ),
    ] = None,
) -> None:
    """Write the report: one page (HTML) with a summary and the figures, and the numbers behind each (CSV)."""
    where = place(store)
    written = write_report(where, to or beside(where, "report"))
    for title, why in written.missing.items():
        out.print(escape(f"not drawn: {title}: {why}"))
    for words in written.warnings:
        out.print(f"[yellow]warning:[/] {escape(words)}")
    for words in written.notes:
        out.print(f"seen, and taken care of: {escape(words)}")
    out.print(escape(str(written.page)))
