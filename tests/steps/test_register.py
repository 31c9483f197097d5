from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from crackdask.grid import Box
from crackdask.kernels.block_matching import shrink
from crackdask.steps.coarse_registration import Level, coarse
from crackdask.steps.local_motion import Scans
from crackdask.steps.register import register
from crackdask.steps.registration_fit import overlap_fraction, rotation_deg, verify
from crackdask.steps.registration_parameters import RegisterParams, RegistrationError
from crackdask.steps.subblocks import match_bins, read_bins, refine, subblocks
from tests.support.rotated import SHAPE, UNIT, corner_error, truth

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def searching(params: RegisterParams) -> dict[str, Any]:
    return {"search": params.search_voxels, "min_correlation": params.min_correlation}


def pyramid(scan, fill=None, factors=(4, 2)):
    valid = None if fill is None else scan != fill
    return [Level(f, *shrink(scan, valid, (f, f, f))) for f in factors]


def scans(reference, moving, fill=None):
    return Scans(
        lambda box: reference[box.slices], lambda box: moving[box.slices], moving.shape, fill,
        Box.whole(reference.shape),
    )  # fmt: skip


def align(reference, moving, params=None, *, fill=None, factors=(4, 2), **options):
    return register(
        pyramid(reference, fill, factors),
        pyramid(moving, fill, factors),
        scans(reference, moving, fill),
        reference.shape,
        params or RegisterParams(transform="rigid", local=False),
        **options,
    ).fit


@lru_cache(maxsize=4)
def packing(extent, seed):
    """Return centres, radii and greys of spheres that hardly overlap, in and around a field."""
    random = np.random.default_rng(seed)
    volume = np.prod(np.array(extent) * 1.5)
    number = int(volume / 1500)
    centres = (random.random((number, 3)) * 1.5 - 0.25) * extent
    radii, greys = random.uniform(4, 9, number), random.uniform(80, 120, number)
    keep: list[int] = []
    for i in range(number):
        apart = np.sqrt(((centres[keep] - centres[i]) ** 2).sum(axis=1)) if keep else np.array([99.0])
        if (apart > 0.9 * (radii[keep] + radii[i] if keep else 9)).all():
            keep.append(i)
    return centres[keep], radii[keep], greys[keep]


def scan_of(shape, matrix=None, *, field=None, spacing=UNIT, seed=0, noise=5.0, dark=0.0, gain=1.0, offset=0.0):
    """Draw the packing as the matrix moves it: exact at any position, nothing is interpolated."""
    edges = np.array(spacing)
    centres, radii, greys = packing(tuple(np.array(field or shape) * edges), seed)
    matrix = np.eye(4) if matrix is None else matrix
    places = (centres / edges) @ matrix[:3, :3].T + matrix[:3, 3]
    random = np.random.default_rng(99 if dark or gain != 1 else seed)
    cracked = dark * random.random(len(radii)) * (random.random(len(radii)) < 0.7)
    scan = np.zeros(shape)
    for place, radius, grey, loss in zip(places, radii, greys, cracked, strict=True):
        reach = (radius + 3) / edges
        low = np.clip(np.floor(place - reach).astype(int), 0, shape)
        high = np.clip(np.ceil(place + reach).astype(int) + 1, 0, shape)
        if (low >= high).any():
            continue
        axes = [((np.arange(a, b) - p) * e) ** 2 for a, b, p, e in zip(low, high, place, edges, strict=True)]
        depth = np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2])
        drawn = grey / (1 + np.exp((depth - radius) / 0.6))
        drawn -= loss * grey / (1 + np.exp((depth - 0.6 * radius) / 0.6))
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        scan[part] = np.maximum(scan[part], drawn)
    scan += np.random.default_rng([seed, int(abs(matrix[:3, 3]).sum() * 1000)]).normal(0, noise, shape)
    return np.clip(np.rint((scan * gain + offset + 60) * 100), 1, 65535).astype(np.uint16)


def test_snow_comes_back_to_a_hundredth_of_a_voxel():
    if not (DATA / "snow_moved.tif").exists():
        pytest.skip("shared/data with snow.tif and snow_moved.tif is missing")
    snow = tifffile.imread(DATA / "snow.tif")
    moved = tifffile.imread(DATA / "snow_moved.tif")
    # Turned by 5 degrees about z, y towards x, about the middle of the volume, then shifted.
    sine, cosine = np.sin(np.deg2rad(5)), np.cos(np.deg2rad(5))
    expected = np.eye(4)
    expected[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    expected[:3, 3] = 49.5 - expected[:3, :3] @ np.full(3, 49.5) + [0, 3, 2.5]
    found = align(snow, moved, fill=0)
    assert corner_error(found.matrix, expected, snow.shape) < 0.02
    assert rotation_deg(found.matrix) == pytest.approx(5, abs=0.005)
    assert found.residual_voxels < 0.05


CASES: dict[str, dict[str, Any]] = {
    "five degrees, a tenth of the field": {"angles": (5, -1, 2), "shift": (0.1, -0.1, 0.1)},
    "nearly nothing": {"angles": (0.05, 0, 0), "shift": (0.004, -0.003, 0.002), "noise": 20.0},
    "cracked": {"angles": (-2, 3, 1), "shift": (0.05, 0.1, -0.1), "dark": 0.8},
    "other grey levels": {
        "angles": (2, 2, -4),
        "shift": (-0.05, 0.05, 0.1),
        "gain": 0.6,
        "offset": 40.0,
        "dark": 0.5,
        "noise": 15.0,
    },
    "flat voxels": {"angles": (4, 2, -2), "shift": (0.1, 0.04, 0.1), "spacing": (2.0, 1.0, 1.0)},
    "long voxels": {"angles": (-3, 2, 4), "shift": (0.1, 0, -0.1), "spacing": (0.8, 1.0, 1.3)},
}


@pytest.mark.parametrize("case", CASES)
def test_known_moves_come_back_at_every_corner(case):
    options = dict(CASES[case])
    angles, shift = options.pop("angles"), options.pop("shift")
    spacing = options.get("spacing", UNIT)
    shape = (38, 76, 84) if spacing[0] > 1 else SHAPE
    expected = truth(shape, angles, shift, spacing)
    reference = scan_of(shape, spacing=spacing, noise=options.get("noise", 5.0))
    found = align(reference, scan_of(shape, expected, **options), spacing=spacing)
    assert corner_error(found.matrix, expected, shape) < 0.1
    linear = found.matrix[:3, :3] * np.array(spacing)[:, None] / np.array(spacing)
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-9)
    assert 0 < found.residual_voxels < 0.15
    assert found.n_used > 0.8 * found.n_blocks


def test_scans_of_different_shape():
    expected = truth(SHAPE, (2, -3, 1), (0.02, 0.05, 0.05))
    expected[:3, 3] += (3, 6, -4)
    found = align(scan_of(SHAPE), scan_of((70, 84, 76), expected, field=SHAPE))
    assert corner_error(found.matrix, expected, SHAPE) < 0.1


def test_what_is_cut_off_tells_nothing():
    """A holder or streaks around the sample stay where they are while it moves."""
    shape, region = (96, 112, 128), Box((0, 24, 24), (96, 88, 104))
    expected = truth(shape, (0.6, -0.4, 0.3), (0.012, -0.009, 0.011))
    around = np.ones(shape, bool)
    around[region.slices] = False
    static = scan_of(shape, seed=5)
    reference, moving = (np.where(around, static, scan) for scan in (scan_of(shape), scan_of(shape, expected)))
    both = replace(scans(reference, moving), region=region)
    found = register(
        pyramid(reference), pyramid(moving), both, shape, RegisterParams(transform="rigid", local=False)
    ).fit
    assert found.residual_voxels < 0.3
    corners = np.array(np.meshgrid(*zip(region.start, region.stop, strict=True), [1])).reshape(4, -1)
    assert np.sqrt((((found.matrix - expected) @ corners)[:3] ** 2).sum(axis=0)).max() < 0.5


def test_a_crop_that_is_a_small_part_of_the_field_is_found_again():
    """Of a field of which less than `min_overlap` counts no shift can have that much in common."""
    shape, region = (48, 96, 96), Box((0, 24, 24), (48, 72, 72))
    expected = truth(shape, (0.4, -0.3, 0.3), (0.012, -0.02, 0.015))
    reference, moving = pyramid(scan_of(shape), factors=(2,)), pyramid(scan_of(shape, expected), factors=(2,))
    valid = np.zeros(reference[0].grey.shape, bool)
    valid[tuple(slice(a // 2, b // 2) for a, b in zip(region.start, region.stop, strict=True))] = True
    assert valid.mean() == 0.25
    found = coarse([reference[0]._replace(valid=valid)], moving, RegisterParams(transform="rigid", local=False))
    corners = np.array(np.meshgrid(*zip(region.start, region.stop, strict=True), [1])).reshape(4, -1)
    assert np.sqrt((((found - expected) @ corners)[:3] ** 2).sum(axis=0)).max() < 1.0


def test_affine_follows_a_swollen_electrode():
    expected = truth(SHAPE, (1, 2, -1), (0.03, -0.02, 0.04)) @ np.diag([1.02, 0.99, 1.01, 1])
    reference, moving = scan_of(SHAPE), scan_of(SHAPE, expected)
    found = align(reference, moving, RegisterParams(transform="affine"))
    assert corner_error(found.matrix, expected, SHAPE) < 0.1
    stiff = align(reference, moving, RegisterParams(transform="rigid", local=False, accept_failed=True))
    assert stiff.residual_voxels > 3 * found.residual_voxels


def test_invalid_voxels_do_not_pull():
    expected = truth(SHAPE, (3, 0, 2), (0.05, 0.05, 0))
    reference, moving = scan_of(SHAPE), scan_of(SHAPE, expected)
    # A sharp-edged region that was not measured, at the same place of both detectors.
    for scan in (reference, moving):
        scan[:, :14], scan[:8], scan[..., -11:] = 0, 0, 0
    found = align(reference, moving, fill=0)
    assert corner_error(found.matrix, expected, SHAPE) < 0.1
    # NaN may be the fill of float scans, and stand in their pyramids.
    reference, moving = (np.where(scan == 0, np.nan, scan.astype("f4")) for scan in (reference, moving))
    levels = []
    for scan in (reference, moving):
        zeroed = np.nan_to_num(scan)
        made = [shrink(zeroed, ~np.isnan(scan), (f, f, f)) for f in (4, 2)]
        levels.append([Level(f, np.where(v, g, np.float32(np.nan)), v) for f, (g, v) in zip((4, 2), made, strict=True)])
    both, params = scans(reference, moving, float("nan")), RegisterParams(transform="rigid", local=False)
    same = register(levels[0], levels[1], both, SHAPE, params).fit
    np.testing.assert_allclose(same.matrix, found.matrix, atol=1e-3)
    assert corner_error(same.matrix, expected, SHAPE) < 0.1


def test_the_same_bits_every_time_and_on_any_number_of_threads():
    expected = truth(SHAPE, (1, 2, 3), (0.05, -0.05, 0.02))
    reference, moving = scan_of(SHAPE), scan_of(SHAPE, expected, noise=20)
    first = align(reference, moving)
    with ThreadPoolExecutor(3) as pool:
        second = align(reference, moving, apply=pool.map)
    assert first.matrix.tobytes() == second.matrix.tobytes()
    assert first.residual_voxels == second.residual_voxels
    np.testing.assert_array_equal(first.residuals, second.residuals)


def test_a_match_does_not_depend_on_what_the_reader_holds():
    moving, params = scan_of(SHAPE, truth(SHAPE, (0, 0, 1), (0, 0.01, 0))), RegisterParams()
    reference, block = scan_of(SHAPE), subblocks(SHAPE, params.sub_block, params.blocks_per_axis)[13]
    read: list[Box] = []

    def read_moving(box):
        read.append(box)
        return moving[box.slices].copy()

    match = refine(block, reference[block.slices], read_moving, SHAPE, np.eye(4), **searching(params))
    assert match.weight > 0.1
    # One read of little more than the block and the search around it.
    assert len(read) == 1
    assert max(read[0].shape) <= max(block.shape) + 2 * (params.search_voxels + 6)


def test_a_sub_block_that_is_nearly_in_place_need_not_be_searched():
    moving, params = scan_of(SHAPE, truth(SHAPE, (0, 0, 1), (0.01, 0.01, 0))), RegisterParams()
    reference, near = scan_of(SHAPE), truth(SHAPE, (0, 0, 1), (0.01, 0.01, 0.005))
    sizes = []

    def read_moving(box):
        sizes.append(np.prod(box.shape))
        return moving[box.slices]

    for block in subblocks(SHAPE, params.sub_block, params.blocks_per_axis)[4::9]:
        searched, settled = (
            refine(block, reference[block.slices], read_moving, SHAPE, near, **searching(params) | {"search": s})
            for s in (12, 0)
        )
        assert min(searched.weight, settled.weight) > 0.1
        np.testing.assert_allclose(searched.displacement, settled.displacement, atol=0.02)
    assert max(sizes[1::2]) < 0.5 * min(sizes[::2])


def test_bins_are_read_once_and_tell_about_where_a_sub_block_lies():
    expected = truth(SHAPE, (0, 0, 1), (0.05, -0.03, 0.02))
    moving, params, reference = scan_of(SHAPE, expected), RegisterParams(), scan_of(SHAPE)
    moving[:, :, :9] = 0  # not measured
    for block in subblocks(SHAPE, params.sub_block, params.blocks_per_axis)[1::5]:
        binned = read_bins(
            block,
            read_reference=lambda box: reference[box.slices],
            read_moving=lambda box: moving[box.slices],
            moving_shape=SHAPE,
            matrix=np.eye(4),
            search=params.search_voxels,
            fill=0,
        )
        assert binned is not None
        searched = match_bins(binned, np.eye(4), params.search_voxels, params.min_correlation)
        settled = match_bins(binned, expected, 0, params.min_correlation)
        assert min(searched.weight, settled.weight) > 0
        place = expected @ (*settled.point, 1)
        assert np.linalg.norm(np.add(settled.point, searched.displacement) - place[:3]) < 0.3
        assert np.linalg.norm(settled.displacement) < 0.3


def test_unrelated_scans_are_refused():
    reference, other = scan_of(SHAPE), scan_of(SHAPE, seed=5)
    found = align(reference, other, RegisterParams(transform="rigid", local=False, accept_failed=True))
    assert np.isfinite(found.matrix).all()
    overlap = overlap_fraction(found.matrix, SHAPE, SHAPE)
    with pytest.raises(RegistrationError, match=r"(sub-blocks|covers).*accept_failed = true"):
        verify(found, RegisterParams(), overlap)


def test_noise_alone_is_refused():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 1000, (2, 48, 48, 48)).astype(np.uint16)
    with pytest.raises(RegistrationError):
        align(first, second)


@pytest.mark.parametrize("which", ["reference", "moving"])
def test_a_constant_scan_is_refused(which):
    flat, scan = np.full((32, 32, 32), 7, np.uint16), scan_of((32, 32, 32))
    pair = (flat, scan) if which == "reference" else (scan, flat)
    with pytest.raises(RegistrationError, match=f"the {which} scan .* only the value 7"):
        align(*pair)
    with pytest.raises(RegistrationError, match="no valid voxel"):
        align(*pair, fill=7)


def test_transform_none_measures_but_does_not_move():
    params = RegisterParams(transform="none")
    reference = scan_of(SHAPE)
    moving = scan_of(SHAPE, truth(SHAPE, (0, 0, 0), (0, 0, 2 / 84)))
    found = align(reference, moving, params)
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert found.residual_voxels == pytest.approx(2, abs=0.1)


def test_pyramids_must_match():
    scan = scan_of((32, 32, 32))
    with pytest.raises(ValueError, match="same factors"):
        coarse(pyramid(scan), pyramid(scan, factors=(2, 1)), RegisterParams())
