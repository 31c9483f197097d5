"""The command that writes results for other tools: export."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from crackdask.cli.common import app, beside, connected, err, examples, out
from crackdask.cli.console import Display
from crackdask.cli.endings import mistakes
from crackdask.cli.options import ClusterOptions, StoreName, expanded, on_disk, starting
from crackdask.export import FORMATS, TABLES, PaintError, export_labels, export_tables, export_tomograms, property_of
from crackdask.export import paint as paint_image
from crackdask.export.paint import PAINT_BYTES
from crackdask.storage.locations import Place, place
from crackdask.store.open import open_store

_TABLES, _IMAGES = "Tables", "Images"
Folder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "--to",
        metavar="FOLDER",
        help="Folder to write to; by default NAME-export beside the store (here, if it is in a bucket).",
        callback=on_disk,
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="parquet, csv or xlsx (one workbook); again for several. By default all tables as Parquet, and as "
        "CSV but the long ones. In CSV and Excel, text that would be run as a formula begins with an apostrophe.",
        show_default=False,
        autocompletion=starting(tuple(FORMATS)),
        rich_help_panel=_TABLES,
    ),
]
Tables = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help=f"A table; again for several, by default all: {', '.join(TABLES)}.",
        show_default=False,
        autocompletion=starting(tuple(TABLES)),
        rich_help_panel=_TABLES,
    ),
]
Labels = Annotated[bool, typer.Option("--labels", help="The labels, as 16-bit TIFF slices.", rich_help_panel=_IMAGES)]
Tomograms = Annotated[
    bool,
    typer.Option("--tomograms", help="Tomograms that the store keeps, as 32-bit TIFF slices.", rich_help_panel=_IMAGES),
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PROPERTY",
        help="A property of the particles in place, as an OME-Zarr image (NGFF 0.5, float32): a column of "
        "particles such as volume_um3, damage, damage_error, damage_class, damage_change, or cracks/COLUMN; "
        "again for several.",
        show_default=False,
        rich_help_panel=_IMAGES,
    ),
]
Background = Annotated[
    float,
    typer.Option(
        metavar="NUMBER",
        help="Painted outside particles and where there is no value: nan, or a number.",
        rich_help_panel=_IMAGES,
    ),
]


@app.command(
    epilog=examples(
        "crackdask export nmc811.zarr",
        "crackdask export nmc811.zarr --table particles --table damage --format xlsx",
        "crackdask export nmc811.zarr --labels --paint damage --paint volume_um3",
    )
)
@expanded
@mistakes
def export(
    store: StoreName,
    options: ClusterOptions,
    to: Folder = None,
    kind: Formats = None,
    table: Tables = None,
    labels: Labels = False,
    tomograms: Tomograms = False,
    paint: Properties = None,
    background: Background = float("nan"),
) -> None:
    """Write results for other tools: tables, labels and tomograms as TIFF, properties as OME-Zarr images.

    Tables are written where they are asked for (--table, --format), or where no image is.
    Only --paint needs workers.
    """
    where = place(store)
    folder = to or beside(where, "export")
    for asked, write in ((labels, export_labels), (tomograms, export_tomograms)):
        for path in write(where, folder) if asked else ():
            out.print(escape(str(path)))
    if table or kind or not (labels or tomograms or paint):
        _tables(where, folder, table or (), kind or ())
    if paint:
        _paint(where, paint, folder, background, options)


def _tables(store: Place, folder: Path, wanted: Sequence[str], formats: Sequence[str]) -> None:
    """Write tables and say which."""
    written = export_tables(store, folder, wanted, formats)
    out.print(escape(f"{folder}: {len(written.files)} file{'s' * (len(written.files) > 1)}"))
    for suffix in dict.fromkeys(path.suffix for path in written.files):
        names = ", ".join(path.stem for path in written.files if path.suffix == suffix)
        out.print(escape(f"  {suffix[1:]}: {names}"))
    for words in written.notes:
        out.print(f"[yellow]note:[/] {escape(words)}")


def _paint(store: Place, wanted: list[str], folder: Path, background: float, options: ClusterOptions) -> None:
    """Paint properties, after all of them are known to be there."""
    tree = open_store(store)
    for name in wanted:
        property_of(tree, name)
    names, shape = [str(state) for state in tree["volumes"].state.values], tree["volumes"].label.shape
    try:
        with (
            connected(options, store, PAINT_BYTES) as executor,
            Display(err, names, prod(shape[1:]), executor.workers, executor.dashboard) as display,
        ):
            images = [
                paint_image(store, name, folder, background=background, executor=executor, progress=display)
                for name in wanted
            ]
    except PaintError as error:
        err.print(f"[red]error:[/] {escape(str(error))}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        err.print("stopped; the image that was being painted is gone, and the same command paints it anew")
        raise typer.Exit(130) from None
    for image in images:
        out.print(escape(str(image)))
