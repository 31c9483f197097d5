"""Labels carried from state to state: as by a plain reference, in any blocks."""

from __future__ import annotations

from itertools import product
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crackdask.blocks.dask_graph import lazy
from crackdask.steps.carried_seeds import CARRIED
from crackdask.steps.labels import LabelsParams
from crackdask.steps.transfer import TransferParams, passes
from tests.support.carried import CUBE, LABELS, balls, blobs, carry, noisy_states, reference, same


def walls_cut(label, block):
    for axis, size in enumerate(block):
        for at in range(size, label.shape[axis], size):
            before, after = np.take(label, at - 1, axis), np.take(label, at, axis)
            if ((before == after) & (before > 0)).any():
                return True
    return False


def plain_transfer(depth, previous_label, previous_depth, lost, seed_depth=0.5, min_overlap=0.2):
    """Transfer with dictionaries: the rules of the module, word for word; `lost` holds (voxel, label)."""
    order = {at: (int(depth[at]), at) for at in product(*map(range, depth.shape)) if depth[at] > 0}
    steps = [step for step in product((-1, 0, 1), repeat=3) if any(step)]

    def neighbours(at):
        around = (tuple(a + s for a, s in zip(at, step, strict=True)) for step in steps)
        return [to for to in around if to in order]

    up = {at: max([at, *neighbours(at)], key=order.__getitem__) for at in order}

    def climb(at):
        while up[at] != at:
            at = up[at]
        return at

    basin = {at: climb(at) for at in order}
    known = set(np.unique(previous_label[previous_label > 0]).tolist())
    most = {name: int(previous_depth[previous_label == name].max()) for name in known}
    seed = {}
    for at in np.ndindex(depth.shape):
        name = int(previous_label[at])
        if name and previous_depth[at] > seed_depth * most[name]:
            seed[at] = name
    own_seeds = dict(seed)
    for at, name in sorted(lost):
        seed.setdefault(at, name)
    overlap: dict[Any, dict[int, int]] = {}
    for at, name in seed.items():
        if at in order:
            overlap.setdefault(basin[at], {}).setdefault(name, 0)
            overlap[basin[at]][name] += 1
    counted = {
        peak: sorted(n for n, count in shared.items() if count >= min_overlap * max(shared.values()))
        for peak, shared in overlap.items()
    }
    node = {}
    for at, peak in basin.items():
        names = counted.get(peak, [])
        if len(names) < 2:
            node[at] = (peak, 0)
            continue
        near = [
            (sum((a - b) ** 2 for a, b in zip(at, to, strict=True)), name)
            for to, name in seed.items()
            if name in names and basin.get(to) == peak
        ]
        node[at] = (peak, min(near)[1])
    label = {n: n[1] or (counted[n[0]][0] if n[0] in counted else 0) for n in set(node.values())}
    found = set(label.values())
    saddles: dict[tuple[Any, ...], int] = {}
    for at in order:
        for to in neighbours(at):
            pair = tuple(sorted((node[at], node[to])))
            if pair[0] != pair[1]:
                saddles[pair] = max(saddles.get(pair, 0), min(order[at][0], order[to][0]))
    group = {n: n for n in label}
    for (a, b), _ in sorted(saddles.items(), key=lambda item: (-item[1], item[0])):
        one, other = label[group[a]], label[group[b]]
        if group[a] != group[b] and (one == 0 or other == 0 or one == other):
            old, new = group[a], group[b]
            label[new] = max(one, other)
            group = {n: new if g == old else g for n, g in group.items()}
    result = np.zeros(depth.shape, np.uint32)
    for at, n in node.items():
        result[at] = label[group[n]]
    gone = (known | {name for _, name in lost}) - found
    still = {(at, name) for at, name in lost if name in gone}
    return result, still | {(at, name) for at, name in own_seeds.items() if name in gone}


def lost_seeds(tables, shape):
    places = zip(*np.unravel_index(tables["lost_seed_voxel"], shape), strict=True)
    names = tables["lost_seed_label"].tolist()
    return {(tuple(map(int, at)), name) for at, name in zip(places, names, strict=True)}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(6, 13)] * 3),
    level=st.sampled_from([-0.7, 0.0, 0.5]),
    change=st.sampled_from([0.3, 1.0]),
)
def test_transfer_equals_a_plain_one(seed, shape, level, change):
    first, *later = noisy_states(seed, shape, level, change)
    state = reference(first)
    for mask in later:
        volumes, tables = carry(mask, state)
        wanted, lost = plain_transfer(
            volumes["depth"], state[0]["label"], state[0]["depth"], lost_seeds(state[1], shape)
        )
        np.testing.assert_array_equal(volumes["label"], wanted)
        assert lost_seeds(tables, shape) == lost
        state = volumes, tables


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(18, 30)] * 3),
    block=st.tuples(*[st.integers(4, 31)] * 3),
    level=st.sampled_from([-0.7, 0.0]),
    voxel_um=st.sampled_from([CUBE, (2.0, 1.0, 1.0), (0.5, 0.37, 0.61)]),
    mode=st.sampled_from(["chain", "reference"]),
)
def test_transfer_does_not_depend_on_the_blocks(seed, shape, block, level, voxel_um, mode):
    first, *later = noisy_states(seed, shape, level, 0.8)
    params = TransferParams(mode=mode)
    state = reference(first, voxel_um=voxel_um)
    for mask in later:
        wanted = carry(mask, state, params, voxel_um)
        assert wanted[0]["label"].max() > 0
        assert walls_cut(wanted[0]["label"], (9, 9, 9))
        same(carry(mask, state, params, voxel_um, block), wanted)
        state = wanted if mode == "chain" else state


@pytest.mark.parametrize("block", [(1, 30, 30), (30, 1, 30), (30, 30, 1), (5, 4, 3)])
def test_cuts_do_not_depend_on_thin_blocks(block):
    first, *later = noisy_states(5, (24, 26, 28), -0.3, 0.9)
    state = reference(first)
    cuts = 0
    for mask in later:
        wanted = carry(mask, state)
        cuts += wanted[1]["cut_basin"].size
        assert walls_cut(wanted[0]["label"], block)
        same(carry(mask, state, block=block), wanted)
        state = wanted
    assert cuts > 0


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("chunks", [(24, 26, 28), (24, 9, 15)])
def test_lazy_equals_compute(chunks, scheduler):
    first, mask = noisy_states(8, (24, 26, 28), -0.3, 0.8, 2)
    state = reference(first)
    wanted = carry(mask, state)
    volumes = {"mask": mask, "previous_label": state[0]["label"], "previous_depth": state[0]["depth"]}
    steps = passes(TransferParams(), LABELS, CUBE)
    graph = lazy(
        steps,
        {name: da.from_array(volume, chunks=chunks) for name, volume in volumes.items()},
        {name: state[1][name] for name in CARRIED},
    )
    same(da.compute(*graph, scheduler=scheduler), wanted)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    level=st.sampled_from([-1.0, -0.3, 0.3]),
    min_depth=st.sampled_from([1 / 64, 0.5, 2.0]),
    block=st.sampled_from([None, (7, 20, 9)]),
    mode=st.sampled_from(["chain", "reference"]),
)
def test_the_same_mask_keeps_every_label(seed, level, min_depth, block, mode):
    params = LabelsParams(min_depth=min_depth)
    mask = blobs(np.random.default_rng(seed).normal(size=(20, 22, 24)), level)
    state = reference(mask, params)
    volumes, tables = carry(mask, state, TransferParams(mode=mode), block=block, labels_params=params)
    np.testing.assert_array_equal(volumes["label"], state[0]["label"])
    assert tables["lost_labels"].size == 0
    for name in CARRIED:
        np.testing.assert_array_equal(tables[name], state[1][name])


def test_shifted_particles_keep_their_labels():
    rng = np.random.default_rng(0)
    centres = np.stack(np.meshgrid(*[np.arange(10, 60, 13)] * 3), -1).reshape(-1, 3)
    shape = (62, 62, 62)
    truth = [balls(shape, (centre, 6.2)) for centre in centres]
    state = reference(balls(shape, *[(centre, 6.5) for centre in centres]))
    assert state[1]["particles"][0] == len(centres)
    names = [int(state[0]["label"][tuple(centre)]) for centre in centres]
    for _ in range(3):
        centres = centres + rng.integers(-1, 2, centres.shape)
        state = carry(balls(shape, *[(centre, 6.5) for centre in centres]), state, block=(31, 40, 62))
        assert [int(state[0]["label"][tuple(centre)]) for centre in centres] == names
    assert len(truth) == len(set(names))


@pytest.mark.parametrize("wrong", [{"mode": "both"}, {"seed_depth": 1.0}, {"min_overlap": 0.0}])
def test_impossible_parameters(wrong):
    with pytest.raises(ValidationError):
        TransferParams(**wrong)
