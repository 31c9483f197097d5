"""Commands that make something of a store: cracks, report, export."""

from __future__ import annotations

import time
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from crackdask.cli.common import (
    CaOption,
    CertOption,
    ClusterOption,
    Helpers,
    InsecureOption,
    KeyOption,
    SiteOption,
    StoreName,
    WorkersOption,
    app,
    err,
    made_of,
    mistakes,
    on_disk,
    out,
)
from crackdask.cli.console import Display, columns, duration
from crackdask.engine.crack_table import BlockError, check, write_cracks
from crackdask.export import TABLES, PaintError, export_labels, export_tables, property_of
from crackdask.export import paint as paint_image
from crackdask.export.paint import PAINT_BYTES
from crackdask.report.page import report as write_report
from crackdask.storage.locations import Place, place
from crackdask.store.open import open_store
from crackdask.store.root import attributes


@app.command()
@mistakes
def cracks(
    store: StoreName,
    state: Annotated[
        list[str] | None, typer.Option(help="A state, by name; may be given again. By default all.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Void fraction from which a voxel counts as crack; by default the recipe's.", show_default=False
        ),
    ] = None,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    cluster_config: SiteOption = None,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Measure the cracks of every particle, and add them to the store as the table `cracks`."""
    where = place(store).resolve()
    helpers = Helpers(cluster, workers, cluster_config, (tls_ca, tls_cert, tls_key), insecure)
    facts = attributes(where)
    changed: dict[str, Any] = {} if threshold is None else {"crack_threshold": threshold}
    check(where, state or (), **changed)
    names = [found["name"] for found in facts["recipe"]["states"]]
    started = time.monotonic()
    try:
        with (
            helpers.connect(where, 2**30) as executor,
            Display(out, names, prod(facts["identity"]["shape"]), executor.workers, executor.dashboard) as display,
        ):
            done, kept = write_cracks(where, executor, display, state or (), **changed)
    except BlockError as error:
        err.print(f"[red]error:[/] {escape(str(error))}; the same command continues with the states that are left")
        raise typer.Exit(1) from None
    if not done:
        out.print(f"{escape(str(store))}: the cracks of {'these' if state else 'all'} states are there; nothing to do")
        return
    again = f", {len(kept)} there before" if kept else ""
    out.print(f"{len(done)} state{'s' * (len(done) > 1)} done{again} in {duration(time.monotonic() - started)}")
    _print_cracks(where)


def _print_cracks(store: Place) -> None:
    """Print a row for each state: sums over the tracked particles, or over all where none is tracked."""
    from crackdask.analysis.cracks import table

    tree = open_store(store)
    found = table(tree).load()
    tracked = tree["particles"].to_dataset().tracked.isel(state=0).values
    some = found.isel(particle=tracked) if tracked.any() else found
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


@app.command()
@mistakes
def report(
    store: StoreName,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; by default NAME-report beside the store (here, if it is in a bucket).",
            callback=on_disk,
        ),
    ] = None,
) -> None:
    """Write the report: one page (HTML) with a summary and the figures, and the numbers behind each (CSV)."""
    where = place(store)
    made = write_report(where, to or made_of(where, "report"))
    for title, why in made.missing.items():
        out.print(escape(f"not drawn: {title}: {why}"))
    for words in made.warnings:
        out.print(f"[yellow]warning:[/] {escape(words)}")
    out.print(escape(str(made.page)))


@app.command()
@mistakes
def export(
    store: StoreName,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "--to",
            help="Folder to write to; by default NAME-export beside the store (here, if it is in a bucket).",
            callback=on_disk,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="parquet, csv or xlsx (one workbook); again for several. By default all tables as Parquet, and as "
            "CSV but the long ones.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help=f"A table; again for several, by default all: {', '.join(TABLES)}.", show_default=False),
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="The labels, as 16-bit TIFF slices.")] = False,
    paint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROPERTY",
            help="A property of the particles in place, as an OME-Zarr image (NGFF 0.5, float32): a column of "
            "particles such as volume_um3, damage, damage_error, damage_class, damage_change, or cracks/COLUMN; "
            "again for several.",
            show_default=False,
        ),
    ] = None,
    background: Annotated[
        float, typer.Option(help="Painted outside particles and where there is no value: nan, or a number.")
    ] = float("nan"),
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    cluster_config: SiteOption = None,
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Write results for other tools: tables, labels as TIFF, properties as OME-Zarr images.

    Tables are written where they are asked for (--table, --format), or where neither --labels nor --paint is.
    """
    where = place(store)
    folder = to or made_of(where, "export")
    if labels:
        for path in export_labels(where, folder):
            out.print(escape(str(path)))
    if table or kind or not (labels or paint):
        made = export_tables(where, folder, table or (), kind or ())
        out.print(escape(f"{folder}: {len(made.files)} file{'s' * (len(made.files) > 1)}"))
        for suffix in dict.fromkeys(path.suffix for path in made.files):
            names = ", ".join(path.stem for path in made.files if path.suffix == suffix)
            out.print(escape(f"  {suffix[1:]}: {names}"))
        for words in made.notes:
            out.print(f"[yellow]note:[/] {escape(words)}")
    if paint:
        tls = (tls_ca, tls_cert, tls_key)
        _paint(where, paint, folder, background, Helpers(cluster, workers, cluster_config, tls, insecure))


def _paint(store: Place, wanted: list[str], folder: Path, background: float, helpers: Helpers) -> None:
    """Paint properties, after all of them are known to be there."""
    tree = open_store(store)
    for name in wanted:
        property_of(tree, name)
    names, shape = [str(state) for state in tree["volumes"].state.values], tree["volumes"].label.shape
    try:
        with (
            helpers.connect(store, PAINT_BYTES) as executor,
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
