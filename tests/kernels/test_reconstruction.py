"""From counts to slices: the same bits for any slab of rows, and a slice that is right with all that was wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crackdask.kernels.attenuation import Flaws, References
from crackdask.kernels.gridding import gridded
from crackdask.kernels.reconstruction import line_integrals, within
from crackdask.phantom.detector import Detector
from crackdask.phantom.ellipsoids import Ellipsoids, packed

COLUMNS, CENTER, ROWS = 128, 65.4, 32
DEGREES = np.linspace(0, 180, 181)
MOMENTS = np.linspace(0, 1, 181)
BETWEEN = (30.0, 177.0)
#: So that the darkest ray keeps a fifth of the beam.
PER_VOXEL = 0.02


@pytest.fixture(scope="module")
def sample() -> Ellipsoids:
    return packed(2, 150, 56, ROWS, (4, 9))


@pytest.fixture(scope="module")
def scan(sample: Ellipsoids) -> tuple[np.ndarray, References]:
    """Return raw sinograms of all rows, with stripes and bad pixels, flats and darks."""
    detector = Detector(striped=0.08, stripe_sd=0.05, fluctuating=2, flicker=0.3, zingers=1e-4, drift=0.1, seed=3)
    rows = np.arange(float(ROWS)) - (ROWS - 1) / 2
    through = np.exp(-PER_VOXEL * sample.projections(DEGREES, rows, COLUMNS, CENTER, fine=2))
    frames = [detector.references(ROWS, COLUMNS, 20, moment) for moment in (0.0, 1.0)]
    flats, darks = (np.stack([pair[k].mean(axis=0) for pair in frames]).astype(np.float32) for k in (0, 1))
    return detector.exposed(through, 0, MOMENTS), References(flats, darks)


def reconstructed(
    counts: np.ndarray, references: References, centers: Any, between: Any = None, **options: Any
) -> tuple[np.ndarray, Flaws]:
    """Return slices, and what was wrong with their rows."""
    sinograms, flaws = line_integrals(counts, references, MOMENTS, DEGREES, between, **options)
    return gridded(sinograms, DEGREES[within(DEGREES, between)], centers), flaws


@pytest.mark.parametrize("rings", ["column", "vo"])
def test_bits_do_not_depend_on_the_slab(scan, rings):
    counts, references = scan
    centers = CENTER + np.arange(ROWS) / 100  # of an axis that is tilted
    options = {"between": BETWEEN, "rings": rings, "saturation": 65_535}
    whole, flaws = reconstructed(counts, references, centers, **options)
    assert flaws.columns.any(axis=1).all()
    assert len(np.unique(whole[:, 64, 64])) == ROWS
    for size in (1, 7):
        for first in range(0, ROWS, size):
            rows = slice(first, min(first + size, ROWS))
            part, some = reconstructed(counts[rows], references.rows(rows.start, rows.stop), centers[rows], **options)
            np.testing.assert_array_equal(part, whole[rows])
            np.testing.assert_array_equal(some.columns, flaws.columns[rows])
            np.testing.assert_array_equal(some.zingers, flaws.zingers[rows])


def test_slices_are_right_with_all_that_was_wrong(scan, sample):
    """What is left is less than half of what rings would make of it."""
    counts, references = scan
    row = slice(15, 16)
    truth = PER_VOXEL * sample.slices(np.array([15 - (ROWS - 1) / 2]), COLUMNS)[0]
    at = np.arange(COLUMNS) - (COLUMNS - 1) / 2
    field = np.hypot(at[:, None], at) < 58

    def error(**options: Any) -> float:
        image, _ = reconstructed(counts[row], references.rows(15, 16), CENTER, **options)
        return float(np.sqrt(((image[0] - truth)[field] ** 2).mean())) / PER_VOXEL

    assert error(rings="none") > 2 * error(rings="column")
    assert error(rings="column") < 0.07
    assert error(rings="column", between=BETWEEN) < 0.2


def test_angles_that_leave_nothing_are_refused(scan):
    counts, references = scan
    with pytest.raises(ValueError, match=r"0 of 181 projections lie between 200 and 300 degrees.*from 0 to 180"):
        line_integrals(counts, references, MOMENTS, DEGREES, between=(200, 300))
    with pytest.raises(ValueError, match="181 projections, but 180 angles"):
        line_integrals(counts, references, MOMENTS, DEGREES[1:])
    with pytest.raises(ValueError, match="'column', 'vo', 'none' is needed"):
        line_integrals(counts[:1], references.rows(0, 1), MOMENTS, DEGREES, rings="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 of 0 projections lie, two"):
        within([], None)
