"""From raw sinograms to slices, row by row: counts, attenuation, stripes, gridding.

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
from crackdask.kernels.gridding import gridded
from crackdask.kernels.ramp_filter import Filter
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


def without_rings(sinograms: Singles, useless: Mask, rings: Rings) -> Singles:
    """Return sinograms (row, projection, column) without stripes; `useless` (row, column) are known to mean nothing."""
    if rings not in RINGS:
        raise ValueError(f"rings is {rings!r}; one of {', '.join(map(repr, RINGS))} is needed")
    out = np.empty_like(sinograms)
    for row, (sinogram, dead) in enumerate(zip(sinograms, useless, strict=True)):
        if rings == "column":
            out[row] = without_column_stripes(sinogram, dead)
        else:
            out[row] = without_all_stripes(sinogram) if rings == "vo" else sinogram
    return out


def reconstructed(
    counts: NDArray[Any],
    references: References,
    moments: Floats,
    degrees: ArrayLike,
    centers: ArrayLike,
    between: tuple[float, float] | None = None,
    rings: Rings = "column",
    filter_name: Filter = "ramp",
    zinger: float = 0.2,
    saturation: float = math.inf,
) -> tuple[Singles, Flaws]:
    """Return slices (row, y, x) of attenuation per voxel edge from raw sinograms, and what was wrong with the rows.

    Parameters
    ----------
    counts, references, moments, zinger, saturation
        As of `crackdask.kernels.attenuation.attenuations`.
    degrees, centers, filter_name
        As of `crackdask.kernels.gridding.gridded`.
    between
        Angles that are kept. Stripes are looked for in these alone, because a holder that leaves the beam is one too.
    rings
        "column", "vo" (the paper's way) or "none".
    """
    kept = within(degrees, between)
    if counts.shape[1] != kept.size:
        raise ValueError(f"{counts.shape[1]} projections, but {kept.size} angles")
    found, flaws = attenuations(counts[:, kept], references, np.asarray(moments)[kept], zinger, saturation)
    sinograms = without_rings(found, flaws.columns, rings)
    return gridded(sinograms, np.asarray(degrees, np.float64)[kept], centers, filter_name), flaws
