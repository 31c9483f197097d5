"""The standard error of a change of damage: arithmetic on plain arrays, without the libraries of tables."""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array


def error_of_change(change: Array, before: Array, after: Array, scale: Array) -> Array:
    """Return the standard error of changes of damage.

    Parameters
    ----------
    change
        Changes, (..., particle).
    before, after
        `scan_error` of the damage in the two states.
    scale
        `scale_error`, (particle,), the share of a change that may be wrong.

    Examples
    --------
    >>> error_of_change(np.array([0.0, 1.2]), np.array([3.0, 0.3]), np.array([4.0, 0.4]), np.array([0.1, 1.0])).tolist()
    [5.0, 1.3]
    """
    found: Array = np.hypot(np.hypot(before, after), scale * change)
    return found
