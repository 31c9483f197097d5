"""One page of what a run found: figures, the numbers behind them, and what the data cannot carry."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import table_of
from crackdask.report.summary import Summary, damage_or_reason, summary
from crackdask.spreadsheet import text_cells
from crackdask.storage.locations import Place, write_whole
from crackdask.store.open import open_store

if TYPE_CHECKING:
    from crackdask.figures import Panel

_DPI = 200
_SMALL_BYTES = 2**28
#: How pages begin that ask for nothing from outside.
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
"""
_PAGE = (
    HEAD
    + """<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1b1d20; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2 {{ line-height: 1.2; font-weight: 600; }}
h2 {{ margin-top: 2.5rem; font-size: 1.2rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; }}
dt {{ font-weight: 600; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
.warning {{ border-left: 4px solid #D55E00; background: #fdf1e9; padding: .5rem 1rem; margin: .6rem 0; }}
.missing {{ border-left: 4px solid #5F6368; background: #f2f3f4; padding: .5rem 1rem; margin: .6rem 0; }}
figure {{ margin: 0; break-inside: avoid; }}
figure img {{ max-width: 100%; height: auto; }}
figcaption, footer {{ color: #44484d; font-size: .9rem; }}
.picture {{ overflow-x: auto; }}
@media (max-width: 40rem) {{ .picture img {{ max-width: none; }} }}
@media (max-width: 40rem) {{ dl {{ grid-template-columns: 1fr; gap: 0; }} dd {{ margin-bottom: .6rem; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<dl>
{facts}
</dl>
{warnings}
{panels}
<footer><p>crackdask {version}. Figures as SVG and PNG, and the numbers behind each as CSV, are in the folder
<code>figures</code> beside this page. {definition}
Parks et al. (2025): EES Batteries 1, 482, doi 10.1039/d5eb00008d.</p></footer>
</body>
</html>
"""
)


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
    """

    page: Path
    files: tuple[Path, ...]
    missing: dict[str, str]
    warnings: tuple[str, ...]


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
    store = _at_hand(store)
    with _quiet():
        damage = damage_or_reason(store)
        parts, files, histogram = [], [], None
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
            parts.append(_drawn(panel, svg))
        told = summary(store, damage, histogram)
    text_cells(told.frame()).to_csv(folder / "summary.csv", index=False)
    page = folder / "report.html"
    parts += _not_drawn(missing)
    write_whole(page, _page(store, told, parts, damage).encode())  # somebody may be looking at the one before
    why = {panel.title: words for panel, words in missing.items()}
    return Report(page, (page, folder / "summary.csv", *files), why, tuple(told.warnings))


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


def _drawn(panel: Panel, svg: bytes) -> str:
    data = base64.b64encode(svg).decode("ascii")
    return (
        f'<section id="{escape(panel.name)}">\n<h2>{escape(panel.title)}</h2>\n<figure>\n'
        f'<div class="picture"><img alt="{escape(panel.title)}" src="data:image/svg+xml;base64,{data}"></div>\n'
        f"<figcaption>{escape(panel.caption)} {_in_the_paper(panel)}"
        f'<a href="figures/{escape(panel.name)}.csv">Numbers (CSV)</a></figcaption>\n'
        "</figure>\n</section>"
    )


def _in_the_paper(panel: Panel) -> str:
    """Say which figure of the paper shows the same, if one does."""
    number = re.match(r"(\d)([a-z]+)_", panel.name)
    return f"Compare Fig. {number[1]}{', '.join(number[2])} of Parks et al. (2025). " if number else ""


def _not_drawn(missing: dict[Panel, str]) -> list[str]:
    """Return what this store cannot show, at the end of the page, so that figures stand together."""
    if not missing:
        return []
    words = [
        f'<p class="missing" id="{escape(panel.name)}">Not drawn: <b>{escape(panel.title)}</b>: {escape(why)}</p>'
        for panel, why in missing.items()
    ]
    return ["<section>\n<h2>What this store cannot show</h2>", *words, "</section>"]


def _page(store: xr.DataTree, told: Summary, parts: list[str], damage: xr.Dataset | AnalysisError) -> str:
    attributes = store.attrs
    name = str(attributes["recipe"]["experiment"].get("name", "experiment"))
    definition = ""
    if isinstance(damage, xr.Dataset):
        definition = (
            f"Damage factor: {damage.attrs['definition']}. Noise of a voxel {damage.attrs['noise']:.3g} grey levels "
            f"({damage.attrs['noise_source']}); void at grey level {damage.attrs['void_grey']:.3g} "
            f"({damage.attrs['void_grey_source']})."
        )
    return _PAGE.format(
        title=escape(f"crackdask report: {name}"),
        facts="\n".join(f"<dt>{escape(what)}</dt><dd>{escape(words)}</dd>" for what, words in told.facts),
        warnings="\n".join(f'<p class="warning">{escape(words)}</p>' for words in told.warnings),
        panels="\n".join(parts),
        version=escape(str(attributes.get("crackdask_version", ""))),
        definition=escape(definition),
    )
