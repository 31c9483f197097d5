"""Shifts of particles between two aligned scans."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from crackdask.kernels.interpolation import cubic_weights
from crackdask.kernels.particle_shift import (
    PARTS,
    REACH,
    STRETCH_BITS,
    SUMS,
    add_up,
    add_up_shifted,
    shifts,
    shifts_beyond,
    steps,
)

SHAPE = (30, 32, 44)
CENTRES = np.array([[15.0, 15.3, 13.0], [14.6, 16.0, 31.2]])
RADIUS = 7.5
BOTH = np.array([1, 2])


def scan(moved, seed):
    """Return grey levels and labels of two balls."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    far = np.stack([np.linalg.norm(places - c, axis=-1) for c in CENTRES + moved])
    edge = 1 / (1 + np.exp((far.min(axis=0) - RADIUS) / 0.5))
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 8, SHAPE), 0.5)
    label = np.where(far.min(axis=0) < RADIUS, 1 + far.argmin(axis=0), 0).astype(np.uint32)
    return np.clip(60 + 90 * edge + noise, 1, 255).astype(np.uint8), label


def padded(grey, by):
    return np.pad(grey, by)


@pytest.mark.parametrize("moved", [(0.0, 0.0, 0.0), (0.2, -0.1, 0.15)])
def test_a_short_shift_is_told_at_once(moved):
    before, after = scan(np.zeros(3), 0)[0], scan(np.array(moved), 1)
    ids, sums = add_up(after[1], padded(before, 1), padded(after[0], 1))
    assert ids.tolist() == [1, 2]
    np.testing.assert_allclose(shifts(sums), [moved] * 2, atol=0.07)


@pytest.mark.parametrize("moved", [(0.9, -0.8, 0.7), (1.4, 1.2, -0.3), (-2.0, 0.6, 1.1)])
def test_a_long_shift_is_told_from_where_the_first_step_led(moved):
    moved = np.array(moved)
    (before, _), (after, label) = scan(np.zeros(3), 0), scan(moved, 1)
    _, sums = add_up(label, padded(before, 1), padded(after, 1))
    found = steps(sums)
    once = np.abs(found - moved).max()
    for _ in range(3):
        starts = np.rint(PARTS * found).astype(np.int8)
        rest = add_up_shifted(label, padded(before, REACH), padded(after, 1), BOTH, starts)
        found = starts / PARTS + shifts_beyond(rest)
    assert np.abs(found - moved).max() < min(0.06, once / 2)


#: A middle in parts of a voxel, and slopes.
STRETCH = np.array([[176, 123, 176, 3000, -900, 400, 200, -5000, 80, 0, 700, 2500]] * 2)


@pytest.mark.parametrize("stretch", [None, STRETCH, STRETCH * ([1] * 3 + [40] * 9)], ids=["alike", "stretched", "torn"])
def test_sums_are_those_of_a_plain_loop(stretch):
    (before, _), (after, label) = scan(np.zeros(3), 0), scan(np.array([0.6, -1.3, 0.4]), 1)
    starts = np.array([[5, -11, 3]], np.int8)
    after[12, 14, 10] = before[16, 17, 9] = 0  # outside a scan
    own = stretch if stretch is None else stretch[:1]
    sums = add_up_shifted(label, padded(before, REACH), padded(after, 1), BOTH[:1], starts, own, (7, 0, 9))
    wide, near = padded(before, REACH).astype(float), padded(after, 1).astype(int)
    wanted = np.zeros(SUMS)
    for place in np.argwhere(label == 1):
        rim = near[tuple(slice(p, p + 3) for p in place)]
        h = np.array([rim[2, 1, 1] - rim[0, 1, 1], rim[1, 2, 1] - rim[1, 0, 1], rim[1, 1, 2] - rim[1, 1, 0]])
        six = [rim[0, 1, 1], rim[2, 1, 1], rim[1, 0, 1], rim[1, 2, 1], rim[1, 1, 0], rim[1, 1, 2], rim[1, 1, 1]]
        if min(six) == 0:
            continue
        lies = starts[0].astype(int)
        if stretch is not None:
            apart = PARTS * (place + np.array([7, 0, 9])) - stretch[0, :3]
            lies = lies + np.floor(stretch[0, 3:].reshape(3, 3) @ apart / 2**STRETCH_BITS + 0.5).astype(int)
        whole, part = np.floor_divide(-lies, PARTS), np.mod(-lies, PARTS)
        if whole.min() < 1 - REACH or whole.max() > REACH - 2:
            continue
        weights = [np.array(cubic_weights(p / PARTS)) for p in part]
        taps = wide[tuple(slice(p + REACH + w - 1, p + REACH + w + 3) for p, w in zip(place, whole, strict=True))]
        if not taps.all():
            continue
        d = 256 * (np.einsum("zyx,z,y,x", taps, *weights) - rim[1, 1, 1])
        wanted += [
            h[0] ** 2, h[1] ** 2, h[2] ** 2, h[0] * h[1], h[0] * h[2], h[1] * h[2], *(h * d), *h, d, 1
        ]  # fmt: skip
    assert sums[0, 13] == wanted[13]
    assert wanted[13] > 1000 or (wanted[13] > 50 and stretch[0, 3] > 10**5)
    np.testing.assert_array_equal(sums[0, [0, 1, 2, 3, 4, 5, 9, 10, 11]], wanted[[0, 1, 2, 3, 4, 5, 9, 10, 11]])
    np.testing.assert_allclose(sums[0, [6, 7, 8, 12]], wanted[[6, 7, 8, 12]], atol=60 * wanted[13])


def test_a_particle_that_is_seen_on_one_side_alone_does_not_follow_the_stretch_around_it():
    """The second scan was drawn out by 4% about the middle of a ball of which a half counts."""
    middle, drawn = CENTRES[0], 1.04
    before, _ = scan(np.zeros(3), 0)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))
    source = middle[:, None, None, None] + (places - middle[:, None, None, None]) / drawn
    after = np.rint(ndimage.map_coordinates(before.astype(float), source, order=3, mode="nearest")).astype(np.uint8)
    inside = np.linalg.norm(places - middle[:, None, None, None], axis=0) < RADIUS
    label = (inside & (places[0] < 15)).astype(np.uint32)
    starts = np.zeros((1, 3), np.int8)
    slopes = np.eye(3).ravel() * (1 - 1 / drawn) * 2**STRETCH_BITS
    stretch = np.rint(np.concatenate([middle * PARTS, slopes]))[None].astype(np.int64)
    off = []
    for given in (None, stretch):
        sums = add_up_shifted(label, padded(before, REACH), padded(after, 1), BOTH[:1], starts, given)
        off.append(np.abs(shifts_beyond(sums)).max())
    assert off[1] < 0.02 < 0.1 < off[0]


def test_sums_of_blocks_add_up():
    (before, _), (after, label) = scan(np.zeros(3), 0), scan(np.array([0.6, -1.3, 0.4]), 1)
    starts = np.array([[5, -11, 3], [-8, 2, 30]], np.int8)
    wanted = add_up_shifted(label, padded(before, REACH), padded(after, 1), BOTH, starts, STRETCH)
    assert (wanted != add_up_shifted(label, padded(before, REACH), padded(after, 1), BOTH, starts)).any()
    total, wide, near = np.zeros_like(wanted), padded(before, REACH), padded(after, 1)
    for z, x in ((0, 0), (0, 22), (17, 0), (17, 22)):
        stop_z, stop_x = (17, 30)[z > 0], (22, 44)[x > 0]
        total += add_up_shifted(
            label[z:stop_z, :, x:stop_x],
            wide[z : stop_z + 2 * REACH, :, x : stop_x + 2 * REACH],
            near[z : stop_z + 2, :, x : stop_x + 2],
            BOTH,
            starts,
            STRETCH,
            (z, 0, x),
        )
    np.testing.assert_array_equal(total, wanted)
