"""The command that shows one crop under several values of a key: preview."""

from __future__ import annotations

import tempfile
from pathlib import Path
from textwrap import indent
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from crackdask.cli.common import app, err, examples, out
from crackdask.cli.endings import mistakes
from crackdask.cli.options import RecipePath, on_disk
from crackdask.engine.platform import check_can_run
from crackdask.engine.preview import AROUND, USUAL_BOX, Preview
from crackdask.engine.scans import Scans
from crackdask.grid import Box
from crackdask.recipe.recipe import RecipeError, load
from crackdask.recipe.sweep import SECTIONS, Sweep
from crackdask.report.preview_page import MEANING, Tried, check_can_draw, write_preview


@app.command(
    epilog=examples(
        "crackdask preview recipe.toml --set labels.min_depth=0.3,0.5,1",
        "crackdask preview recipe.toml --set mask.opening=0,1 --box 40:90,0:200,0:200",
        "crackdask preview recipe.toml --state '4.2 V' --set register.local=true,false",
        "crackdask preview scan.toml --set reconstruct.center=859,860,861",
    )
)
@mistakes
def preview(
    recipe: RecipePath,
    tried: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="SECTION.KEY=A,B,C",
            help=f"Values to try, of {', '.join(SECTIONS)}; a second --set makes a grid.",
            show_default=False,
        ),
    ],
    box: Annotated[
        str | None,
        typer.Option(
            metavar="Z0:Z1,Y0:Y1,X0:X1",
            help=f"Voxels of the (cropped) volume; by default its middle {' x '.join(map(str, USUAL_BOX))}.",
            show_default=False,
        ),
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="NAME", help="State to look at; by default the reference.", show_default=False)
    ] = None,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where preview.html and preview.png go.", callback=on_disk)
    ] = Path("preview"),
) -> None:
    """Show one crop under each value of a key: outlines, counts, sizes, and how the answers differ."""
    check_can_run()
    experiment, base = load(recipe), recipe.resolve().parent
    sweeps = [Sweep.parsed(text) for text in tried]
    check_can_draw()
    looked = Preview.of(Scans.of(experiment, base), base, state, _box(box), sweeps)
    with tempfile.TemporaryDirectory(prefix="crackdask-preview-") as folder:
        variants = []
        with err.status("preparing") as line:
            for variant in looked.variants(
                Path(folder), lambda done, count: line.update(f"value {min(done + 1, count)} of {count}")
            ):
                variants.append(variant)  # noqa: PERF402 - shows how it goes on
    name = experiment.states[looked.state].name
    tried_here = Tried(name, looked.box, experiment.experiment.voxel_um, looked.sweeps, looked.denoised)
    written = write_preview(tried_here, variants, to)
    table = Table(box=None, pad_edge=False)
    for heading in ("", *written.heading):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for row in written.rows:
        table.add_row(*map(escape, row))
    out.print(table)
    out.print(MEANING, style="dim")
    if looked.state != experiment.reference:
        out.print(f"\nregistered with {AROUND} voxels around the box: a state that moved further needs a larger box")
    out.print(escape(f"\n{written.picture}\n{written.page}\n\nto choose one, write into {recipe}:"))
    for text in written.lines:
        out.print(escape(indent(text, "  ") + "\n"))


def _box(text: str | None) -> Box | None:
    """Return the box that is written on the command line."""
    if text is None:
        return None
    try:
        ends = [tuple(int(n) for n in part.split(":")) for part in text.split(",")]
        if len(ends) != 3 or any(len(pair) != 2 or not 0 <= pair[0] < pair[1] for pair in ends):
            raise ValueError(text)
    except ValueError:
        raise RecipeError(
            f"--box {text}: wanted first and end of each axis, first < end, such as 40:90,0:200,0:200"
        ) from None
    (z0, z1), (y0, y1), (x0, x1) = ends
    return Box((z0, y0, x0), (z1, y1, x1))
