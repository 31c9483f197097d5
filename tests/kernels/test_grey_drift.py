"""The drift between the grey scales of two scans: its size, its error, and where it cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.kernels.grey_drift import Drift, drift, shift
from crackdask.kernels.histogram_peaks import Peak, peaks_of

LEVELS = np.arange(4096.0)


def scan(gain=1.0, offset=0.0, seed=0, solid=0.5, cracks=0):
    """Return the peaks of a scan of two phases whose scale is altered; voxels with cracks are a little darker."""
    rng = np.random.default_rng(seed)
    bright = int(200_000 * solid)
    voxels = np.concatenate(
        [
            rng.normal(1000, 120, 200_000 - bright),
            rng.normal(2500, 120, bright - cracks),
            2500 - rng.exponential(300, cracks) + rng.normal(0, 120, cracks),
            rng.uniform(1000, 2500, 40_000),
        ]
    )
    return peaks_of(LEVELS, np.bincount(np.rint(gain * voxels + offset).clip(0, 4095).astype(int), minlength=4096))


@pytest.mark.parametrize("solid", [0.3, 0.5, 0.7])
def test_scans_that_are_alike_have_not_drifted(solid):
    seen = drift(scan(seed=1, solid=solid, cracks=500), scan(solid=solid))
    assert seen is not None
    assert not seen.sure
    assert abs(seen.share) < 0.005


@pytest.mark.parametrize(("gain", "offset"), [(1.03, 30.0), (0.97, 0.0), (1.0, -25.0), (1.3, -400.0)])
def test_a_drift_is_measured_to_its_error(gain, offset):
    seen = drift(scan(gain, offset, seed=1, cracks=3000), scan())
    assert seen is not None
    assert seen.sure
    for level, error in ((1000.0, seen.background_error), (2500.0, seen.solid_error)):
        mapped = seen.gain * (gain * level + offset) + seen.offset
        assert mapped == pytest.approx(level, abs=4 * error)
        assert error < 0.005 * seen.contrast
    assert abs(seen.share) == pytest.approx(
        max(abs((gain - 1) * 1000 + offset), abs((gain - 1) * 2500 + offset)) / 1500, abs=0.005
    )


def test_scans_of_other_phases_cannot_be_compared():
    one = peaks_of(LEVELS, np.bincount(np.random.default_rng(0).integers(900, 1100, 9000), minlength=4096))
    assert drift(scan(), one) is None
    assert drift(one, one) is None


def test_a_shift_on_the_same_scale_has_an_error():
    moved, error = shift(scan(offset=20.0, seed=1)[-1], scan()[-1])
    assert moved == pytest.approx(20, abs=4 * error)
    assert 0 < error < 10


def test_the_error_is_of_both_counts_and_of_half_of_what_a_wider_look_changes():
    own = [Peak(level, error, wider, 9.0, 0.0, 1.0, 0.5) for level, error, wider in ((10, 3.0, 18), (60, 2.0, 60))]
    reference = [Peak(level, error, level + 4, 9.0, 0.0, 1.0, 0.5) for level, error in ((100, 2.0), (200, 3.0))]
    seen = drift(own, reference)
    assert seen is not None
    assert (seen.gain, seen.offset, seen.contrast) == (2, 80, 100)
    assert (seen.background, seen.solid) == (-90, -140)
    assert seen.background_error == pytest.approx((6**2 + 2**2 + ((16 - 4) / 2) ** 2) ** 0.5)
    assert seen.solid_error == pytest.approx((4**2 + 3**2 + (4 / 2) ** 2) ** 0.5)
    moved, error = shift(own[0], reference[0])
    assert moved == -90
    assert error == pytest.approx((3**2 + 2**2 + ((8 - 4) / 2) ** 2) ** 0.5)


@pytest.mark.parametrize("side", [1, -1])
def test_one_level_that_moved_is_a_drift(side):
    moved = {"dark": (20.0, 1.0), "bright": (1.0, 20.0), "both": (20.0, -20.0), "none": (0.1, -0.1)}
    seen = {
        name: Drift(side * dark, side * bright, 1.0, 1.0, 1.0, 0.0, 100.0) for name, (dark, bright) in moved.items()
    }
    assert {name: each.sure for name, each in seen.items()} == {
        "dark": True,
        "bright": True,
        "both": True,
        "none": False,
    }
    assert [seen[name].share for name in ("dark", "bright", "none")] == [side * 0.2, side * 0.2, side * 0.001]
    assert not Drift(20.0, 20.0, 15.0, 15.0, 1.0, 0.0, 100.0).sure, "by less than chance"
    assert not Drift(0.1, 0.1, 1e-6, 1e-6, 1.0, 0.0, 100.0).sure, "by too little to matter"
