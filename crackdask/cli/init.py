"""The command that drafts a recipe: init."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import app, err, examples, out
from crackdask.cli.endings import mistakes
from crackdask.cli.options import on_disk
from crackdask.recipe.draft import draft
from crackdask.storage.locations import place


@app.command(
    epilog=examples(
        "crackdask init scans/pristine scans/charged_4.2V -o recipe.toml",
        "crackdask init s3://BUCKET/scans/pristine.zarr s3://BUCKET/scans/charged.zarr",
    )
)
@mistakes
def init(
    scans: Annotated[
        list[str],
        typer.Argument(
            metavar="SCAN...", help="Scans, or folders of scans, in electrochemical order.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The recipe to write.", callback=on_disk)
    ] = Path("recipe.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a recipe that is there.")] = False,
) -> None:
    """Write a recipe for some scans, to be completed by hand."""
    if output.exists() and not force:
        err.print(f"[red]error:[/] {escape(str(output))} exists; give another --output, or --force")
        raise typer.Exit(2)
    output.parent.mkdir(parents=True, exist_ok=True)
    drafted = draft([place(scan) for scan in scans], output.resolve().parent)
    output.write_text(drafted.text, encoding="utf-8")
    missing = ", ".join(f"{key} ({n})" if n > 1 else key for key, n in Counter(drafted.open_keys).items())
    asked = f"fill in {missing}, then:" if missing else "look through it, then:"
    out.print(escape(f"wrote {output}: {asked}\n  crackdask check {shlex.quote(str(output))}"))
