"""Particles that can be followed through every state (paper, 4.6).

Arithmetic on tables of particles only, so the blocks have no part in it. Each reason for a drop is
kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crackdask.blocks.passes import Array
from crackdask.steps.declaration import Of, Stage, Step


def track(
    voxels: Array,
    touches_border: Array,
    touches_invalid: Array,
    contacts: Sequence[tuple[Array, Array]],
    particle: Array | None = None,
) -> dict[str, Array]:
    """Tell which particles are tracked, and why the others are not.

    Parameters
    ----------
    voxels, touches_border, touches_invalid
        Columns of the particle table, (state, particle).
    contacts
        For each state the labels of the particles that share a face, as two columns.
    particle
        Sorted labels of the particles; 1 and up where not given.

    Returns
    -------
    dict
        bool, (particle,): `lost` (absent in some state), `neighbour_lost` (shares a face in any
        state with a lost particle), `on_border`, `on_invalid` (in any state), and `tracked`, where
        none of these holds.

    Examples
    --------
    >>> nowhere = np.zeros((2, 3), bool)
    >>> touching = [(np.array([1]), np.array([2])), (np.array([], int), np.array([], int))]
    >>> found = track(np.array([[9, 9, 9], [9, 0, 9]]), nowhere, nowhere, touching)
    >>> found["lost"].tolist(), found["neighbour_lost"].tolist(), found["tracked"].tolist()
    ([False, True, False], [True, False, False], [False, False, True])
    """
    if not voxels.shape == touches_border.shape == touches_invalid.shape:
        raise ValueError(
            f"columns must have one shape, found {voxels.shape}, {touches_border.shape} and {touches_invalid.shape}"
        )
    if len(contacts) != len(voxels):
        raise ValueError(f"found contacts of {len(contacts)} states, wanted those of {len(voxels)}")
    labels = np.arange(1, voxels.shape[1] + 1) if particle is None else particle
    lost = (voxels == 0).any(axis=0)
    neighbour_lost = np.zeros_like(lost)
    for a, b in contacts:
        first, second = _rows(labels, a), _rows(labels, b)
        neighbour_lost[first[lost[second]]] = True
        neighbour_lost[second[lost[first]]] = True
    reasons = {
        "lost": lost,
        "neighbour_lost": neighbour_lost,
        "on_border": touches_border.any(axis=0),
        "on_invalid": touches_invalid.any(axis=0),
    }
    return {"tracked": ~np.logical_or.reduce(list(reasons.values())), **reasons}


def _rows(labels: Array, wanted: Array) -> Array:
    rows = np.searchsorted(labels, wanted)
    nearest = np.minimum(rows, labels.size - 1)
    unknown = wanted[labels[nearest] != wanted] if labels.size else wanted
    if unknown.size:
        raise ValueError(f"contacts name particle {unknown[0]}, which the table does not have")
    return rows


STEP = Step(
    name="track",
    stage=Stage.WHOLE,
    version=2,  # strain is added up in one fixed order, region by region
    facts=("states",),
    states="reference",
    needs=(("measure", Of.ALL), ("register", Of.ALL), ("reconstruct", Of.ALL), ("electrochemistry", Of.REFERENCE)),
    reads=(("tables", Of.ALL),),
    groups=("particles", "shells", "histograms", "contacts", "transforms"),
    groups_if_any=("reconstruction", "electrochemistry"),
)
