"""Where two pictures correlate best, by shifts and rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from crackdask.kernels.initial_transforms import promising_starts
from crackdask.kernels.itk_registration import Picture


@pytest.mark.parametrize("edge", [30, 12])
def test_a_small_part_of_the_field_is_found_again(edge: int) -> None:
    """Of a crop the overlap counts, not of the field: an electrode may be a tenth of what the detector sees."""
    drawn = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(12, 40, 40)), 2)
    valid = np.zeros((12, 30, 30), bool)
    middle = slice(15 - edge // 2, 15 + edge // 2)
    valid[:, middle, middle] = True
    fixed, moving = drawn[:, 4:34, 5:35], drawn[:, 6:36, 2:32]
    still = {"spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0)}
    pictures = Picture(fixed, valid=valid, **still), Picture(moving, valid=None, **still)
    (score, matrix), *_ = promising_starts(*pictures, max_shift=0.2, max_rotation_deg=0.0, min_overlap=0.4)
    assert score > 0.99
    np.testing.assert_allclose(matrix[:3, 3], [0, -2, 3])
