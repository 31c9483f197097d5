"""How well labels agree with a truth: matches at an intersection over union above a half."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def matches(found: Array, truth: Array) -> dict[int, int]:
    """Return the found label -> true label pairs whose intersection over union exceeds a half."""
    count = int(truth.max()) + 1
    pair, shared = np.unique(found.astype(np.int64) * count + truth, return_counts=True)
    a, b = pair // count, pair % count
    sizes, true_sizes = np.bincount(found.ravel()), np.bincount(truth.ravel())
    overlap = shared / (sizes[a] + true_sizes[b] - shared)
    good = (a > 0) & (b > 0) & (overlap > 0.5)
    return dict(zip(a[good].tolist(), b[good].tolist(), strict=True))


def f1(found: Array, truth: Array, least: int = 1) -> float:
    """Return the F1 score at IoU 0.5 over pieces of at least `least` voxels on either side; 1 is the most.

    >>> f1(np.array([1, 1, 1, 0, 2]), np.array([1, 1, 1, 1, 2]), least=4)
    1.0
    """
    pairs = matches(found, truth)
    sizes, true_sizes = np.bincount(found.ravel())[1:], np.bincount(truth.ravel())[1:]
    # A pair of which one is large enough and the other is not counts once.
    hits = sum(int(sizes[a - 1] >= least) + int(true_sizes[b - 1] >= least) for a, b in pairs.items())
    return float(hits / ((sizes >= least).sum() + (true_sizes >= least).sum()))


def corner_error(found: Array, truth: Array, shape: tuple[int, int, int]) -> float:
    """Return how far apart two transforms put a corner of a volume, in voxels."""
    corners = np.array(list(product(*((0.0, n - 1.0) for n in shape), (1.0,))))
    apart = corners @ (found - truth)[:3].T
    return float(np.sqrt((apart**2).sum(axis=1)).max())
