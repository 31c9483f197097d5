"""From counts to attenuation: against numpy, and each kind of bad pixel by itself."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.kernels.attenuation import References, attenuations

ROWS, PROJECTIONS, COLUMNS = 3, 40, 30
MOMENTS = np.linspace(0, 1, PROJECTIONS)


@pytest.fixture
def references() -> References:
    """Return flats and darks that differ from pixel to pixel, and from begin to end."""
    rng = np.random.default_rng(0)
    shape = (2, ROWS, COLUMNS)
    return References(
        rng.uniform(30_000, 40_000, shape).astype(np.float32), rng.uniform(80, 120, shape).astype(np.float32)
    )


@pytest.fixture
def counts(references: References) -> np.ndarray:
    seen = np.exp(-np.random.default_rng(1).uniform(0.8, 0.9, (ROWS, PROJECTIONS, COLUMNS)))
    return np.rint(seen * 35_000 + 100).astype(np.uint16)


def plain(counts: np.ndarray, references: References) -> np.ndarray:
    moment = MOMENTS[None, :, None]
    begin, end = (references.flats.astype(float)[k][:, None] for k in (0, 1))
    dark = references.darks.astype(float)
    low = dark[0][:, None] * (1 - moment) + dark[1][:, None] * moment
    return -np.log((counts - low) / (begin * (1 - moment) + end * moment - low))


def test_attenuation_is_the_logarithm_between_flats_and_darks(counts, references):
    found, flaws = attenuations(counts, references, MOMENTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(counts, references), atol=1e-6)
    assert not flaws.columns.any()
    assert not np.concatenate([flaws.saturated, flaws.starved, flaws.zingers, flaws.missing]).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_counts_may_be_of_any_kind(counts, dtype):
    few = References(np.full((2, ROWS, COLUMNS), 200, np.float32), np.full((2, ROWS, COLUMNS), 3, np.float32))
    small = (counts >> 8).astype(dtype)
    np.testing.assert_array_equal(attenuations(small, few, MOMENTS)[0], attenuations(counts >> 8, few, MOMENTS)[0])


def test_the_logarithm_is_right_over_its_range():
    ones = References(np.ones((2, 1, 2000), np.float32), np.zeros((2, 1, 2000), np.float32))
    values = np.geomspace(0.5, 3e5, 4000).reshape(1, 2, 2000).astype(np.float32)
    found = attenuations(values, ones, np.zeros(2), zinger=0)[0]
    wanted = -np.log(values.astype(float))
    np.testing.assert_allclose(found, wanted, rtol=2e-7, atol=6e-8)


def test_rows_do_not_know_each_other(counts, references):
    counts[1, 5, 7] = 65_000
    whole = attenuations(counts, references, MOMENTS)[0]
    for row in range(ROWS):
        part = slice(row, row + 1)
        alone = attenuations(counts[part], references.rows(row, row + 1), MOMENTS)[0]
        np.testing.assert_array_equal(alone, whole[part])


def test_dead_and_stuck_columns_lie_on_a_line_between_their_neighbours(counts, references):
    references.flats[:, 0, 10] = references.darks[:, 0, 10] + 50
    references.flats[:, 0, 11] = references.darks[:, 0, 11] - 3
    counts[1, :, 20] = 12_345
    counts[2, :, 0] = 777
    found, flaws = attenuations(counts, references, MOMENTS)
    assert np.argwhere(flaws.dead).tolist() == [[0, 10], [0, 11]]
    assert np.argwhere(flaws.stuck).tolist() == [[1, 20], [2, 0]]
    seen = np.exp(-found.astype(float))
    np.testing.assert_allclose(seen[0, :, 10], (2 * seen[0, :, 9] + seen[0, :, 12]) / 3, rtol=1e-5)
    np.testing.assert_allclose(seen[1, :, 20], (seen[1, :, 19] + seen[1, :, 21]) / 2, rtol=1e-5)
    np.testing.assert_allclose(seen[2, :, 0], seen[2, :, 1], rtol=1e-5)
    assert not flaws.starved.any()


def test_full_and_missing_pixels_are_counted_and_filled(counts, references):
    values = counts.astype(np.float32)
    values[0, 3, 5] = 65_535
    values[1, 4, 6:8] = np.nan
    values[2, : PROJECTIONS // 2 + 1, 9] = 65_535
    values[2, 7] = np.nan
    found, flaws = attenuations(values, references, MOMENTS, saturation=65_535)
    assert np.isfinite(found).all()
    assert flaws.saturated.tolist() == [1, 0, PROJECTIONS // 2]
    assert flaws.missing.tolist() == [0, 2, COLUMNS]
    assert np.argwhere(flaws.lost).tolist() == [[2, 9]]
    seen = np.exp(-found.astype(float))
    assert seen[0, 3, 5] == pytest.approx((seen[0, 3, 4] + seen[0, 3, 6]) / 2, rel=1e-5)
    assert seen[1, 4, 6] == pytest.approx((2 * seen[1, 4, 5] + seen[1, 4, 8]) / 3, rel=1e-5)
    assert (found[2, 7] == 0).all()  # a whole projection is missing: nothing is known of it


def test_what_lets_no_photon_through_is_half_a_count(counts, references):
    counts[0, 3, 5] = 0
    found, flaws = attenuations(counts, references, MOMENTS)
    assert flaws.starved.tolist() == [1, 0, 0]
    assert found[0, 3, 5] == pytest.approx(np.log(35_000 / 0.5), abs=0.3)


def test_zingers_become_the_mean_of_before_and_after(counts, references):
    clean = np.exp(-attenuations(counts, references, MOMENTS)[0].astype(float))
    for place in ((0, 3, 5), (0, 20, 5), (1, 30, 0)):
        counts[place] = 30_000
    counts[2, 10:13, 8] = 30_000  # three in a row are no stray photon
    found, flaws = attenuations(counts, references, MOMENTS)
    assert flaws.zingers.tolist() == [2, 1, 0]
    seen = np.exp(-found.astype(float))
    assert seen[0, 3, 5] == pytest.approx((clean[0, 2, 5] + clean[0, 4, 5]) / 2, rel=1e-5)
    assert not attenuations(counts, references, MOMENTS, zinger=0)[1].zingers.any()


def test_a_row_without_beam_is_dead_and_finite(counts, references):
    references.flats[:, 1] = references.darks[:, 1]
    found, flaws = attenuations(counts, references, MOMENTS)
    assert flaws.dead[1].all()
    assert not flaws.dead[[0, 2]].any()
    assert (found[1] == 0).all()


def test_a_single_projection_has_no_stuck_columns(counts, references):
    found, flaws = attenuations(counts[:, :1], references, MOMENTS[:1], zinger=0)
    np.testing.assert_allclose(found, plain(counts, references)[:, :1], atol=1e-6)
    assert not flaws.columns.any()


def test_what_does_not_fit_is_refused(counts, references):
    with pytest.raises(ValueError, match=r"counts .* are \(3, 40, 30\), but references \(2, 30\) and 40 moments"):
        attenuations(counts, references.rows(0, 2), MOMENTS)
    with pytest.raises(ValueError, match="39 moments"):
        attenuations(counts, references, MOMENTS[1:])
    with pytest.raises(ValueError, match=r"both must be \(2, rows, columns\)"):
        References(references.flats[0], references.darks[0])
    with pytest.raises(ValueError, match=r"flats \(2, 30\) and darks \(2, 30\); both must be"):
        References(references.flats[:, 0], references.darks[:, 0])


def test_transmissions_are_as_dark_as_they_are():
    """Frames that are transmissions already have a beam of one, and half a count would be half of it."""
    ones = References(np.ones((2, 1, 400), np.float32), np.zeros((2, 1, 400), np.float32))
    through = np.geomspace(1e-3, 1, 800).reshape(1, 2, 400).astype(np.float32)
    found, flaws = attenuations(through, ones, np.zeros(2), zinger=0)
    np.testing.assert_allclose(found, -np.log(through.astype(float)), rtol=1e-6, atol=1e-6)
    assert not flaws.starved.any()
    through[0, 1, 5:9] = -0.01
    found, flaws = attenuations(through, ones, np.zeros(2), zinger=0)
    np.testing.assert_allclose(found[0, 1, 5:9], np.log(1e3), rtol=1e-5)
    assert flaws.starved.tolist() == [4]
