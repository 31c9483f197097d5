"""One page of what a run found: figures, the numbers behind them, and what the data cannot carry."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import xarray as xr

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import table_of
from crackdask.report import markup
from crackdask.report.summary import Summary, damage_or_reason, summary
from crackdask.spreadsheet import text_cells
from crackdask.storage.locations import Place, place, write_whole
from crackdask.store.open import open_store

if TYPE_CHECKING:
    from crackdask.figures import Panel

_DPI = 200
_SMALL_BYTES = 2**28


class ReportError(ValueError):
    """The report cannot be written; the message says why and the way out."""


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes
    ----------
    page
        The HTML.
    files
        All files, the page first.
    missing
        Title of each figure that could not be drawn, and why.
    warnings
        What the data does not carry.
    notes
        What was seen, and taken care of.
    """

    page: Path
    files: tuple[Path, ...]
    missing: dict[str, str]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def report(store: Place | xr.DataTree, folder: Path) -> Report:
    """Write the report of a finished store.

    Parameters
    ----------
    store
        Where it is, or what ``crackdask.open`` returned.
    folder
        Where to write ``report.html``, ``summary.csv`` and ``figures/``.

    Raises
    ------
    ReportError
        If matplotlib is not installed.
    AnalysisError
        If the run of the store is not finished.
    StoreError
        If there is no store, or one of a newer format.
    """
    panels = _panels()
    if not isinstance(store, xr.DataTree):
        store = open_store(store)
    table_of(store, "particles")
    panels = tuple(panel for panel in panels if not panel.group or panel.group in store.children)
    pictures = folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    name = _name(store)
    store = _at_hand(store)
    with _quiet():
        damage = damage_or_reason(store)
        files, histogram = [], None
        drawn: dict[Panel, str] = {}
        missing: dict[Panel, str] = {}
        collected: object = None
        for panel in panels:
            try:
                if panel.collect is not collected:  # two figures may draw the same numbers
                    numbers = _numbers(panel, store, damage)
                    collected = panel.collect
                written, svg = _write(panel, numbers, pictures)
            except AnalysisError as error:
                _remove(panel, pictures)
                missing[panel] = str(error)
                continue
            if panel.name == "grey_histogram":
                histogram = numbers
            files += written
            explored = panel.explored(numbers) if panel.explored else ""
            listed = panel.listed(numbers) if panel.listed else ()
            drawn[panel] = markup.section(panel, svg, explored, name, listed)
        told = summary(store, damage, histogram)
    text_cells(told.frame()).to_csv(folder / "summary.csv", index=False)
    page = folder / "report.html"
    write_whole(page, _page(store, told, drawn, missing, damage).encode())  # somebody may be looking at the one before
    why = {panel.title: words for panel, words in missing.items()}
    return Report(page, (page, folder / "summary.csv", *files), why, tuple(told.warnings), tuple(told.notes))


def _name(store: xr.DataTree) -> str:
    """Return what a reader is to tell `crackdask explore`: no path of the machine that wrote the page."""
    source = str(store.encoding.get("source", ""))
    return PurePath(source).name if source and isinstance(place(source), Path) else source


def _at_hand(store: xr.DataTree) -> xr.DataTree:
    """Return a store whose tables are in memory if they are small: most figures read the same ones."""
    tables = [name for name in ("particles", "shells") if name in store.children]
    if sum(store[name].nbytes for name in tables) > _SMALL_BYTES:
        return store
    loaded = store.copy()
    for name in tables:
        loaded[name] = xr.DataTree(store[name].to_dataset().load())
    return loaded


def _panels() -> tuple[Panel, ...]:
    try:
        from crackdask.figures import PANELS
    except ImportError as error:
        if not (error.name or "matplotlib").startswith("matplotlib"):
            raise
        raise ReportError(
            "a report needs matplotlib, which is not installed: pip install 'crackdask[report]'"
        ) from None
    return PANELS


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the page says itself, and glyphs that the font lacks (they become boxes)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the store does not tell", UserWarning)
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def _numbers(panel: Panel, store: xr.DataTree, damage: xr.Dataset | AnalysisError) -> xr.Dataset:
    """Collect the numbers of a figure; damage is worked out once for all that need only it."""
    if not panel.from_damage:
        return panel.collect(store)
    if isinstance(damage, AnalysisError):
        raise damage
    return panel.collect(damage)


def _write(panel: Panel, numbers: xr.Dataset, folder: Path) -> tuple[list[Path], bytes]:
    """Write a figure as SVG and PNG, and its numbers as CSV; return the files and the SVG."""
    from crackdask.figures.style import style

    drawn = panel.draw(numbers)
    picture = io.BytesIO()
    paths = [folder / f"{panel.name}.{kind}" for kind in ("svg", "png", "csv")]
    with style():
        drawn.savefig(picture, format="svg", metadata={"Date": None})
        drawn.set_layout_engine("none")  # everything has its place by now
        drawn.savefig(paths[1], dpi=_DPI, metadata={"Software": None})
    paths[0].write_bytes(picture.getvalue())
    text_cells(panel.frame(numbers)).to_csv(paths[2], index=False)
    return paths, picture.getvalue()


def _remove(panel: Panel, folder: Path) -> None:
    """Remove what an earlier report left of a figure that cannot be drawn any more."""
    for kind in ("svg", "png", "csv"):
        (folder / f"{panel.name}.{kind}").unlink(missing_ok=True)


def _page(
    store: xr.DataTree,
    told: Summary,
    drawn: dict[Panel, str],
    missing: dict[Panel, str],
    damage: xr.Dataset | AnalysisError,
) -> str:
    definition = ""
    if isinstance(damage, xr.Dataset):
        definition = (
            f"Damage factor: {damage.attrs['definition']}. Noise of a voxel {damage.attrs['noise']:.3g} grey levels "
            f"({damage.attrs['noise_source']}); void at grey level {damage.attrs['void_grey']:.3g} "
            f"({damage.attrs['void_grey_source']})."
        )
    name = str(store.attrs["recipe"]["experiment"].get("name", "experiment"))
    version = str(store.attrs.get("crackdask_version", ""))
    return markup.page(
        f"crackdask report: {name}", told.facts, told.warnings, told.notes, drawn, missing, version, definition
    )
