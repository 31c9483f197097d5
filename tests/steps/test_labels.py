"""The reference state's labels: the same for any blocks, equal to a slow plain watershed, and good."""

from __future__ import annotations

from itertools import product
from typing import Any
from unittest import mock

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from crackdask.blocks.dask_graph import lazy
from crackdask.blocks.in_memory import compute
from crackdask.steps import watershed
from crackdask.steps.labels import LabelsParams, passes
from tests.support.scoring import f1

CUBE = (1.0, 1.0, 1.0)


def blobs(seed, shape, level=0.0, sd=1.5):
    """Smoothed noise above a level: blobs, necks and plateaus."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sd, mode="wrap")
    return noise > level * noise.std()


def spheres(shape, count, radii, seed):
    """Return labels of spheres that touch but do not overlap: each grows until it meets another one."""
    rng = np.random.default_rng(seed)
    centres, sizes = np.zeros((0, 3)), np.zeros(0)
    for _ in range(200 * count):
        centre = rng.uniform(0, 1, 3) * shape
        room = np.linalg.norm(centres - centre, axis=1) - sizes
        size = min([radii[1], *room])
        if size >= radii[0]:
            centres, sizes = np.vstack([centres, centre]), np.append(sizes, size)
        if len(sizes) == count:
            break
    truth = np.zeros(shape, np.uint32)
    for name, (centre, size) in enumerate(zip(centres, sizes, strict=True), start=1):
        low = np.maximum(np.floor(centre - size - 1), 0).astype(int)
        high = np.minimum(np.ceil(centre + size + 2), shape).astype(int)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.ogrid[part]
        squares = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        truth[part][squares <= (size + 0.5) ** 2] = name
    return truth


def plain_labels(depth, least_rise):
    """Watershed of a whole volume with dictionaries and sorting, nothing clever."""
    order = {at: (int(depth[at]), at) for at in product(*map(range, depth.shape)) if depth[at] > 0}

    def neighbours(at):
        for step in product((-1, 0, 1), repeat=3):
            to = tuple(a + s for a, s in zip(at, step, strict=True))
            if to in order:
                yield to

    up = {at: max(neighbours(at), key=order.__getitem__) for at in order}

    def climb(at):
        while up[at] != at:
            at = up[at]
        return at

    basin = {at: climb(at) for at in order}
    saddles: dict[tuple[Any, ...], int] = {}
    for at in order:
        for to in neighbours(at):
            pair = tuple(sorted((basin[at], basin[to])))
            if pair[0] != pair[1]:
                saddles[pair] = max(saddles.get(pair, 0), min(order[at][0], order[to][0]))
    particle = {peak: peak for peak in set(basin.values())}
    for (a, b), saddle in sorted(saddles.items(), key=lambda item: (-item[1], item[0])):
        low, high = sorted((particle[a], particle[b]), key=order.__getitem__)
        if low != high and order[low][0] - saddle < least_rise:
            particle = {peak: high if top == low else top for peak, top in particle.items()}
    names = {top: i for i, top in enumerate(sorted(set(particle.values())), start=1)}
    labels = np.zeros(depth.shape, np.uint32)
    for at, peak in basin.items():
        labels[at] = names[particle[peak]]
    return labels


def walls_cut(labels, block):
    """Return whether a wall between blocks runs through a particle."""
    for axis, size in enumerate(block):
        for at in range(size, labels.shape[axis], size):
            before, after = np.take(labels, at - 1, axis), np.take(labels, at, axis)
            if ((before == after) & (before > 0)).any():
                return True
    return False


def same(found, wanted):
    for name in ("depth", "label"):
        assert found[0][name].dtype == wanted[0][name].dtype
        np.testing.assert_array_equal(found[0][name], wanted[0][name])
    for name in set(wanted[1]) - {"basin_of_code", "code_offsets"}:
        assert found[1][name].dtype == wanted[1][name].dtype
        np.testing.assert_array_equal(found[1][name], wanted[1][name])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(3, 13)] * 3),
    level=st.sampled_from([-2.0, -0.5, 0.3]),
    smoothing=st.sampled_from([0.0, 0.7]),
    min_depth=st.sampled_from([1 / 64, 0.25, 2.0]),
    max_radius=st.sampled_from([2, 4, 48]),
)
def test_labels_equal_a_plain_watershed(seed, shape, level, smoothing, min_depth, max_radius):
    params = LabelsParams(smoothing=smoothing, min_depth=min_depth, max_radius=max_radius)
    volumes, _ = compute(passes(params, CUBE), {"mask": blobs(seed, shape, level)})
    np.testing.assert_array_equal(volumes["label"], plain_labels(volumes["depth"], params.least_rise))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(20, 34)] * 3),
    block=st.tuples(*[st.integers(1, 40)] * 3),
    level=st.sampled_from([-1.5, -0.7, 0.0]),
    smoothing=st.sampled_from([0.0, 1.0]),
    max_radius=st.sampled_from([3, 7, 48]),
    voxel_um=st.sampled_from([CUBE, (2.0, 1.0, 1.0), (0.5, 0.37, 0.61)]),
    first=st.sampled_from([1, 2, 5]),
)
def test_labels_do_not_depend_on_the_blocks(seed, shape, block, level, smoothing, max_radius, voxel_um, first):
    block = tuple(max(b, n // 6) for b, n in zip(block, shape, strict=True))  # not thousands of blocks
    mask = blobs(seed, shape, level, sd=2.5)
    steps = passes(LabelsParams(smoothing=smoothing, max_radius=max_radius), voxel_um)
    wanted = compute(steps, {"mask": mask})
    assert wanted[0]["label"].max() > 0
    if min(block) < 10:
        assert walls_cut(wanted[0]["label"], block)
    with mock.patch.object(watershed, "_FIRST_RADIUS", first):
        same(compute(steps, {"mask": mask}, block=block), wanted)


@pytest.mark.parametrize("block", [(1, 40, 40), (40, 1, 40), (40, 40, 1), (3, 5, 4), (99, 7, 99)])
@pytest.mark.parametrize("kind", ["spheres", "plateaus", "full"])
def test_blocks_of_any_thickness(kind, block):
    mask = {
        "spheres": spheres((24, 25, 26), 12, (3, 7), 0) > 0,
        "plateaus": np.kron(blobs(1, (6, 5, 6), 0.0, 0.5), np.ones((4, 5, 4), bool)),
        "full": np.ones((24, 25, 24), bool),
    }[kind]
    steps = passes(LabelsParams(min_depth=0.1, max_radius=9), CUBE)
    wanted = compute(steps, {"mask": mask})
    assert walls_cut(wanted[0]["label"], block)
    same(compute(steps, {"mask": mask}, block=block), wanted)


def test_large_particles_widen_the_halo():
    grid = np.ogrid[:56, :60, :64]
    mask = np.asarray(sum((g - 30) ** 2 for g in grid) < 27**2)
    steps = passes(LabelsParams(), CUBE)
    wanted = compute(steps, {"mask": mask})
    assert wanted[1]["deepest"].tolist() == [27]
    assert wanted[1]["capped_voxels"].tolist() == [0]
    same(compute(steps, {"mask": mask}, block=(16, 16, 16)), wanted)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("chunks", [(20, 24, 28), (7, 9, 30), (5, 24, 11)])
def test_lazy_equals_compute(chunks, scheduler):
    mask = spheres((20, 24, 28), 14, (3, 6), 3) > 0
    steps = passes(LabelsParams(max_radius=10), CUBE)
    wanted = compute(steps, {"mask": mask})
    assert wanted[1]["particles"][0] > 5
    volumes, tables = lazy(steps, {"mask": da.from_array(mask, chunks=chunks)})
    found = da.compute(volumes, tables, scheduler=scheduler)
    same(found, wanted)


def test_ids_follow_the_highest_points():
    truth = spheres((48, 48, 48), 30, (4, 9), 5)
    volumes, tables = compute(passes(LabelsParams(), CUBE), {"mask": truth > 0}, block=(20, 30, 17))
    labels, depth = volumes["label"], volumes["depth"]
    assert labels.dtype == np.uint32
    highest = []
    for name in range(1, int(tables["particles"][0]) + 1):
        at = np.flatnonzero(labels == name)
        top = depth.ravel()[at].max()
        assert tables["previous_max_depth"][name] == top
        highest.append(at[depth.ravel()[at] == top][-1])
    assert highest == sorted(highest)
    assert tables["highest"].tolist() == highest
    assert labels.max() == len(highest)


def test_spheres_are_found():
    truth = spheres((96, 96, 96), 160, (5, 14), 7)
    assert truth.max() > 100
    volumes, _ = compute(passes(LabelsParams(), CUBE), {"mask": truth > 0}, block=(50, 96, 40))
    assert ((volumes["label"] > 0) == (truth > 0)).all()
    assert f1(volumes["label"], truth) >= 0.98


def test_particles_apart_keep_apart_and_the_border_is_no_surface():
    mask = np.zeros((12, 12, 12), bool)
    mask[:5, :5, :5] = True
    mask[7:, 7:, 7:] = True
    mask[6, 0, 11] = True
    volumes, tables = compute(passes(LabelsParams(smoothing=0.0), CUBE), {"mask": mask})
    labels = volumes["label"]
    wanted, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == tables["particles"][0] == 3
    np.testing.assert_array_equal(labels, wanted)
    assert volumes["depth"][0, 0, 0] == volumes["depth"].max() == 5 * 64
    assert tables["highest"].tolist() == [0, 6 * 144 + 11, 12**3 - 1]


def test_an_empty_mask_has_no_particles():
    mask = np.zeros((5, 6, 7), bool)
    for block in (None, (2, 3, 7)):
        volumes, tables = compute(passes(LabelsParams(), CUBE), {"mask": mask}, block=block)
        assert not volumes["label"].any()
        assert tables["particles"].tolist() == tables["deepest"].tolist() == [0]
        assert tables["previous_max_depth"].tolist() == [0]


def test_depth_is_capped_and_counted():
    mask = np.ones((9, 20, 20), bool)
    mask[0] = False
    steps = passes(LabelsParams(smoothing=0.0, max_radius=5), CUBE)
    for block in (None, (2, 7, 20)):
        volumes, tables = compute(steps, {"mask": mask}, block=block)
        assert volumes["depth"][:, 3, 3].tolist() == [0, 64, 128, 192, 256, 320, 320, 320, 320]
        assert tables["capped_voxels"].tolist() == [4 * 400]
        assert tables["deepest"].tolist() == [5]
        assert volumes["label"].max() == 1


def test_anisotropic_spheres_are_found():
    truth = spheres((90, 90, 90), 120, (6, 14), 9)[::2]
    volumes, _ = compute(passes(LabelsParams(), (2.0, 1.0, 1.0)), {"mask": truth > 0})
    assert f1(volumes["label"], truth) >= 0.97


@pytest.mark.parametrize(
    "wrong",
    [{"smoothing": -1.0}, {"min_depth": 0.0}, {"max_radius": 2000}, {"max_radius": 4.5}, {"x": 1}],
)
def test_impossible_parameters(wrong):
    with pytest.raises(ValidationError):
        LabelsParams(**wrong)


@pytest.mark.parametrize("voxel_um", [(0.0, 1.0, 1.0), (1.0, 1.0), (1.0, float("nan"), 1.0)])
def test_impossible_voxels(voxel_um):
    with pytest.raises(ValueError, match="three positive lengths"):
        passes(LabelsParams(), voxel_um)
