"""Which label a voxel gets: under two seeds, under none, after a label was lost, beside a small overlap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from crackdask.steps.carried_seeds import CARRIED
from crackdask.steps.transfer import TransferParams
from tests.support.carried import balls, carry, noisy_states, pair, reference, same


def test_a_basin_under_two_seeds_is_cut():
    state = reference(pair(13))
    assert state[1]["particles"].tolist() == [2]
    grown = balls((24, 24, 48), *[((11, 11, x), 7) for x in range(14, 28)])
    assert reference(grown)[1]["particles"].tolist() == [1]
    volumes, tables = carry(grown, state)
    assert tables["cut_basin"].size > 0
    assert ((volumes["label"] > 0) == grown).all()
    assert (volumes["label"][..., :20][grown[..., :20]] == 1).all()
    assert (volumes["label"][..., 22:][grown[..., 22:]] == 2).all()
    same(carry(grown, state, block=(5, 24, 20)), (volumes, tables))


@pytest.mark.parametrize("block", [None, (10, 9, 17)])
def test_a_lost_label_returns_with_its_last_seed(block):
    shape = (30, 30, 40)
    one, other = ((14, 14, 10), 7), ((14, 14, 30), 6)
    state = reference(balls(shape, one, other))
    name = int(state[0]["label"][14, 14, 30])
    gone = carry(balls(shape, one), state, block=block)
    assert gone[1]["lost_labels"].tolist() == [name]
    assert set(gone[1]["lost_seed_label"].tolist()) == {name}
    assert gone[1]["previous_max_depth"][name] == 0
    still = carry(balls(shape, one), gone, block=block)
    for table in ("lost_seed_voxel", "lost_seed_label"):
        np.testing.assert_array_equal(still[1][table], gone[1][table])
    back = carry(balls(shape, one, ((14, 15, 29), 5)), still, block=block)
    assert back[0]["label"][14, 14, 30] == name
    assert back[1]["lost_labels"].size == back[1]["lost_seed_voxel"].size == 0
    assert np.unique(back[0]["label"]).tolist() == [0, 1, 2]


def test_of_two_lost_seeds_at_a_voxel_the_lower_wins():
    shape = (16, 16, 16)
    at = np.flatnonzero(balls(shape, ((8, 8, 8), 3)))
    tables = {
        "previous_max_depth": np.zeros(8, np.uint16),
        "lost_seed_voxel": np.repeat(at, 2),
        "lost_seed_label": np.tile(np.array([4, 7], np.uint32), at.size),
    }
    empty = {"label": np.zeros(shape, np.uint32), "depth": np.zeros(shape, np.uint16)}
    for block in (None, (5, 16, 7)):
        volumes, made = carry(balls(shape, ((8, 8, 8), 5)), (empty, tables), block=block)
        assert np.unique(volumes["label"]).tolist() == [0, 4]
        assert made["lost_labels"].tolist() == [7]
        assert made["lost_seed_voxel"].tolist() == at.tolist()


def test_a_component_without_a_seed_has_no_label():
    shape = (30, 30, 40)
    state = reference(balls(shape, ((14, 14, 10), 7)))
    mask = balls(shape, ((14, 14, 10), 7), ((14, 14, 30), 7))
    volumes, _ = carry(mask, state)
    assert (volumes["label"][mask][volumes["label"][mask] > 0] == 1).all()
    assert not volumes["label"][..., 20:].any()
    np.testing.assert_array_equal(volumes["label"][..., :20] > 0, mask[..., :20])


def test_two_labels_never_join():
    # A bridge as deep as the particles: one mask component without a saddle below the peaks.
    state = reference(pair(20))
    bridge = pair(20)
    bridge[5:18, 5:18, 14:34] = True
    volumes, _ = carry(bridge, state)
    assert volumes["label"][11, 11, 12] == 1
    assert volumes["label"][11, 11, 36] == 2
    assert ((volumes["label"] > 0) == bridge).all()
    assert ndimage.label(volumes["label"] == 1)[1] == ndimage.label(volumes["label"] == 2)[1] == 1


def test_a_small_overlap_does_not_count():
    state = reference(pair(18))
    mask = pair(18)
    mask[..., 26:] = False
    volumes, tables = carry(mask, state)
    assert np.unique(volumes["label"][..., :20]).tolist() == [0, 1]
    eager = carry(mask, state, TransferParams(min_overlap=1e-6))
    assert eager[1]["lost_labels"].size <= tables["lost_labels"].size


def test_reference_mode_hands_on_the_reference():
    first, second = noisy_states(3, (20, 22, 24), 0.8, 2.0, 2)
    state = reference(first)
    params = TransferParams(mode="reference")
    volumes, tables = carry(second, state, params)
    np.testing.assert_array_equal(volumes["label"], carry(second, state)[0]["label"])
    assert tables["lost_labels"].size > 0
    for name in CARRIED:
        np.testing.assert_array_equal(tables[name], state[1][name])


def test_an_empty_state_loses_every_label():
    first, _ = noisy_states(3, (20, 22, 24), 0.0, 0.8, 2)
    state = reference(first)
    empty = carry(np.zeros_like(first), state, block=(9, 22, 24))
    assert not empty[0]["label"].any()
    assert empty[1]["lost_labels"].size == state[1]["particles"][0]
    back = carry(first, empty)
    np.testing.assert_array_equal(back[0]["label"], state[0]["label"])
