"""The slow trend of a scan: found as it is, taken off by one expression, and no block shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crackdask.grid import Box, Grid
from crackdask.kernels.flat_field import EVEN, FlatField, flat_field, flatten, histogram
from crackdask.kernels.histogram_peaks import peaks_of
from crackdask.kernels.resample import resample_grey, source_box
from crackdask.kernels.slow_trends import spread, trend
from crackdask.steps.read import reduce_mean
from tests.kernels.test_resample import moved, scan_of
from tests.kernels.test_slow_trends import SHAPE, scan

BENT = FlatField(
    np.array([8.5, 10.0, 11.5]),
    np.array([9.0, 10.5, 12.0]),
    np.array([40.0, 1.0, -2.0, 0.5, 2.0, -1.0, 3.0, 0.3, -0.4, 0.5]),
    np.array([150.0, -3.0, 2.0, 4.0, -5.0, 6.0, 2.0, 0.7, 1.5, -2.5]),
    np.array([42.0, 155.0]),
)


def plain(value: float, place: np.ndarray, field: FlatField) -> float:
    """Take a trend off one voxel, as the docstring says."""
    z, y, x = (place - field.middle) / field.half
    terms = np.array([1, z, y, x, z * z, y * y, x * x, z * y, z * x, y * x])
    dark, bright = terms @ field.dark, terms @ field.bright
    return field.levels[0] + (value - dark) / (bright - dark) * (field.levels[1] - field.levels[0])


@pytest.mark.parametrize("altered", [{"cupping": 0.1}, {"cupping": -0.1}, {"slope": 0.1}, {"cupping": 0.05, "seed": 3}])
def test_a_trend_is_found_and_taken_off(altered):
    voxels = scan(**altered)
    found = flat_field(voxels, None, 1, SHAPE)
    assert found is not None
    left, before, even = (trend(v) for v in (flatten(voxels, 1, found), voxels, scan()))
    assert left is not None
    assert before is not None
    assert even is not None
    assert spread(before.cells)[0] > 0.03 * even.contrast
    assert spread(left.cells)[0] < 0.008 * even.contrast
    z, y, x = (np.array([0, (n - 1) / 2, n - 1]) for n in SHAPE)
    places = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1).reshape(-1, 3)
    radius = np.sqrt((((places - found.middle) ** 2)[:, 1:]).sum(1))
    shade = 1 - altered.get("cupping", 0) * (1 - (radius / np.sqrt(35.5**2 + 31.5**2)) ** 2)
    shade *= 1 + altered.get("slope", 0) * (places[:, 0] - 19.5) / SHAPE[0]
    for level in (60.0, 150.0):
        raw = shade * level
        flat = np.array([plain(v, p, found) for v, p in zip(raw, places, strict=True)])
        assert np.ptp(flat) < 0.35 * np.ptp(raw), "the far corners of a volume are where a surface is known worst"


def test_what_is_even_stays_nearly_as_it_is():
    voxels = scan()
    found = flat_field(voxels, None, 1, SHAPE)
    assert found is not None
    assert np.abs(flatten(voxels, 1, found) - voxels).max() < 0.025 * 90
    np.testing.assert_array_equal(flatten(voxels, 1, EVEN), voxels)


def test_a_small_version_tells_the_trend_of_the_scan():
    voxels = scan(cupping=0.08)
    full = flat_field(voxels, None, 1, SHAPE)
    small = flat_field(reduce_mean(voxels, 2), None, 2, SHAPE)
    assert full is not None
    assert small is not None
    one, other = (flatten(voxels, 1, field) for field in (full, small))
    bright = voxels > 130
    assert np.ptp((one - other)[bright]) < 0.015 * 90


def test_voxels_that_do_not_count_change_nothing():
    voxels, valid = scan(cupping=0.05), np.ones(SHAPE, bool)
    valid[:, :6] = False
    spoilt = np.where(valid, voxels, 1e6)
    one, other = flat_field(voxels, valid, 1, SHAPE), flat_field(spoilt, valid, 1, SHAPE)
    assert one is not None
    assert other is not None
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_what_shows_no_two_phases_or_too_little_of_them_has_no_field():
    assert flat_field(np.full((20, 20, 20), 7), None, 1, (20, 20, 20)) is None
    assert flat_field(np.random.default_rng(0).normal(100, 5, (30, 30, 30)), None, 1, (30, 30, 30)) is None
    assert flat_field(scan()[:2, :30, :30], None, 1, (2, 30, 30)) is None
    fading = scan(slope=1.9)  # to less than half of the contrast at one end
    assert flat_field(fading, None, 1, SHAPE) is None


def test_histograms_are_of_equal_bins():
    values, counts = histogram(scan().ravel())
    assert counts.sum() == np.prod(SHAPE)
    assert [round(peak.level) for peak in peaks_of(values, counts)] == [60, 150]


def test_resampling_takes_it_off_where_a_voxel_lies():
    voxels = scan_of((18, 21, 24), "float64")
    matrix = moved(voxels.shape, (3.0, -2.0, 4.0), (0.4, -0.3, 1.2))
    box = Box((2, 3, 4), (8, 9, 10))
    whole = Box.whole(voxels.shape)
    fine: dict[str, Any] = {"lo": 0.0, "hi": 254.0}  # a grey level is a raw value and one
    flat, _ = resample_grey(voxels, whole, matrix, box, voxels.shape, **fine, field=BENT, gain=0.9, offset=3.0)
    raw, _ = resample_grey(100 * voxels - 8000, whole, matrix, box, voxels.shape, lo=-8000.0, hi=17400.0)
    assert len(np.unique(raw)) > 20
    for index in np.ndindex(box.shape):
        place = (matrix @ [*(np.array(index) + box.start), 1.0])[:3]
        low, high = (0.9 * plain(float(raw[index]) - 1 + off, place, BENT) + 3.0 for off in (-0.51, 0.51))
        assert np.floor(low) <= int(flat[index]) - 1 <= np.ceil(high)


@settings(max_examples=25)
@given(
    angles=st.tuples(*[st.floats(-8, 8)] * 3),
    shift=st.sampled_from([(0.0, 0.0, 0.0), (1.0, -2.0, 3.0), (0.3, 1.7, -0.6)]),
    block=st.tuples(*[st.integers(3, 15)] * 3),
    still=st.booleans(),
)
def test_blocks_do_not_show(angles, shift, block, still):
    voxels = scan_of((18, 21, 24))
    matrix = moved(voxels.shape, (0.0,) * 3 if still else angles, shift)
    shape = (17, 20, 22)
    options: dict[str, Any] = {"lo": 30.0, "hi": 170.0, "field": BENT}
    whole, _ = resample_grey(voxels, Box.whole(voxels.shape), matrix, Box.whole(shape), voxels.shape, **options)
    even, _ = resample_grey(
        voxels, Box.whole(voxels.shape), matrix, Box.whole(shape), voxels.shape, **options | {"field": EVEN}
    )
    assert (whole != even).mean() > 0.2
    grid = Grid(shape, block)
    assert len(grid) > 1
    joined = np.zeros(shape, np.uint8)
    for box in grid:
        needed = source_box(matrix, box, voxels.shape)
        if needed is not None:
            core, _ = resample_grey(voxels[needed.slices], needed, matrix, box, voxels.shape, **options)
            joined[box.slices] = core
    np.testing.assert_array_equal(joined, whole)
