"""What blur takes out of the middle of a particle is given back from how its grey runs, in balls of many sizes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from crackdask.analysis.blur_loss import _blur, _gained, found_share
from crackdask.kernels.layer_means import layer_means

BLUR = 0.7


def ball(radius: float, blur: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return voxels and sums of the shells of a ball that cracks darken towards its middle, blurred; and both means."""
    half = int(radius) + 4
    place = np.indices((2 * half + 1,) * 3) - half
    far = np.sqrt((place**2).sum(axis=0))
    grey = 150.0 - 30 * np.maximum(0, 1 - (far / (0.6 * radius)) ** 2)
    grey = ndimage.gaussian_filter(grey, blur) if blur else grey
    shell = np.floor(radius - far)[far < radius].astype(int)
    voxels, sums = np.bincount(shell), np.bincount(shell, grey[far < radius])
    return voxels, sums, layer_means(voxels, sums, [(0, 1 / 8)])[0]


@pytest.mark.parametrize("radius", [5.3, 6.5, 8.0, 12.0])
def test_most_of_what_blur_took_comes_back(radius: float) -> None:
    _, _, before = ball(radius, 0.0)
    voxels, sums, after = ball(radius, BLUR)
    taken = after - before
    assert taken > 0.2, "else nothing is proven"
    gain, error = _gained(voxels, sums, np.array(BLUR))
    assert -gain == pytest.approx(taken, rel=0.3)  # 0.61 to 0.68 of it to the first order
    assert 0 < error < 0.1


@pytest.mark.parametrize("blur", [0.7, 1.0])
@pytest.mark.parametrize("radius", [6.5, 8.0, 12.0])
def test_what_is_found_of_a_change_is_told_about_right(radius: float, blur: float) -> None:
    _, _, before = ball(radius, 0.0)
    voxels, sums, after = ball(radius, blur)
    gain, _ = _gained(voxels, sums, np.array(blur))
    lost, kept = ((150.0 - level) / (150.0 - before) for level in (after, after + gain))
    assert found_share(blur, radius, regained=False) == pytest.approx(float(lost[0]), abs=0.07)
    assert found_share(blur, radius, regained=True) == pytest.approx(float(kept[0]), abs=0.04)
    assert lost < kept < 1.03


def test_grey_that_is_the_same_throughout_gains_nothing() -> None:
    voxels, _, _ = ball(12.0, 0.0)
    gain, _ = _gained(voxels, 150.0 * voxels, np.array(BLUR))
    assert abs(gain) < 0.1
    none, error = _gained(voxels, 150.0 * voxels, np.array(0.0))
    assert none == 0
    assert error == 0


def test_only_states_that_are_alike_are_taken_for_blurred() -> None:
    found = {
        "blurred_by": {"a": 0.7, "b": 0.0, "far": 0.0, "unknown": 0.0},
        "edge_width": {"a": 0.7, "b": 0.99, "far": 3.0, "unknown": None},
    }
    store = xr.DataTree()
    assert not _blur(store, ["a", "b"]).any()
    store.attrs["found"] = found
    assert _blur(store, ["b", "a", "far", "unknown"]).tolist() == [0.7, 0.7, 0.0, 0.0]
