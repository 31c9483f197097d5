"""From raw sinograms to those of which slices are made, row by row: counts, attenuation, stripes.

A slice depends on its own row of the detector and on nothing else, so any rows can be done together, in any order.
`reconstruction.md` tells what was measured.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crackdask.arrays import Floats, Mask, Singles
from crackdask.kernels.attenuation import Flaws, References, attenuations
from crackdask.kernels.sorting_stripes import without_all_stripes
from crackdask.kernels.stripes import without_column_stripes

Rings = Literal["column", "vo", "none"]
RINGS: tuple[Rings, ...] = ("column", "vo", "none")
_LEAST = 2


def within(degrees: ArrayLike, between: tuple[float, float] | None) -> Mask:
    """Return which projections lie between two angles, both of them included; all if there are none.

    >>> within([0.0, 30.0, 90.0, 177.0, 180.0], (30, 177)).tolist()
    [False, True, True, True, False]

    Raises
    ------
    ValueError
        Where fewer than two are left.
    """
    angles = np.asarray(degrees, np.float64)
    kept = np.ones(angles.shape, bool)
    if between is not None:
        kept = (angles >= between[0] - 1e-6) & (angles <= between[1] + 1e-6)
    if np.count_nonzero(kept) < _LEAST:
        asked = "" if between is None else f" between {between[0]:g} and {between[1]:g} degrees"
        known = f"; they go from {angles.min():g} to {angles.max():g}" if angles.size else ""
        raise ValueError(
            f"{np.count_nonzero(kept)} of {angles.size} projections lie{asked}, two or more are needed{known}"
        )
    return kept


def remove_rings(sinograms: Singles, useless: Mask, rings: Rings) -> None:
    """Remove stripes of sinograms (row, projection, column), in place; columns of `useless` mean nothing."""
    if rings not in RINGS:
        raise ValueError(f"rings is {rings!r}; one of {', '.join(map(repr, RINGS))} is needed")
    if rings == "none":
        return
    for sinogram, dead in zip(sinograms, useless, strict=True):
        sinogram[:] = without_column_stripes(sinogram, dead) if rings == "column" else without_all_stripes(sinogram)


def line_integrals(
    counts: NDArray[Any],
    references: References,
    moments: Floats,
    degrees: ArrayLike,
    between: tuple[float, float] | None = None,
    rings: Rings = "column",
    zinger: float = 0.2,
    saturation: float = math.inf,
) -> tuple[Singles, Flaws]:
    """Return sinograms (row, projection, column) without stripes from raw ones, and what was wrong with the rows.

    Parameters
    ----------
    counts, references, moments, zinger, saturation
        As of `crackdask.kernels.attenuation.attenuations`.
    degrees
        Angle of each projection.
    between
        Angles that are kept. Stripes are looked for in these alone, because a holder that leaves the beam is one too.
    rings
        "column", "vo" (the paper's way) or "none".

    Notes
    -----
    Slices are made of what is returned and the kept angles (`within`) by `crackdask.kernels.gridding.gridded`.
    """
    kept = within(degrees, between)
    if counts.shape[1] != kept.size:
        raise ValueError(f"{counts.shape[1]} projections, but {kept.size} angles")
    if not kept.all():
        counts, moments = _kept(counts, kept), np.asarray(moments)[kept]
    found, flaws = attenuations(counts, references, np.asarray(moments), zinger, saturation)
    remove_rings(found, flaws.columns, rings)
    return found, flaws


def _kept(counts: NDArray[Any], kept: Mask) -> NDArray[Any]:
    """Return some projections, not copied where they follow each other, as they do where angles rise or fall."""
    numbers = np.flatnonzero(kept)
    first, end = int(numbers[0]), int(numbers[-1]) + 1
    return counts[:, first:end] if end - first == numbers.size else counts[:, kept]
