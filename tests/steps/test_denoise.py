"""Noise and its removal by each filter: a known noise is found, the image edge is reflected, and no block shows."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask_image import ndfilters
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from crackdask.blocks.dask_graph import lazy
from crackdask.blocks.in_memory import compute
from crackdask.grid import Box
from crackdask.kernels.gaussian import gaussian
from crackdask.kernels.median_filter import median
from crackdask.kernels.nlm import nlm
from crackdask.lazy import denoise
from crackdask.phantom import Phantom, states
from crackdask.schema import SPATIAL
from crackdask.steps.denoise import DenoiseParams, passes
from crackdask.steps.noise import noise_passes

#: Patches and search distances; each pair is compiled for itself, for seconds.
SIZES = [(1, 1), (3, 1), (3, 2), (5, 3)]
SMALL = DenoiseParams(patch_size=3, patch_distance=2)


def grey(shape, seed=0, sd=8.0, outside=True):
    """Two phases with noise, and a corner outside the scan."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 3.0, mode="wrap")
    levels = np.where(smooth > 0, 170.0, 80.0) + rng.normal(scale=sd, size=shape)
    voxels = np.clip(np.rint(levels), 1, 255).astype(np.uint8)
    if outside:
        voxels[: (shape[0] + 1) // 3, : (shape[1] + 1) // 3] = 0
    return voxels


def noise_of(voxels, block=None):
    return float(compute(noise_passes(), {"grey": voxels}, block=block)[1]["noise"])


def found(voxels, params=SMALL, noise=8.0, block=None):
    volumes, tables = compute(passes(params), {"grey": voxels}, {"noise": np.array(noise)}, block)
    denoised = volumes["denoised"]
    assert denoised.dtype == np.uint8
    np.testing.assert_array_equal(tables["denoised_histogram"], np.bincount(denoised.ravel(), minlength=256))
    return denoised


# ---------------------------------------------------------------- the noise


@pytest.mark.parametrize("sd", [1.5, 4.0, 9.0, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_noise_of_a_flat_field_is_found(sd, seed):
    voxels = np.rint(np.random.default_rng(seed).normal(128, sd, (64, 64, 64))).clip(1, 255).astype(np.uint8)
    assert noise_of(voxels) == pytest.approx((sd * sd + 1 / 12) ** 0.5, rel=0.03)  # rounding is noise too


@pytest.mark.parametrize("sd", [6.0, 10.0])
def test_noise_among_particles_is_found(sd):
    phantom = Phantom(shape=(64, 64, 64), states=states(1), seed=3, noise_sd=sd)
    voxels = phantom.scan(0, Box.whole(phantom.shape))
    assert voxels.dtype == np.uint8
    assert voxels.std() > 2 * sd
    assert noise_of(voxels) == pytest.approx(sd, rel=0.2)


def test_a_gradient_is_no_noise():
    ramp = np.broadcast_to(np.arange(20, 220, 2, dtype=np.uint8), (30, 30, 100))
    assert noise_of(ramp) < 0.2
    noisy = ramp + np.random.default_rng(1).normal(0, 4, ramp.shape)
    assert noise_of(np.rint(noisy).astype(np.uint8)) == pytest.approx(4, rel=0.03)


def test_voxels_outside_the_scan_do_not_count():
    voxels = np.rint(np.random.default_rng(2).normal(128, 6, (40, 40, 40))).astype(np.uint8)
    wanted = noise_of(voxels[:, 20:, 20:])
    voxels[:, :20] = 0
    voxels[:, :, :20] = 0
    assert noise_of(voxels) == wanted
    assert noise_of(np.zeros((5, 5, 5), np.uint8)) == 0.0
    assert noise_of(np.full((5, 5, 5), 9, np.uint8)) == 0.0
    assert noise_of(np.full((5, 5, 1), 9, np.uint8)) == 0.0


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    block=st.tuples(*[st.integers(1, 13)] * 3),
)
def test_noise_does_not_depend_on_the_blocks(seed, shape, block):
    block = tuple(max(b, n // 5) for b, n in zip(block, shape, strict=True))
    voxels = grey(shape, seed)
    assert noise_of(voxels, block) == noise_of(voxels)


# ---------------------------------------------------------------- the filter


@pytest.mark.parametrize("block", [None, (6, 5, 7)])
@pytest.mark.parametrize(("patch", "distance"), SIZES)
def test_the_image_edge_is_reflected(patch, distance, block):
    voxels = grey((14, 15, 16), 1, outside=False)
    params = DenoiseParams(patch_size=patch, patch_distance=distance, h=12.0)
    wide = np.pad(voxels, params.halo, mode="reflect")
    wanted = nlm(wide, patch_size=patch, patch_distance=distance, h=12.0, sigma=8.0)
    assert wanted.shape == voxels.shape
    assert (wanted != voxels).mean() > 0.3
    np.testing.assert_array_equal(found(voxels, params, block=block), wanted)


def test_h_and_sigma_may_be_given():
    voxels = grey((10, 11, 12), 2, outside=False)
    own = DenoiseParams(patch_size=3, patch_distance=2, sigma=8.0, h=6.4)
    np.testing.assert_array_equal(found(voxels, own, noise=99.0), found(voxels))
    assert (found(voxels, own.model_copy(update={"h": 20.0})) != found(voxels)).any()
    assert (found(voxels, own.model_copy(update={"sigma": 2.0})) != found(voxels)).any()


def test_the_inside_and_the_outside_of_the_scan_stay_what_they_are():
    voxels = grey((12, 12, 12), 3, sd=2.0)
    voxels[6:, 6:, 6:] = 1  # the darkest that is inside
    voxels[8, 8, 8] = 0
    denoised = found(voxels, noise=30.0)
    np.testing.assert_array_equal(denoised == 0, voxels == 0)
    lone = np.zeros((12, 12, 12), np.uint8)  # the mean around these rounds to 0
    lone[::3, ::4, ::3] = 1
    np.testing.assert_array_equal(found(lone, noise=30.0), lone)


def test_noise_is_removed_and_edges_are_kept():
    truth = np.full((24, 24, 24), 80.0)
    truth[:, :, 12:] = 170
    noisy = np.rint(truth + np.random.default_rng(4).normal(0, 8, truth.shape)).astype(np.uint8)
    denoised = found(noisy, DenoiseParams(), noise=noise_of(noisy))
    before, after = np.std(noisy - truth), np.std(denoised - truth)
    assert after < 0.35 * before
    assert np.abs(denoised[:, :, 11:13].mean((0, 1)) - [80, 170]).max() < 3


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    block=st.tuples(*[st.integers(1, 16)] * 3),
    sizes=st.sampled_from(SIZES),
)
def test_no_block_shows(seed, shape, block, sizes):
    patch, distance = sizes
    block = tuple(max(b, n // 4) for b, n in zip(block, shape, strict=True))
    voxels = grey(shape, seed)
    params = DenoiseParams(patch_size=patch, patch_distance=distance, h=20.0)
    wanted = found(voxels, params)
    if voxels.size > 200:
        assert (wanted != voxels).any()
    np.testing.assert_array_equal(found(voxels, params, block=block), wanted)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 4), (4, 1, 6), (3, 4, 5)])
def test_blocks_of_one_voxel_and_thin_volumes(shape):
    voxels = grey(shape, 5, outside=False)
    wanted = found(voxels)
    assert wanted.shape == shape
    np.testing.assert_array_equal(found(voxels, block=(1, 1, 1)), wanted)


def test_method_none_is_no_filter():
    voxels = grey((9, 9, 9), 6)
    params = DenoiseParams(method="none")
    assert params.halo == 0
    np.testing.assert_array_equal(found(voxels, params, block=(4, 4, 4)), voxels)


def test_nothing_is_smoothed_where_there_is_no_noise():
    voxels = grey((9, 9, 9), 7)
    np.testing.assert_array_equal(found(voxels, noise=0.0), voxels)


# ---------------------------------------------------------------- median and Gaussian

OTHERS = [
    DenoiseParams(method="median"),
    DenoiseParams(method="median", median_size=5),
    DenoiseParams(method="gaussian", gaussian_sigma=0.6),
    DenoiseParams(method="gaussian"),
]


@pytest.mark.parametrize("block", [None, (6, 5, 7)])
@pytest.mark.parametrize("params", OTHERS)
def test_other_filters_reflect_the_image_edge(params, block):
    voxels = grey((14, 15, 16), 11)
    assert (voxels == 0).any()
    wide = np.pad(voxels, params.halo, mode="reflect")
    plain = {
        "median": lambda: median(wide, params.median_size, 0),
        "gaussian": lambda: gaussian(wide, params.gaussian_sigma, 0),
    }
    wanted = plain[params.method]()
    assert wanted.shape == voxels.shape
    assert (wanted != voxels).mean() > 0.3
    np.testing.assert_array_equal(found(voxels, params, block=block), wanted)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    block=st.tuples(*[st.integers(1, 16)] * 3),
    params=st.sampled_from(OTHERS),
)
def test_no_block_shows_with_other_filters(seed, shape, block, params):
    block = tuple(max(b, n // 4) for b, n in zip(block, shape, strict=True))
    voxels = grey(shape, seed)
    wanted = found(voxels, params)
    np.testing.assert_array_equal(wanted == 0, voxels == 0)
    if np.count_nonzero(voxels) > 200:
        assert (wanted != voxels).any()
    np.testing.assert_array_equal(found(voxels, params, block=block), wanted)


@pytest.mark.parametrize("params", OTHERS)
def test_what_is_outside_the_scan_does_not_leak_in(params):
    voxels = np.full((9, 10, 11), 150, np.uint8)
    voxels[:, 4] = voxels[2, 7, 7] = voxels[:, :, 9:] = 0
    np.testing.assert_array_equal(found(voxels, params, block=(4, 4, 4)), voxels)


@pytest.mark.parametrize("params", OTHERS)
def test_other_filters_need_no_noise(params):
    voxels = grey((9, 10, 11), 12)
    volumes, tables = compute(passes(params), {"grey": voxels})
    assert set(tables) == {"denoised_histogram"}
    np.testing.assert_array_equal(volumes["denoised"], found(voxels, params, noise=99.0))
    lazily = denoise(xr.DataArray(voxels, dims=SPATIAL).chunk(z=4, x=5), **params.deciding())
    assert not any(layer.startswith("noise") for layer in lazily.data.dask.layers)
    np.testing.assert_array_equal(lazily, volumes["denoised"])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([3, 5]), chunks=st.tuples(*[st.integers(4, 14)] * 3))
def test_the_median_is_that_of_dask_image_where_all_is_scanned(seed, size, chunks):
    voxels = grey((12, 13, 14), seed, outside=False)
    wanted = ndfilters.median_filter(da.from_array(voxels, chunks), size, mode="mirror")
    params = DenoiseParams(method="median", median_size=size)
    assert (found(voxels, params) != voxels).mean() > 0.3
    np.testing.assert_array_equal(found(voxels, params, block=(5, 6, 14)), wanted)


def test_fingerprints_of_old_recipes_are_what_they_were():
    old = {"method": "nlm", "patch_size": 3, "patch_distance": 5, "h": "auto", "sigma": "auto"}
    assert DenoiseParams().deciding() == old
    assert DenoiseParams(median_size=5, gaussian_sigma=2.0).deciding() == old
    assert DenoiseParams(method="none").deciding() == old | {"method": "none"}
    assert DenoiseParams(method="median", h=3.0).deciding() == {"method": "median", "median_size": 3}
    assert DenoiseParams(method="gaussian").deciding() == {"method": "gaussian", "gaussian_sigma": 1.0}


# ---------------------------------------------------------------- lazily, over states


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("chunks", [(14, 15, 16), (5, 15, 6), (7, 4, 9)])
def test_lazy_equals_compute(chunks, scheduler):
    voxels = grey((14, 15, 16), 8)
    steps = (*noise_passes(), *passes(SMALL))
    wanted = compute(steps, {"grey": voxels})
    volumes, tables = dask.compute(*lazy(steps, {"grey": da.from_array(voxels, chunks)}), scheduler=scheduler)
    np.testing.assert_array_equal(volumes["denoised"], wanted[0]["denoised"])
    assert tables["noise"] == wanted[1]["noise"] > 4
    array = xr.DataArray(da.from_array(voxels, chunks), dims=SPATIAL)
    function = denoise(array, patch_size=3, patch_distance=2)
    np.testing.assert_array_equal(function.compute(scheduler=scheduler), wanted[0]["denoised"])


def test_one_noise_for_all_states():
    first, second = grey((10, 10, 10), 9, sd=4.0), grey((10, 10, 10), 10, sd=12.0)
    both = xr.DataArray(np.stack([first, second]), dims=("state", *SPATIAL), coords={"state": ["a", "b"]}).chunk(y=4)
    small = {"patch_size": 3, "patch_distance": 2}

    def wanted(noise):
        return np.stack([found(first, noise=noise), found(second, noise=noise)])

    np.testing.assert_array_equal(denoise(both, **small), wanted(noise_of(first)))
    np.testing.assert_array_equal(denoise(both, reference="b", **small), wanted(noise_of(second)))
    np.testing.assert_array_equal(denoise(both, noise=7.5, **small), wanted(7.5))
    assert (wanted(noise_of(first)) != wanted(noise_of(second))).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"patch_size": 4},
        {"patch_size": 11},
        {"patch_distance": 0},
        {"h": 0.0},
        {"sigma": 256.0},
        {"method": "mean"},
        {"median_size": 4},
        {"median_size": 1},
        {"median_size": 17},
        {"gaussian_sigma": 0.0},
        {"gaussian_sigma": 9.0},
        {"gaussian_sigma": float("nan")},
    ],
)
def test_impossible_parameters(wrong):
    with pytest.raises(ValidationError):
        DenoiseParams(**wrong)
