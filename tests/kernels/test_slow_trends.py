"""Slow trends and rings of a scan: found where there are some, and not where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from crackdask.kernels.slow_trends import CELLS, spread, trend

SHAPE = (40, 72, 64)


def scan(cupping=0.0, slope=0.0, rings=0.0, seed=0, sd=5.0):
    """Return two phases, 60 and 150, darker toward the axis z or toward the low end of z, with rings."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.5, mode="wrap")
    voxels = np.where(smooth > 0.1 * smooth.std(), 150.0, 60.0)
    z, y, x = (g - (n - 1) / 2 for g, n in zip(np.ogrid[tuple(map(slice, SHAPE))], SHAPE, strict=True))
    radius = np.sqrt(y**2 + x**2)
    voxels = voxels * (1 - cupping * (1 - (radius / radius.max()) ** 2)) * (1 + slope * z / SHAPE[0])
    level = 90 * rings * np.random.default_rng(9).uniform(-1, 1, int(radius.max()) + 2)
    return voxels + level[np.rint(radius).astype(int)] + rng.normal(0, sd, SHAPE)


def test_an_even_scan_is_even():
    found = trend(scan())
    assert found is not None
    assert found.level == pytest.approx(150, abs=1)
    assert found.contrast == pytest.approx(90, abs=1.5)
    assert np.isfinite(found.cells).all()
    assert spread(found.cells)[0] < 0.02 * found.contrast
    assert found.rings < 0.004 * found.contrast


@pytest.mark.parametrize(
    ("altered", "wanted"), [({"cupping": 0.1}, 8.0), ({"cupping": -0.1}, 8.0), ({"slope": 0.1}, 11)]
)
def test_a_trend_is_as_large_as_it_is(altered, wanted):
    found, even = trend(scan(seed=1, **altered)), trend(scan())
    assert found is not None
    assert even is not None
    uneven, error = spread(found.cells - even.cells)
    assert uneven == pytest.approx(wanted, abs=2.5)
    assert 0 < error < 1


@pytest.mark.parametrize("rings", [0.05, 0.1])
def test_rings_are_as_strong_as_they_are(rings):
    found = trend(scan(rings=rings))
    assert found is not None
    assert found.rings / found.contrast == pytest.approx(rings / 3**0.5, rel=0.35)
    assert found.rings > 4 * found.rings_error > 0


def test_voxels_that_do_not_count_change_nothing():
    voxels = scan()
    valid = np.ones(SHAPE, bool)
    valid[:, :6] = False
    spoilt = np.where(valid, voxels, 1e6)
    one, other = trend(voxels, valid), trend(spoilt, valid)
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.cells, other.cells)
    assert one.rings == other.rings


def test_what_shows_no_two_phases_shows_no_trend():
    assert trend(np.full((20, 20, 20), 7)) is None
    assert trend(np.random.default_rng(0).normal(100, 5, (30, 30, 30))) is None
    assert trend(scan()[:2, :3, :4]) is None
    missing = np.full((CELLS,) * 3, np.nan)
    assert spread(missing) == (0.0, float("inf"))
