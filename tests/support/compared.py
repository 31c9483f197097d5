"""Damage of a phantom as a run finds it, beside what is true of the same particles."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import crackdask
from crackdask import analyse
from crackdask.analysis.findings import Finding, of_store
from crackdask.grid import Box
from crackdask.phantom import Phantom
from tests.support.scoring import matches

NORMAL = 1.96


@dataclass(frozen=True)
class Compared:
    """What was found, and what is true, of the same particles.

    Attributes
    ----------
    found
        What ``analyse.damage`` returns.
    true
        The same with the true void fractions, as excess over the typical pristine one, in the place of the damage.
    radius
        True radii in voxels.
    found_of_run, findings
        What the store tells of the whole run.
    """

    found: xr.Dataset
    true: xr.Dataset
    radius: np.ndarray
    found_of_run: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def covered(self, error: xr.DataArray, wrong: xr.DataArray) -> float:
        """Return for how many particles and states the 95% interval holds the truth."""
        return float((np.abs(wrong) <= NORMAL * error).mean())


def staying(truth: xr.Dataset, true_labels: np.ndarray) -> set[int]:
    """Return the particles that stay in the field, and that no face of what the reference's labels show cuts."""
    stays = set(truth.particle.values[truth.in_field.values.all(axis=0)].tolist()) & set(
        np.unique(true_labels).tolist()
    )
    for axis in range(3):
        for end in (0, -1):
            stays -= set(np.unique(true_labels.take(end, axis=axis)).tolist())
    return stays


def compared_with_truth(path: Path, phantom: Phantom, box: Box | None = None) -> Compared:
    """Return the damage of the particles of a finished store that stay in the field, found and true.

    `box` is what the store has of the reference's scan; all of it unless told.
    """
    tree = crackdask.open(path)
    truth, true_labels = phantom.truth(), phantom.labels(box or Box.whole(phantom.shape))
    stays = staying(truth, true_labels)
    pairs = matches(tree["volumes"].label[0].values, true_labels)
    damage = analyse.damage(tree)
    both = [(p, pairs[p]) for p in damage.particle.values.tolist() if pairs.get(p) in stays]
    found = damage.sel(particle=[p for p, _ in both])
    own = truth.sel(particle=[t for _, t in both])
    void = own.void_fraction.values
    typical = np.median(void[0])
    true = found.assign(damage=found.damage.copy(data=(void - typical) / (1 - typical)))
    return Compared(found, true, own.radius.values, dict(tree.attrs["found"]), of_store(tree.attrs))
