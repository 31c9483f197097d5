"""The sharpness of the states: how each is measured, what all of them together ask for, and what the user is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crackdask.analysis.findings import Finding
from crackdask.analysis.sharpness_findings import of_sharpness
from crackdask.blocks.passes import Array
from crackdask.engine.context import RunContext
from crackdask.engine.work_units import Unit
from crackdask.steps.measure import MOST_BLUR
from crackdask.steps.sharpness import LIMIT, Edge, Match, match, passes


def measured(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Return the width of the edges of a state's particles, and its noise."""
    inputs = {name: context.volume(name, unit.state) for name in ("grey", "label")}
    return context.passes(unit, passes(), inputs)


def matched(context: RunContext) -> Match:
    """Return by which blur each state is measured."""
    return match(_edges(context), context.recipe.grey.match_sharpness, MOST_BLUR)


def numbers(context: RunContext) -> Mapping[str, Any]:
    """Return the numbers of every state, by name, for people: width of edges, noise, blur that it was measured with."""
    names, edges, blur = [state.name for state in context.recipe.states], _edges(context), matched(context).blur
    return {
        "edge_width": {name: edge.width if edge.known else None for name, edge in zip(names, edges, strict=True)},
        "noise_by_state": {name: float(context.result("sharpness", s)["noise"]) for s, name in enumerate(names)},
        "blurred_by": dict(zip(names, blur, strict=True)),
    }


def found(context: RunContext, radii: Sequence[float]) -> list[Finding]:
    """Return the findings about states that are blurrier than others; `radii` as :func:`of_sharpness` wants them."""
    edges, done = _edges(context), matched(context)
    names, widths = [state.name for state in context.recipe.states], [edge.width for edge in edges]
    return of_sharpness(names, widths, done.blurrier, LIMIT, done.met, radii)


def _edges(context: RunContext) -> list[Edge]:
    tables = (context.result("sharpness", s)["edge"] for s in range(len(context.recipe.states)))
    return [Edge(float(width), float(error)) for width, error in tables]
