"""The grey scale of a scan, told from the same places of two scans: blur, noise and cracks leave it where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.grid import Box
from crackdask.kernels.histogram_peaks import peaks_of
from crackdask.kernels.source_positions import STRAIGHT
from crackdask.steps.grey_pairs import BINS, Places, Scale, boxes, drift_of_pairs, pair_counts, whole_shift

SHAPE = (48, 64, 64)
DARK, BRIGHT = 1000.0, 3000.0


def scan(seed=0, blur=0.6, noise=60.0, gain=1.0, offset=0.0, cracks=0, at=(0, 0, 0)):
    """Return a scan of balls, with a number of slits in them, whose content lies `at` further on."""
    grid = np.stack(np.meshgrid(*(np.arange(n) - a for n, a in zip(SHAPE, at, strict=True)), indexing="ij"))
    rng = np.random.default_rng(7)
    centres, radii = rng.uniform(4, 60, (60, 3)), rng.uniform(7, 11, 60)
    solid = np.zeros(SHAPE, bool)
    for centre, radius in zip(centres, radii, strict=True):
        solid |= ((grid - centre[:, None, None, None]) ** 2).sum(axis=0) < radius**2
    voxels = np.where(solid, BRIGHT, DARK)
    for place in np.random.default_rng(5).integers(0, 48, cracks):
        voxels[np.abs(grid[0] - place) < 0.5] = DARK
    rng = np.random.default_rng(seed)
    voxels = ndimage.gaussian_filter(voxels, blur) + ndimage.gaussian_filter(rng.normal(0, noise, SHAPE), 0.5)
    return np.rint(gain * voxels + offset).astype(np.uint16)


def peaks(voxels):
    return peaks_of(np.arange(8192.0), np.bincount(voxels.ravel(), minlength=8192))


def compared(reference, other, by=(0, 0, 0), fill=None, scale=None):
    """Return the drift that all boxes tell together."""
    if scale is None:
        own, wanted = peaks(other), peaks(reference)
        gain = (wanted[-1].level - wanted[0].level) / (own[-1].level - own[0].level)
        scale = Scale(gain, wanted[0].level - gain * own[0].level, wanted[0].level, wanted[-1].level)
    places = Places(
        lambda box: reference[box.slices],
        lambda box: other[box.slices],
        (0, 0, 0),
        dict.fromkeys(boxes(SHAPE), by),
        other.shape,
        fill,
    )
    counts = np.sum([pair_counts(places, scale, box) for box in boxes(SHAPE)], axis=0)
    return drift_of_pairs(counts, scale)


@pytest.mark.parametrize(
    "alteration", [{}, {"blur": 1.0}, {"noise": 120.0}, {"cracks": 5}, {"blur": 1.2, "noise": 150.0}]
)
def test_what_leaves_the_scale_alone_is_no_drift(alteration):
    seen = compared(scan(), scan(seed=1, **alteration))
    assert seen is not None
    assert not seen.sure
    assert abs(seen.background) < 0.006 * seen.contrast
    assert abs(seen.solid) < 0.006 * seen.contrast


def test_cracks_that_blur_spread_are_halfway_believed_and_widen_the_error():
    sharp, blurred = (compared(scan(), scan(seed=1, cracks=12, blur=blur)) for blur in (0.6, 1.2))
    assert sharp is not None
    assert blurred is not None
    assert abs(blurred.solid) < 0.002 * blurred.contrast, "0.0032 where nothing is taken off"
    assert blurred.solid_error > 0.004 * blurred.contrast > 1.3 * sharp.solid_error


@pytest.mark.parametrize(("gain", "offset"), [(1.03, 40.0), (0.97, 0.0), (1.0, 60.0), (2.0, -900.0), (0.5, 100.0)])
@pytest.mark.parametrize("alteration", [{}, {"blur": 1.0, "cracks": 5}])
def test_a_drift_is_measured_to_its_error(gain, offset, alteration):
    seen = compared(scan(), scan(seed=1, gain=gain, offset=offset, **alteration))
    assert seen is not None
    assert seen.sure
    for level, error in ((DARK, seen.background_error), (BRIGHT, seen.solid_error)):
        mapped = seen.gain * (gain * level + offset) + seen.offset
        assert mapped == pytest.approx(level, abs=4 * error)
        assert error < 0.004 * seen.contrast


def test_a_scan_that_lies_elsewhere_is_read_where_it_lies():
    seen = compared(scan(), scan(seed=1, at=(3, -2, 5), gain=1.05), by=(3, -2, 5))
    assert seen is not None
    assert seen.solid == pytest.approx(0.05 * BRIGHT, abs=4 * seen.solid_error)


def test_places_of_other_content_tell_nothing():
    assert compared(scan(), scan()[::-1, ::-1, ::-1].copy()) is None


def test_too_few_places_tell_nothing():
    rng = np.random.default_rng(0)
    speckled = np.where(rng.random(SHAPE) < 0.5, 1000, 3000).astype(np.uint16)
    assert compared(speckled, speckled, scale=Scale(1.0, 0.0, DARK, BRIGHT)) is None


def test_what_was_not_measured_does_not_count():
    reference, other = scan(), scan(seed=1)
    for voxels, half in ((reference, slice(0, 20)), (other, slice(50, 64))):
        voxels[:, :, half] = 0
    scale = Scale(1.0, 0.0, DARK, BRIGHT)
    seen = compared(reference, other, fill=0.0, scale=scale)
    first, second = [np.where(voxels == 0, np.nan, voxels).astype(np.float32) for voxels in (reference, other)]
    assert seen is not None
    assert compared(first, second, fill=float("nan"), scale=scale) == seen


@given(st.tuples(*[st.integers(1, 400)] * 3))
def test_boxes_lie_inside_and_reach_the_ends(shape):
    found = boxes(shape)
    assert len(set(found)) == len(found) <= 216
    for axis, n in enumerate(shape):
        assert min(box.start[axis] for box in found) == 0
        assert max(box.stop[axis] for box in found) == n


@given(st.tuples(*[st.integers(-80, 80)] * 3))
def test_boxes_beyond_the_scan_count_nothing(by):
    voxels = np.full(SHAPE, 1000, np.uint16)
    box = boxes(SHAPE)[0]
    places = Places(
        lambda each: voxels[each.slices], lambda each: voxels[each.slices], (0, 0, 0), {box: by}, SHAPE, None
    )
    counts = pair_counts(places, Scale(1.0, 0.0, DARK, BRIGHT), box)
    assert counts.shape == (2, BINS + 1)
    overlap = [min(b, n - s) - max(a, -s) for a, b, n, s in zip(box.start, box.stop, SHAPE, by, strict=True)]
    cubes = np.prod([max(0, n // 2 - 2) for n in overlap])
    assert counts.sum() == cubes


def test_a_shift_is_that_of_the_middle():
    matrix = np.eye(4)
    matrix[:3, 3] = 2.4, -1.6, 0.2
    assert whole_shift(Box((0, 0, 0), (32, 32, 32)), matrix, STRAIGHT) == (2, -2, 0)
