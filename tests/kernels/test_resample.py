from __future__ import annotations

from itertools import product
from math import floor

import dask.array as da
import numpy as np
import pytest
from dask_image import ndinterp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from crackdask.grid import Box, Grid
from crackdask.kernels.resample import resample_grey, resample_values, source_box
from crackdask.kernels.source_positions import STRAIGHT, padded

DTYPES = ["uint8", "uint16", "uint32", "int16", "float32", "float64"]


def moved(shape, angles, shift):
    """Return a rotation about the centre of a volume, then a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    centre = (np.array(shape) - 1) / 2
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + shift
    return matrix


def scan_of(shape, dtype="uint16", seed=0):
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=shape), 1.0)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return (smooth * 180 + 20).astype(dtype)


def whole_block(scan, matrix, box, **options):
    return resample_grey(scan, Box.whole(scan.shape), matrix, box, scan.shape, **options)


def keys(distance):
    distance = abs(distance)
    if distance < 1:
        return 1.5 * distance**3 - 2.5 * distance**2 + 1
    if distance < 2:
        return -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return 0.0


def plain(scan, matrix, box, *, fill=None, cubic=True):
    """Interpolate voxel by voxel, as the docstring says; nan where invalid."""
    out = np.full(box.shape, np.nan)
    last = np.array(scan.shape) - 1
    for index in np.ndindex(box.shape):
        c = (matrix @ [*(np.array(index) + box.start), 1.0])[:3]
        if (c < -1e-6).any() or (c > last + 1e-6).any():
            continue
        c = np.clip(c, 0, last)
        base = np.floor(c).astype(int)

        def taps(offsets, kernel, c=c, base=base):
            for step in product(offsets, repeat=3):
                at = tuple(np.clip(base + step, 0, last))
                yield scan[at], np.prod([kernel(d) for d in base + step - c])

        linear = list(taps((0, 1), lambda d: max(0.0, 1 - abs(d))))
        if fill is not None and any(v == fill and w > 1e-6 for v, w in linear):
            continue
        wide = list(taps((-1, 0, 1, 2), keys))
        use = linear if not cubic or any(v == fill for v, _ in wide) else wide
        out[index] = sum(float(v) * w for v, w in use if w > 0 or use is wide)
    return out


def window_level(value, lo, hi):
    return 1 + min(max(floor((value - lo) * (254.0 / (hi - lo)) + 0.5), 0), 254)


@pytest.mark.parametrize("cubic", [True, False])
@pytest.mark.parametrize("fill", [None, 60])
def test_values_are_those_of_a_plain_loop(cubic, fill):
    scan = scan_of((9, 10, 11))
    scan[4:6, 3, 2:5] = 60
    matrix = moved(scan.shape, (5, -4, 3), (0.7, -1.2, 0.4))
    box = Box((-2, 0, 1), (8, 9, 12))
    expected = plain(scan, matrix, box, fill=fill, cubic=cubic)
    values, valid = resample_values(
        scan, Box.whole(scan.shape), matrix, box, scan.shape, fill=fill, interpolation="cubic" if cubic else "linear"
    )
    assert 0 < valid.sum() < valid.size
    np.testing.assert_array_equal(valid, ~np.isnan(expected))
    np.testing.assert_allclose(values[valid], expected[valid], rtol=1e-6)


def test_grey_is_the_window_of_the_values():
    scan = scan_of((9, 10, 11))
    matrix, box = moved(scan.shape, (5, -4, 3), (0.7, -1.2, 0.4)), Box.whole((9, 10, 11))
    expected = plain(scan, matrix, box)
    core, tally = whole_block(scan, matrix, box, lo=60, hi=150, gain=1.1, offset=-3)
    mapped = 1.1 * expected - 3
    valid = ~np.isnan(expected)
    assert tally == {
        "valid": valid.sum(),
        "clipped_low": (mapped[valid] < 60).sum(),
        "clipped_high": (mapped[valid] > 150).sum(),
    }
    assert tally["clipped_low"] > 0 < tally["clipped_high"]
    levels = [window_level(v, 60, 150) for v in mapped[valid]]
    assert core.dtype == np.uint8
    # A value on the edge of two levels may fall either way of the loop's own rounding.
    assert np.abs(core[valid].astype(int) - levels).max() <= 1
    assert (core[valid] == levels).mean() > 0.99
    assert (core[~valid] == 0).all()


@settings(max_examples=25, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-6, 6)] * 3),
    shift=st.tuples(*[st.floats(-5, 5)] * 3),
    block=st.tuples(*[st.integers(3, 15)] * 3),
    start=st.tuples(*[st.integers(-4, 4)] * 3),
    extra=st.integers(0, 3),
    fill=st.sampled_from([None, 90]),
    interpolation=st.sampled_from(["cubic", "linear"]),
    dtype=st.sampled_from(["uint16", "float32"]),
)
def test_blocks_do_not_show(angles, shift, block, start, extra, fill, interpolation, dtype):
    scan = np.rint(scan_of((18, 21, 24))).astype(dtype)
    matrix = moved(scan.shape, angles, shift)
    shape = (17, 20, 22)
    place = lambda b: Box(  # noqa: E731
        tuple(np.add(b.start, start).tolist()), tuple(np.add(b.stop, start).tolist())
    )
    options = {"lo": 30.0, "hi": 170.0, "fill": fill, "interpolation": interpolation}
    whole, total = whole_block(scan, matrix, place(Box.whole(shape)), **options)
    assert len(np.unique(whole)) > 20
    grid = Grid(shape, block)
    assert len(grid) > 1
    joined = np.full(shape, 77, np.uint8)
    sums = dict.fromkeys(total, 0)
    for box in grid:
        needed = source_box(matrix, place(box), scan.shape, interpolation)
        if needed is None:
            joined[box.slices] = 0
            continue
        window_box = needed.grow(extra, within=scan.shape)
        core, tally = resample_grey(scan[window_box.slices], window_box, matrix, place(box), scan.shape, **options)
        joined[box.slices] = core
        sums = {name: sums[name] + tally[name] for name in sums}
    np.testing.assert_array_equal(joined, whole)
    assert sums == total


@pytest.mark.parametrize("fill", [None, 60])
@pytest.mark.parametrize("nodes", [0, 6])
def test_runs_of_voxels_give_the_bits_of_single_ones(fill, nodes):
    """Boxes of 5 voxels along x hold no run that is worth vectors; those of rows of 90 do, from border to border."""
    scan = scan_of((20, 24, 90))
    scan[8:12, 10:14, 30:50] = 60
    matrix, box = moved(scan.shape, (1.0, 0.7, -0.5), (0.3, -0.2, 0.4)), Box((-1, -1, -1), (21, 25, 91))
    displaced = np.random.default_rng(1).normal(0, 0.1, (nodes, nodes, nodes, 3))
    lattice = padded(displaced, (0.0, 0.0, 0.0), (5.0, 6.0, 20.0), box) if nodes else STRAIGHT
    whole, tally = whole_block(scan, matrix, box, lo=30, hi=180, fill=fill, lattice=lattice)
    parts = [Box((-1, -1, x), (21, 25, min(x + 5, 91))) for x in range(-1, 91, 5)]
    cut = [whole_block(scan, matrix, part, lo=30, hi=180, fill=fill, lattice=lattice) for part in parts]
    np.testing.assert_array_equal(whole, np.concatenate([core for core, _ in cut], axis=2))
    assert tally == {name: sum(each[name] for _, each in cut) for name in tally}


@pytest.mark.parametrize("interpolation", ["cubic", "linear"])
def test_positions_a_hair_outside_have_the_support_of_the_border(interpolation):
    """They count as inside, and what was read beside the window may be anything, NaN too."""
    border = {start: source_box(np.eye(4), Box(start, (start[0] + 1, 9, 9)), (9, 9, 9), interpolation)
              for start in ((0, 0, 0), (8, 0, 0))}  # fmt: skip
    for start, by in (((0, 0, 0), -1e-9), ((8, 0, 0), 1e-9)):
        matrix = np.eye(4)
        matrix[0, 3] = by
        assert source_box(matrix, Box(start, (start[0] + 1, 9, 9)), (9, 9, 9), interpolation) == border[start]


@pytest.mark.parametrize("interpolation", ["cubic", "linear"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_identity_and_whole_shifts_return_the_scan(dtype, interpolation):
    scan = np.random.default_rng(1).integers(1, 120, (6, 7, 8)).astype(dtype)
    if dtype == "float64":
        scan += 0.1
    whole = Box.whole(scan.shape)
    options = {"lo": 0.0, "hi": 130.0, "interpolation": interpolation}
    expected = np.vectorize(lambda v: window_level(float(v), 0.0, 130.0))(scan)
    core, tally = whole_block(scan, np.eye(4), whole, **options)
    np.testing.assert_array_equal(core, expected)
    assert tally == {"valid": scan.size, "clipped_low": 0, "clipped_high": 0}
    shift = np.eye(4)
    shift[:3, 3] = (2, -3, 1)
    core, tally = whole_block(scan, shift, whole, **options)
    np.testing.assert_array_equal(core[:4, 3:, :7], expected[2:, :4, 1:])
    assert tally["valid"] == core[:4, 3:, :7].size
    assert np.count_nonzero(core) == tally["valid"]


@pytest.mark.parametrize("fill", [None, 50])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_way_for_whole_shifts_gives_the_bits_of_the_general_one(dtype, fill):
    scan = scan_of((6, 7, 8), dtype)
    scan[2:4, 3, 1:5] = 50
    shift = np.eye(4)
    shift[:3, 3] = (1, -2, 0)
    almost = shift.copy()
    almost[:3, :3] += 1e-300  # too small to matter, enough to leave the fast way
    box = Box((-1, 0, 0), (6, 9, 8))
    fast, fast_tally = whole_block(scan, shift, box, lo=30, hi=170, fill=fill)
    slow, slow_tally = whole_block(scan, almost, box, lo=30, hi=170, fill=fill)
    np.testing.assert_array_equal(fast, slow)
    assert fast_tally == slow_tally
    values, valid = resample_values(scan, Box.whole(scan.shape), almost, box, scan.shape)
    # Stored (z, y, x) is source (z + 1, y - 2, x); the box starts at z = -1.
    assert valid.sum() == scan.size
    np.testing.assert_array_equal(values[:6, 2:9], scan.astype(np.float32))


def test_border_voxels_survive_a_hair_outside():
    scan = scan_of((5, 5, 5))
    for hair in (-5e-7, 5e-7):
        matrix = np.eye(4)
        matrix[:3, 3] = hair
        core, tally = whole_block(scan, matrix, Box.whole(scan.shape), lo=0, hi=255)
        assert tally["valid"] == scan.size
        assert core.min() > 0
    matrix[:3, 3] = (2e-6, 0, 0)
    core, _ = whole_block(scan, matrix, Box.whole(scan.shape), lo=0, hi=255)
    assert (core[-1] == 0).all()
    assert (core[:-1] > 0).all()


def test_fill_spoils_its_linear_neighbours_only():
    scan = np.full((9, 9, 9), 100, np.uint16)
    scan[4, 4, 4] = 0
    matrix = np.eye(4)
    matrix[2, 3] = 0.5
    core, _ = whole_block(scan, matrix, Box.whole((9, 9, 8)), lo=0, hi=200, fill=0)
    invalid = np.argwhere(core == 0).tolist()
    assert invalid == [[4, 4, 3], [4, 4, 4]]
    # Nor does it ring: cubic would give 106 two voxels away.
    assert set(np.unique(core)) == {0, 128}
    # An enormous fill of negligible weight leaves no trace.
    scan = scan.astype(np.float32)
    scan[4, 4, 4] = 3e38
    matrix[2, 3] = 1e-9
    core, tally = whole_block(scan, matrix, Box.whole((9, 9, 8)), lo=0, hi=200, fill=3e38)
    assert set(np.unique(core)) == {0, 128}
    assert tally["clipped_high"] == 0


@pytest.mark.parametrize("fill", [-1.0, 0.5, 1e6, float("nan")])
def test_a_fill_that_the_type_cannot_hold_matches_nothing(fill):
    scan = np.array([[[255, 64, 192]]], np.uint8)
    core, tally = whole_block(scan, np.eye(4), Box.whole(scan.shape), lo=0, hi=254, fill=fill)
    assert core.tolist() == [[[255, 65, 193]]]
    assert tally["valid"] == 3


def test_nan_may_be_the_fill():
    scan = scan_of((9, 9, 9), "float32")
    scan[3:5, 4, 2:6] = 60
    missing = np.where(scan == 60, np.float32(np.nan), scan)
    for matrix in (np.eye(4), moved(scan.shape, (3, 2, 1), (0.5, 0, 0))):
        expected, tally = whole_block(scan, matrix, Box.whole(scan.shape), lo=0, hi=255, fill=60)
        found, same = whole_block(missing, matrix, Box.whole(scan.shape), lo=0, hi=255, fill=float("nan"))
        np.testing.assert_array_equal(found, expected)
        assert same == tally
        assert tally["valid"] < scan.size - 7


def test_window_edges():
    scan = np.array([[[9.99, 10, 10.0001, 10.4999 / 254 + 10, 137.0, 263.4, 263.6, 264, 264.1]]])
    core, tally = whole_block(scan, np.eye(4), Box.whole(scan.shape), lo=10, hi=264)
    assert core.tolist() == [[[1, 1, 1, 1, 128, 254, 255, 255, 255]]]
    assert tally == {"valid": 9, "clipped_low": 1, "clipped_high": 1}
    huge = np.array([[[-3e38, 3e38]]], np.float32)
    core, tally = whole_block(huge, np.eye(4), Box.whole(huge.shape), lo=0, hi=1e-3)
    assert core.tolist() == [[[1, 255]]]
    assert (tally["clipped_low"], tally["clipped_high"]) == (1, 1)


def test_linear_agrees_with_scipy_and_dask_image():
    scan = scan_of((20, 22, 24), "float64")
    matrix = moved(scan.shape, (4, -3, 5), (1.3, -0.6, 2.1))
    whole = Box.whole(scan.shape)
    values, valid = resample_values(scan, whole, matrix, whole, scan.shape, interpolation="linear")
    assert 0.5 < valid.mean() < 1
    peer = ndimage.affine_transform(scan, matrix, order=1)
    np.testing.assert_allclose(values[valid], peer[valid], rtol=1e-6)
    lazy = ndinterp.affine_transform(da.from_array(scan, chunks=11), matrix, order=1)
    np.testing.assert_allclose(values[valid], lazy.compute()[valid], rtol=1e-6)


def test_cubic_is_closer_than_linear_to_a_smooth_truth():
    z, y, x = np.indices((24, 24, 24))
    wave = lambda z, y, x: np.sin(0.5 * z) + np.cos(0.4 * y) * np.sin(0.6 * x)  # noqa: E731
    scan = wave(z, y, x)
    matrix = moved(scan.shape, (4, -3, 5), (0.3, -0.6, 0.1))
    box = Box((4, 4, 4), (20, 20, 20))
    places = np.stack([z, y, x, np.ones_like(z)], -1)[box.slices] @ matrix.T
    truth = wave(*np.moveaxis(places[..., :3], -1, 0))
    error = {
        kind: np.abs(
            resample_values(scan, Box.whole(scan.shape), matrix, box, scan.shape, interpolation=kind)[0] - truth
        ).max()
        for kind in ("cubic", "linear")
    }
    assert error["cubic"] < 0.02
    assert error["cubic"] < error["linear"] / 4


def test_a_block_outside_needs_nothing():
    scan = scan_of((5, 5, 5))
    box = Box((5, 0, 0), (9, 5, 5))
    assert source_box(np.eye(4), box, scan.shape, "cubic") is None
    core, tally = whole_block(scan, np.eye(4), box, lo=0, hi=255)
    assert not core.any()
    assert tally == {"valid": 0, "clipped_low": 0, "clipped_high": 0}


def test_views_and_foreign_byte_order_read_the_same():
    scan = scan_of((8, 9, 10))
    matrix, whole = moved(scan.shape, (3, 2, 1), (0.5, 0, 0)), Box.whole(scan.shape)
    expected, _ = whole_block(scan, matrix, whole, lo=0, hi=255)
    for other in (np.asfortranarray(scan), scan.astype(">u2"), np.repeat(scan, 2, axis=0)[::2]):
        core, _ = whole_block(other, matrix, whole, lo=0, hi=255)
        np.testing.assert_array_equal(core, expected)
    frozen = scan.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(whole_block(frozen, matrix, whole, lo=0, hi=255)[0], expected)


def test_bad_arguments_are_named():
    scan, whole = scan_of((4, 4, 4)), Box.whole((4, 4, 4))
    with pytest.raises(ValueError, match=r"lo < hi, got \[5, 5\]"):
        whole_block(scan, np.eye(4), whole, lo=5, hi=5)
    with pytest.raises(ValueError, match="4 x 4"):
        whole_block(scan, np.eye(3), whole, lo=0, hi=5)
    with pytest.raises(ValueError, match="0 0 0 1"):
        whole_block(scan, np.ones((4, 4)), whole, lo=0, hi=5)
