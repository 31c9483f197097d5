"""What became of one crop under several values of the recipe's keys, and by how much two answers differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crackdask.arrays import Array


@dataclass(frozen=True)
class Variant:
    """What became of the crop under some values.

    Attributes
    ----------
    values
        Of each key that is tried.
    grey, label
        (z, y, x) of the crop, the grey levels denoised where that is tried; None where nothing came of it.
    threshold
        Between background and particles, grey levels.
    residual
        Of the registration, voxels; NaN of the reference.
    error
        Why nothing came of it, or nothing.
    """

    values: tuple[Any, ...]
    grey: Array | None = None
    label: Array | None = None
    threshold: float = float("nan")
    residual: float = float("nan")
    error: str = ""


def compared(label: Array, other: Array) -> tuple[int, float]:
    """Return how many particles two labellings share, and the share of voxels on which they agree.

    Two particles are one where they overlap by more than half of what both cover. Voxels agree where both are
    background, or both are of such a pair.

    >>> compared(np.array([1, 1, 0, 2, 2]), np.array([5, 5, 0, 6, 7]))
    (1, 0.6)
    """
    pairs, counts = np.unique(np.stack([label.ravel(), other.ravel()]), axis=1, return_counts=True)
    sizes = [dict(zip(*np.unique(each, return_counts=True), strict=True)) for each in (label, other)]
    shared, agreed = 0, 0
    for (a, b), n in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if a and b and 2 * n > sizes[0][a] + sizes[1][b] - n:
            shared, agreed = shared + 1, agreed + n
        elif not a and not b:
            agreed += n
    return shared, agreed / label.size
