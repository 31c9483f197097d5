"""The ramp filter: its response, its padding, and the shift to the axis of rotation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from crackdask.kernels.ramp_filter import filtering, pad, padded_length, response


@pytest.mark.parametrize("columns", [1, 7, 64, 511, 2560])
def test_padding_is_even_and_twice_as_wide(columns):
    length = padded_length(columns)
    assert length % 2 == 0
    assert 2 * columns <= length <= 2.3 * max(columns, 8)


def test_response_is_a_ramp_that_keeps_the_mean():
    found = response(1000, "ramp")
    np.testing.assert_allclose(found, np.arange(501) / 1000, atol=5e-4)
    assert 0 < found[0] < 5e-4  # what the ramp takes from the mean of a padded row, it does not take twice
    assert response(1000, "hann")[250] == pytest.approx(found[250] / 2)


def test_edges_go_on_and_meet_in_the_middle_of_the_padding():
    rows = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    padded = np.full((2, 16, 4), -1, np.float32)
    pad(rows, 1, padded)
    assert padded[0, :, 0].tolist() == [6, 7, 8, 9, 10, 11, *[11] * 5, *[6] * 5]
    assert padded[1, :6, 0].tolist() == [12, 13, 14, 15, 16, 17]
    assert (padded[:, :, 1:] == -1).all()


def test_a_row_is_moved_to_its_axis():
    row = np.exp(-(((np.arange(64) - 20.25) / 3) ** 2))
    factors = filtering(64, "ramp", np.array([20.25, 0.0]))
    moved = scipy.fft.irfft(scipy.fft.rfft(row) * factors[:, 0], n=64)
    there = scipy.fft.irfft(scipy.fft.rfft(np.exp(-((scipy.fft.fftfreq(64, 1 / 64) / 3) ** 2))) * factors[:, 1], n=64)
    np.testing.assert_allclose(moved, there, atol=1e-6)
    assert np.argmax(moved) == 0
