"""How a scan of projections becomes a tomogram in the work folder, which is then read like any other scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crackdask.analysis import reconstruction_findings as findings
from crackdask.analysis.findings import Finding, packed
from crackdask.blocks.passes import Array
from crackdask.engine.context import CenterError, ResultError, RunContext
from crackdask.engine.work_units import Unit
from crackdask.grid import Box
from crackdask.schema import RECONSTRUCTION
from crackdask.sources import SourceError
from crackdask.sources.frames import Frames
from crackdask.sources.projections import Projections
from crackdask.steps.projected_scan import geometry_of, given_centers, mean_references
from crackdask.steps.reconstruct import COUNTED, passes
from crackdask.steps.rotation_center import LEAST_LIKENESS, CenterNotFoundError
from crackdask.steps.sinogram_rows import NothingSeenError

#: Tables that workers look up and nobody else wants.
_LOOKED_UP = ("flats", "darks", "mended")
#: What the store calls the tables of a unit.
_NAMES = {
    "center": "centers", "flaws": "flaws", "window": "window", "beyond": "beyond",
    "searched_row": "center_rows", "sweep": "center_sweep",
    "opposite": "center_opposite", "candidate": "center_candidates", "spread": "center_spread",
    "mirrored": "center_mirrored", "mismatch": "center_mismatch",
    "overlaid": "center_overlaid", "likeness": "center_likeness",
    "strip_center": "center_strip_at", "strip": "center_strip", "example_row": "example_row",
    "sinogram": "example_sinogram", "slice": "example_slice",
}  # fmt: skip


@dataclass(frozen=True)
class WholeFrames:
    """Frames as the engine reads them: boxes of all rows and columns."""

    frames: Frames

    def read(self, box: Box) -> Array:
        """Return the frames of a box, (frame, row, column)."""
        return self.frames.read(box.start[0], box.stop[0])


def reconstructed(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Reconstruct a state's tomogram; of a state that is a tomogram already there is nothing to do."""
    projections, params = context.scans.projections(unit.state), context.recipe.reconstruct
    if projections is None or params is None:
        return {}
    name, frames = context.recipe.states[unit.state].name, projections.recorded
    try:
        looked_up: dict[str, Array] = {**mean_references(projections)}
    except SourceError as error:
        raise SourceError(f"state {name!r}: {error}") from error
    given = given_centers(params.axes(len(context.recipe.states))[unit.state], projections)
    if given is not None:
        looked_up["centers"] = given
    window = None
    if params.window == "auto" and unit.state != context.recipe.reference:
        window = looked_up["window"] = context.result("reconstruct")["window"]
    made = passes(geometry_of(projections), frames.dtype, params, given, window)
    try:
        tables = context.passes(unit, made, {"frames": WholeFrames(frames)}, looked_up)
    except (CenterNotFoundError, NothingSeenError) as error:
        words = f"state {name!r}: {error}"
        if isinstance(error, CenterNotFoundError) and (search := error.search):
            strip = search.strip
            raise CenterError(words, name, unit.state, search.center, strip.centers, strip.images) from error
        raise ResultError(words) from error
    kept = {key: values for key, values in tables.items() if key not in _LOOKED_UP}
    if not isinstance(params.window, str):
        kept["window"] = np.array(params.window)
    return kept | packed(_findings(name, projections, kept))


def _findings(name: str, projections: Projections, tables: Mapping[str, Array]) -> list[Finding]:
    """Return what should be known of a state's projections before its tomogram is believed."""
    counted = dict(zip(COUNTED, tables["flaws"].sum(axis=0).tolist(), strict=True))
    return [
        *findings.of_notes(name, projections.notes),
        *findings.of_pixels(name, counted, projections.frames.shape),
        *findings.of_levels(name, int(tables["beyond"].sum()) if "beyond" in tables else 0, projections.shape),
        *of_search(name, projections.degrees, tables),
    ]


def of_search(name: str, degrees: Sequence[float], tables: Mapping[str, Array]) -> list[Finding]:
    """Return what should be known of a center that was searched; nothing of one that the recipe gave."""
    if "center_sweep" not in tables:
        return []
    if not len(tables["center_opposite"]):
        return findings.of_center(name, degrees)
    if tables["center_likeness"].max() < LEAST_LIKENESS:
        return []  # what opposite views tell is not taken
    sweep, opposite = (float(np.median(tables[f"center_{method}"])) for method in ("sweep", "opposite"))
    return findings.of_agreement(name, sweep, opposite)


def as_stored(results: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the variables of the store's group from the results of all states; nothing where none has any.

    What a state lacks is NaN.
    """
    if not any(results):
        return {}
    sizes = {"state": len(results), "rings": 2, "level": 2}
    for name, variable in RECONSTRUCTION.items():
        for part in (each[_NAMES[name]] for each in results if _NAMES[name] in each):
            for dim, size in zip(variable.dims[1:], part.shape, strict=True):
                sizes[dim] = max(size, sizes.get(dim, 0))
    stored = {}
    for name, variable in RECONSTRUCTION.items():
        shape = [sizes.get(dim, 0) for dim in variable.dims]
        stored[name] = np.full(shape, np.nan, variable.dtype)
        for state, each in enumerate(results):
            if _NAMES[name] in each:
                part = each[_NAMES[name]]
                stored[name][state, ...][tuple(slice(size) for size in part.shape)] = part
    return stored
