"""Phase retrieval against a direct convolution, and against the contrast of edges that it undoes."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.kernels.phase_retrieval import low_pass, padded_shape, reach, retrieved, strength

WEIGHT = strength(delta_beta=200.0, energy_kev=25.0, distance_mm=20.0, pixel_um=1.0)


def after(transmission: np.ndarray, weight: float = WEIGHT) -> np.ndarray:
    return retrieved(transmission, weight, low_pass(padded_shape(transmission.shape, weight), weight))


def disc(size: int = 160, radius: float = 40.0) -> np.ndarray:
    """Return what a smooth ball lets through, of one material."""
    at = np.arange(size) - (size - 1) / 2
    depth = np.maximum(0, 1 - (at[:, None] ** 2 + at**2) / radius**2) ** 1.5
    return np.exp(-0.8 * depth).astype(np.float32)


def behind(transmission: np.ndarray, weight: float) -> np.ndarray:
    """Return what is seen at a distance: bright and dark lines at edges (transport of intensity)."""
    squares = np.fft.fftfreq(len(transmission)) ** 2
    lines = np.fft.fft2(transmission.astype(float)) * (1 + weight * (squares[:, None] + squares))
    return np.fft.ifft2(lines).real.astype(np.float32)


def test_it_undoes_what_the_distance_did() -> None:
    truth = disc()
    seen = behind(truth, WEIGHT)
    assert np.abs(seen - truth).max() > 0.05
    found = after(seen)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, truth, atol=2e-4)


def test_it_is_a_convolution_of_an_image_that_goes_on_at_its_edges() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0.3, 1.0, (23, 31)).astype(np.float32)
    wide = np.pad(image, 400, mode="edge").astype(float)
    squares = [np.fft.fftfreq(n) ** 2 for n in wide.shape]
    lines = np.fft.fft2(wide) / (1 + WEIGHT * (squares[0][:, None] + squares[1]))
    wanted = np.fft.ifft2(lines).real[400:-400, 400:-400]
    np.testing.assert_allclose(after(image), wanted, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (17, 64)])
def test_a_uniform_projection_stays_and_no_weight_changes_nothing(shape: tuple[int, int]) -> None:
    even = np.full(shape, 0.7, np.float32)
    np.testing.assert_allclose(after(even), even, rtol=2e-6)
    image = np.random.default_rng(1).uniform(0.2, 1, shape).astype(np.float32)
    np.testing.assert_allclose(after(image, 0.0), image, rtol=2e-6)


def test_how_far_it_reaches() -> None:
    """An impulse is spread as a modified Bessel function, which falls by e a length."""
    image = np.zeros((401, 401), np.float32)
    image[200, 200] = 1e4
    found = after(image)[200]
    length = np.sqrt(WEIGHT) / (2 * np.pi)
    assert reach(WEIGHT) == int(np.ceil(12 * length))
    far = int(8 * length)
    assert found[200 + far] < 1e-3 * found[201]
    assert found.min() > -1e-6 * 1e4
