"""How sharp each state's grey levels are: how wide the edges of its particles, and which blur makes states alike.

A scan that is blurrier than the others brings the dark around a particle deeper into it, which looks like damage. So
where states differ, the sharper ones are blurred for measuring, until their edges are as wide (`sharpness.md`).

The result does not depend on the blocks: they add integers (:mod:`crackdask.kernels.edge_profile`), from which the
width is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import erf, isnan, nan, sqrt
from typing import Literal

import numpy as np

from crackdask.blocks.passes import Ahead, Array, Block, Pass, Result, Tables, Tally, share, total
from crackdask.grid import Grid
from crackdask.kernels.edge_profile import REACH, edge_profile
from crackdask.schema import OUTSIDE
from crackdask.steps.declaration import LABELLING, Of, Setting, Stage, Step
from crackdask.steps.noise import differences, noise_of

#: Blur, in voxels, from which states count as different. The reference is not resampled, and cubic resampling widens
#: the edges of the others as a blur of up to 0.3 does, though it moves no grey further.
LIMIT = 0.4
#: Standard errors by which a difference is beyond the limit.
_SURE = 3
#: Lines from which a width is told, and groups that they must lie in.
_FEWEST_LINES, _FEWEST_GROUPS = 200, 8
_WIDEST = 8.0


@dataclass(frozen=True)
class Edge:
    """The edges of the particles of one state.

    Attributes
    ----------
    width
        Standard deviation, in voxels, of the Gaussian whose integral rises like the mean edge; NaN where the state has
        too few flat surfaces to tell.
    error
        Its standard error.
    """

    width: float
    error: float

    @property
    def known(self) -> bool:
        """Whether there was enough to tell."""
        return not isnan(self.width)


def passes() -> tuple[Pass, ...]:
    """Return the pass over `grey` and `label` to the tables `edge` (width, its error) and `noise` (grey levels)."""
    return (
        Pass(
            name="sharpness",
            kernel=_edges_and_noise,
            reads={"grey": Ahead(REACH, REACH), "label": Ahead(REACH, REACH)},
            makes=("edge", "noise"),
            reduce=_reduced,
        ),
    )


def _edges_and_noise(block: Block) -> Result:
    own, shape = share(block, REACH), block.grid.shape
    outer = own.grow(REACH, within=shape)
    label, grey = (block.read_box(name, outer) for name in ("label", "grey"))
    lines = edge_profile(label, grey, own.within(outer), outer.start, OUTSIDE)
    return Result(tally={"lines": lines, **differences(grey[own.grow((0, 0, 1), within=shape).within(outer)])})


def _reduced(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    edge = edge_of(total(tallies, "lines"))
    return {"edge": np.array([edge.width, edge.error]), **noise_of(grid, tallies, tables)}


def edge_of(lines: Array) -> Edge:
    """Return the width of the edges from the sums of :func:`crackdask.kernels.edge_profile.edge_profile`.

    The width is that of the mean line; its error is the jackknife's, over groups of lines.
    """
    whole = lines.sum(axis=0)
    there = lines[lines[:, 0] > 0]
    if whole[0] < _FEWEST_LINES or len(there) < _FEWEST_GROUPS:
        return Edge(nan, nan)
    width = _width(whole)
    without = np.array([_width(whole - group) for group in there])
    share = (len(there) - 1) / len(there)
    return Edge(width, sqrt(share * float(((without - without.mean()) ** 2).sum())))


def _width(sums: Array) -> float:
    """Return the width of a summed line: from the rise over all of it, over that of the one step at the face."""
    rise, step = int(sums[1]) - int(sums[-1]), int(sums[REACH]) - int(sums[REACH + 1])
    if rise == 0 or rise * step <= 0:
        return nan
    widths, ratios = _ideal()
    return float(np.interp(rise / step, ratios, widths))


@cache
def _ideal() -> tuple[Array, Array]:
    """Return widths and what ideal edges of these widths rise in all, over the step at the face.

    The edge lies anywhere within the step, as a surface does between two voxels.
    """
    widths = np.arange(0.05, _WIDEST + 0.01, 0.05)
    places = [(k - 20) / 41 for k in range(41)]

    def risen(to: float, width: float) -> float:
        return sum(erf((to - at) / (width * sqrt(2))) + erf((to + at) / (width * sqrt(2))) for at in places)

    ratios = np.array([risen(REACH - 0.5, w) / risen(0.5, w) for w in widths.tolist()])
    return widths, ratios


@dataclass(frozen=True)
class Match:
    """How sharpness compares over states, and what is done about it.

    Attributes
    ----------
    blurrier
        By which blur each state is blurrier than the sharpest, in voxels; 0 within the limit, or where unknown.
    blur
        By which blur each state is measured, in voxels; 0 for none.
    met
        Whether the sharper states are brought to each that is blurrier; false for the others.
    """

    blurrier: tuple[float, ...]
    blur: tuple[float, ...]
    met: tuple[bool, ...]


def match(edges: Sequence[Edge], how: Literal["auto", "none"], most: float) -> Match:
    """Return by which Gaussian each state is to be blurred, so that its edges are as wide as the widest.

    Widths add in squares. Where no state differs by more than `LIMIT` beyond the errors, nothing is blurred; a state
    that is more than `most` blurrier than the sharpest is left to itself.

    Examples
    --------
    >>> match([Edge(0.7, 0.01), Edge(1.0, 0.01), Edge(0.72, 0.01)], "auto", 2.0).blur
    (0.71, 0.0, 0.69)
    >>> match([Edge(0.7, 0.01), Edge(0.75, 0.01)], "auto", 2.0).blur
    (0.0, 0.0)
    """
    known = [edge for edge in edges if edge.known]
    sharpest = min(known, key=lambda edge: edge.width, default=Edge(nan, nan))
    blurrier = tuple(_beyond(edge, sharpest) for edge in edges)
    met = tuple(how == "auto" and 0 < more <= most for more in blurrier)
    goals = [edge for edge, is_met in zip(edges, met, strict=True) if is_met]
    goal = max(goals, key=lambda edge: edge.width, default=Edge(nan, nan))
    return Match(blurrier, tuple(_beyond(goal, edge) for edge in edges), met)


def _beyond(edge: Edge, other: Edge) -> float:
    """Return by which blur an edge is wider than another, in hundredths of a voxel; 0 unless surely above the limit."""
    square = edge.width**2 - other.width**2
    error = 2 * sqrt((edge.width * edge.error) ** 2 + (other.width * other.error) ** 2)
    return round(sqrt(square), 2) if square - _SURE * error > LIMIT**2 else 0.0


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return passes()


STEP = Step(
    name="sharpness",
    stage=Stage.STATES,
    needs=((LABELLING, Of.ITSELF), ("grey", Of.ITSELF)),
    reads=(("grey", Of.ITSELF), ("label", Of.ITSELF)),
    passes=_planned,
    seconds_per_megavoxel=0.02,
)
