"""The page of a preview: one crop under each value, counts and sizes, and how the answers differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from crackdask.analysis.variants import Variant, compared
from crackdask.grid import Box
from crackdask.recipe.sweep import Sweep, toml_value
from crackdask.report.markup import HEAD
from crackdask.report.page import ReportError

_PAGE = (
    HEAD
    + """<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #8886; }}
td:first-child, th:first-child {{ text-align: left; }}
img {{ max-width: 100%; height: auto; background: white; }}
pre {{ padding: .6rem 1rem; background: #8882; overflow-x: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{words}</p>
<img alt="{title}" src="data:image/png;base64,{picture}">
<table>
<tr>{heading}</tr>
{rows}
</table>
<p>{meaning}</p>
<p>To choose one, write into the recipe:</p>
<pre>{lines}</pre>
</body>
</html>
"""
)
_HEADING = ("count", "size", "solid", "level", "residual", "shared", "agree")
MEANING = (
    "count: of particles; size: their median diameter, um; level: threshold between background and particles; "
    "residual: of the registration, voxels; shared: particles that the first picture has too; agree: voxels as in it"
)
_DPI = 150


@dataclass(frozen=True)
class Tried:
    """What was looked at: the state's name, the box, its voxels' edges (um), what is tried, and if grey is denoised."""

    state: str
    box: Box
    voxel_um: tuple[float, float, float]
    sweeps: tuple[Sweep, ...]
    denoised: bool = False


@dataclass(frozen=True)
class PreviewReport:
    """What was written, and what was found of each variant as text: its values, then a cell for each heading."""

    page: Path
    picture: Path
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]


def check_can_draw() -> None:
    """Raise a ReportError where matplotlib is not installed."""
    try:
        import crackdask.figures.preview_grid  # noqa: F401
    except ImportError as error:
        if not (error.name or "matplotlib").startswith("matplotlib"):
            raise
        raise ReportError("a preview needs matplotlib: pip install 'crackdask[report]'") from None


def write_preview(preview: Tried, variants: Sequence[Variant], folder: Path) -> PreviewReport:
    """Write `preview.html` and `preview.png` into a folder.

    Raises
    ------
    ReportError
        If matplotlib is not installed.
    """
    check_can_draw()
    from crackdask.figures.preview_grid import Picture, draw_preview

    names = [_values(preview, variant) for variant in variants]
    rows = tuple((name, *_cells(preview, variant, variants[0])) for name, variant in zip(names, variants, strict=True))
    pictures = [
        Picture(name, *(cut[len(cut) // 2] for cut in (variant.grey, variant.label)))
        if variant.grey is not None and variant.label is not None
        else Picture(name, error=variant.error)
        for name, variant in zip(names, variants, strict=True)
    ]
    across = len(preview.sweeps[-1].values) if len(preview.sweeps) > 1 else min(len(variants), 3)
    box = ", ".join(f"{axis} {a} to {b}" for axis, a, b in zip("zyx", preview.box.start, preview.box.stop, strict=True))
    title = f"{preview.state}: {' and '.join(sweep.name for sweep in preview.sweeps)}"
    drawn, picture = draw_preview(pictures, across, title), io.BytesIO()
    drawn.savefig(picture, format="png", dpi=_DPI, metadata={"Software": None})
    folder.mkdir(parents=True, exist_ok=True)
    image, page = folder / "preview.png", folder / "preview.html"
    image.write_bytes(picture.getvalue())
    lines = tuple(_line(preview, variant) for variant in variants)
    words = (
        f"The middle slice of the box {box} (voxels) of {preview.state}{', denoised' * preview.denoised}, each picture "
        "with the bits of a run of this box. What a recipe leaves to be found (threshold, noise, grey window) was "
        "found in the box alone. Outlines are orange where the first picture has them too, red where it has none, and "
        "blue where it alone has one."
    )
    text = _PAGE.format(
        title=escape(title), words=escape(words), meaning=escape(MEANING),
        picture=base64.b64encode(picture.getvalue()).decode("ascii"),
        heading="".join(f"<th>{escape(cell)}</th>" for cell in ("", *_HEADING)),
        rows="\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows),
        lines=escape("\n\n".join(lines)),
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")
    return PreviewReport(page, image, _HEADING, rows, lines)


def _values(preview: Tried, variant: Variant) -> str:
    pairs = zip(preview.sweeps, variant.values, strict=True)
    return ", ".join(f"{sweep.key} = {toml_value(value)}" for sweep, value in pairs)


def _line(preview: Tried, variant: Variant) -> str:
    """Return what goes into the recipe: each section with its keys."""
    keys: dict[str, list[str]] = {}
    for sweep, value in zip(preview.sweeps, variant.values, strict=True):
        keys.setdefault(sweep.section, [f"[{sweep.section}]"]).append(f"{sweep.key} = {toml_value(value)}")
    return "\n".join(line for section in keys.values() for line in section)


def _cells(preview: Tried, variant: Variant, first: Variant) -> tuple[str, ...]:
    if variant.label is None:
        return (variant.error, *[""] * (len(_HEADING) - 1))
    sizes = np.unique(variant.label[variant.label > 0], return_counts=True)[1]
    volume = float(np.prod(preview.voxel_um))
    diameter = (6 * float(np.median(sizes)) * volume / np.pi) ** (1 / 3) if sizes.size else float("nan")
    cells = [
        str(sizes.size), f"{diameter:.3g}", f"{sizes.sum() / variant.label.size:.1%}", f"{variant.threshold:g}",
        f"{variant.residual:.3f}" if variant.residual == variant.residual else "",
    ]  # fmt: skip
    if variant is first or first.label is None:
        return (*cells, "", "")
    shared, agreed = compared(first.label, variant.label)
    return (*cells, str(shared), f"{agreed:.1%}")
