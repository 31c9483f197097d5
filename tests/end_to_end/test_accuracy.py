"""The whole run against the truth of a phantom: registration, particles, identity, and the sign of every change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import edt
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import crackdask
from crackdask.analysis.solid_grey import solid
from crackdask.grid import Box
from tests.support.five_states import PHANTOM
from tests.support.scoring import corner_error, f1, matches

LEAST = 50  # voxels: [mask] min_island removes smaller pieces, so they are no misses


@pytest.fixture(scope="module")
def store(five_states_store: Path) -> xr.DataTree:
    return crackdask.open(five_states_store)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return PHANTOM.truth()


@pytest.fixture(scope="module")
def true_labels() -> Any:
    return PHANTOM.labels(Box.whole(PHANTOM.shape))


@pytest.fixture(scope="module")
def pairs(store: xr.DataTree, true_labels: Any) -> list[dict[int, int]]:
    label = store["volumes"].to_dataset().label
    return [matches(label[s].values, true_labels) for s in range(label.sizes["state"])]


def test_every_state_is_registered_to_a_tenth_of_a_voxel(store: xr.DataTree) -> None:
    found = store["transforms"].to_dataset().matrix.values
    errors = [corner_error(found[s], PHANTOM.matrix(s), PHANTOM.shape) for s in range(len(PHANTOM.states))]
    assert max(errors[1:]) > 0, "the phantom must move"
    assert max(errors) < 0.1, errors


def test_particles_are_found(store: xr.DataTree, true_labels: Any, truth: xr.Dataset, pairs: Any) -> None:
    label = store["volumes"].to_dataset().label[0].values
    assert f1(label, true_labels, LEAST) >= 0.98
    whole = set(truth.particle.values[truth.in_field.values[0]].tolist())
    found = whole & set(pairs[0].values())
    assert len(whole) > 500
    assert len(found) >= 0.995 * len(whole), f"{len(found)} of {len(whole)} whole particles"


def test_particles_keep_their_identity(truth: xr.Dataset, pairs: Any) -> None:
    stays = set(truth.particle.values[truth.in_field.values.all(axis=0)].tolist())
    followed = [found for found, true in pairs[0].items() if true in stays]
    kept = [f for f in followed if all(p.get(f) == pairs[0][f] for p in pairs[1:])]
    assert len(followed) > 500
    assert len(kept) >= 0.995 * len(followed), f"{len(kept)} of {len(followed)}"


def test_sign_of_every_change(store: xr.DataTree, truth: xr.Dataset, pairs: Any) -> None:
    shells = store["shells"].to_dataset().load()
    tracked = store["particles"].to_dataset().tracked.any("state").values
    deepest = (shells.voxels > 0).sum("shell")
    inner = shells.shell > deepest / 2
    grey = (shells.grey_sum.where(inner, 0).sum("shell") / shells.voxels.where(inner, 0).sum("shell")).values
    void, radius = truth.void_fraction.values, truth.radius.values
    row = {int(p): i for i, p in enumerate(truth.particle.values)}
    stays = truth.in_field.values.all(axis=0)
    right = []
    for found, true in pairs[0].items():
        i = row[true]
        if tracked[found - 1] and stays[i] and radius[i] >= 6:
            change = np.diff(grey[:, found - 1])
            right += (np.sign(change) == -np.sign(np.diff(void[:, i]))).tolist()
    assert len(right) > 1000
    assert np.mean(right) >= 0.98, f"{np.mean(right):.4f} of {len(right)}"


@pytest.mark.parametrize("state", [1, 3])
def test_void_volumes_sum_to_the_truth(store: xr.DataTree, state: int) -> None:
    """The true void of the same core voxels, drawn without blur and noise and moved into the store's frame."""
    sharp = replace(PHANTOM, blur_sd=0.0, rim=0.0, streak=0.0, noise_sd=0.0, dtype="uint16")
    clean = (sharp.clean(state, Box.whole(PHANTOM.shape)).astype(float) - 3000) / 200
    void = (PHANTOM.solid_grey - clean) / (PHANTOM.solid_grey - PHANTOM.background_grey)
    void = ndimage.affine_transform(void, PHANTOM.matrix(state), order=1, cval=1.0)
    label = store["volumes"].to_dataset().label[state].values
    depth = np.rint(edt.edt(label, black_border=True))
    deepest = ndimage.maximum(depth, label, np.arange(label.max() + 1))
    core = (label > 0) & (2 * depth > deepest[label])
    table = store["particles"].to_dataset()
    true = np.bincount(label[core], void[core], table.sizes["particle"] + 1)[1:] * PHANTOM.voxel_um**3
    found = solid(store).crack_volume_partial_um3.isel(state=state).values
    tracked = table.tracked.isel(state=0).values
    assert tracked.sum() > 100
    assert found[tracked].sum() == pytest.approx(true[tracked].sum(), rel=0.1)
    assert np.corrcoef(found[tracked], true[tracked])[0, 1] > 0.95
