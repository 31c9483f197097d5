"""One grey scale for all states: window, peaks, clipped voxels, and no block that shows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from crackdask.blocks.in_memory import compute, run_in_memory
from crackdask.blocks.passes import reach
from crackdask.grid import Box, Grid
from crackdask.kernels.grey_drift import onto
from crackdask.kernels.source_positions import padded
from crackdask.steps.grey import GreyParams, Resampling, auto_window, passes, peaks
from crackdask.steps.histograms import extremes, histogram, two_passes

EYE = tuple(map(tuple, np.eye(4).tolist()))
TURNED = (  # some 2 degrees about z and y, and a shift
    (0.9994, 0.0061, -0.0347, 1.25),
    (-0.0052, 0.9997, 0.0251, -0.5),
    (0.0348, -0.0249, 0.9991, 2.75),
    (0.0, 0.0, 0.0, 1.0),
)


def scan(dtype="uint16", shape=(24, 26, 28), seed=0, low=20_000.0, high=33_000.0, sd=1200.0):
    """Two phases with noise, in raw values."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 3, mode="wrap")
    levels = np.where(smooth > 0.3 * smooth.std(), high, low) + rng.normal(scale=sd, size=shape)
    return levels.astype(dtype) if np.dtype(dtype).kind == "f" else np.rint(levels).astype(dtype)


def counted(voxels):
    return histogram(voxels, extremes(voxels).bins() if two_passes(voxels.dtype) else None)


def peaks_of(voxels):
    found = counted(voxels)
    return peaks(found.centres, found.counts)


def found(voxels, resampling=None, params=None, block=None, shape=None):
    """Return grey and (valid, clipped below, clipped above) as a run makes them."""
    grid = Grid(shape or voxels.shape, block or shape or voxels.shape)
    resampling = resampling or Resampling(EYE, voxels.shape, 15_000.0, 38_000.0)
    (step,) = passes(params or GreyParams(), resampling)
    grey = np.zeros(grid.shape, np.uint8)
    tallies = []
    for number, box in enumerate(grid):
        one = _OneBlock(grid, number, voxels[reach(step.reads["raw"], box, grid.shape).slices])
        result = step.kernel(one)
        grey[box.slices] = result.volumes["grey"]
        tallies.append(result.tally)
    assert step.reduce is not None
    return grey, step.reduce(grid, tallies, {})["grey_voxels"].tolist()


class _OneBlock:
    """A block of a store whose scan has another shape."""

    def __init__(self, grid, number, window):
        self.grid, self.number, self.window = grid, number, window

    def read(self, volume, halo=0):
        return self.window

    def read_box(self, volume, box):
        raise AssertionError(f"{box} of {volume} is not read")

    def table(self, name):
        raise KeyError(name)


# ---------------------------------------------------------------- window


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32"])
def test_the_automatic_window_holds_nearly_all_voxels(dtype):
    voxels = scan(dtype) if dtype != "int16" else scan(dtype, low=-9000.0, high=4000.0)
    counts = counted(voxels)
    ends = counts.percentile(0.1), counts.percentile(99.9)
    low, high = auto_window(*ends)
    assert ends == pytest.approx(np.percentile(voxels, [0.1, 99.9]), abs=3)
    assert high - low == pytest.approx(1.1 * (ends[1] - ends[0]))
    assert (low + high) / 2 == pytest.approx(sum(ends) / 2)
    _, (valid, below, above) = found(voxels, Resampling(EYE, voxels.shape, low, high))
    assert valid == voxels.size
    assert (below, above) == (np.count_nonzero(voxels < low), np.count_nonzero(voxels > high))
    assert below + above < 0.002 * valid


@pytest.mark.parametrize(
    "wrong", [{"window": [2.0, 2.0]}, {"window": [3.0, 1.0]}, {"window": "all"}, {"normalise": "mean"}, {"gain": 1.0}]
)
def test_impossible_parameters(wrong):
    with pytest.raises(ValidationError):
        GreyParams(**wrong)


def test_a_window_may_be_given():
    assert GreyParams.model_validate({"window": [1.0, 2.5]}).window == (1.0, 2.5)
    assert GreyParams().window == "auto"


# ---------------------------------------------------------------- peaks


@pytest.mark.parametrize(
    ("dtype", "low", "high", "sd"),
    [
        ("uint8", 60.0, 150.0, 8.0),
        ("uint16", 20_000.0, 33_000.0, 1200.0),
        ("uint16", 1000.0, 1090.0, 8.0),  # a corner of 65536 bins
        ("int16", -9000.0, 4000.0, 900.0),
        ("uint32", 2e6, 3.5e6, 1.5e5),
        ("float32", -0.004, 0.011, 0.001),
        ("float64", 1e6, 1.5e6, 4e4),
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_peaks_of_two_phases(dtype, low, high, sd, share):
    rng = np.random.default_rng(1)
    levels = np.where(rng.random((40, 50, 60)) < share, high, low) + rng.normal(scale=sd, size=(40, 50, 60))
    voxels = levels.astype(dtype) if np.dtype(dtype).kind == "f" else np.rint(levels).astype(dtype)
    voxels[0, 0, :9] = voxels.max()  # a few hot voxels
    assert peaks_of(voxels) == pytest.approx((low, high), abs=0.02 * (high - low))


def test_peaks_have_no_bias_from_a_tail_of_mixed_voxels():
    rng = np.random.default_rng(2)
    mixed = rng.uniform(60, 150, 30_000)
    voxels = np.concatenate([rng.normal(60, 6, 40_000), rng.normal(150, 6, 40_000), mixed])
    counts = histogram(np.rint(voxels).clip(0, 255).astype(np.uint8).reshape(10, 11, -1))
    assert peaks(counts.centres, counts.counts) == pytest.approx((60, 150), abs=1.5)


def test_peaks_of_a_few_voxels():
    few = histogram(np.array([[[3000] * 8 + [3010] * 8]], np.uint16))
    assert peaks(few.centres, few.counts) == pytest.approx((3000, 3010), abs=0.5)


def test_a_single_value_has_no_peaks():
    flat = histogram(np.full((5, 5, 5), 7, np.uint8))
    with pytest.raises(ValueError, match="single value"):
        peaks(flat.centres, flat.counts)


@settings(max_examples=30)
@given(
    own=st.tuples(st.floats(-100, 0), st.floats(1, 100)),
    reference=st.tuples(st.floats(-100, 0), st.floats(1, 100)),
)
def test_peaks_land_on_the_peaks_of_the_reference(own, reference):
    gain, offset = onto(own, reference)
    assert [gain * peak + offset for peak in own] == pytest.approx(reference, abs=1e-6)
    assert onto(reference, reference) == pytest.approx((1, 0), abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize(("gain", "offset"), [(0.8, 3000.0), (1.3, -4000.0), (1.0, 512.0)])
def test_normalising_undoes_a_gain_and_an_offset(dtype, gain, offset):
    reference = scan("float64", shape=(48, 48, 48), seed=3)
    state = scan("float64", shape=(48, 48, 48), seed=4)  # other noise, other particles
    darker = gain * state + offset
    reference, state, darker = (np.rint(v).astype(dtype) for v in (reference, state, darker))
    low, high = auto_window(*(counted(reference).percentile(q) for q in (0.1, 99.9)))
    back = onto(peaks_of(darker), peaks_of(reference))
    none = onto(peaks_of(state), peaks_of(reference))
    level = (high - low) / 254
    for peak in (20_000.0, 33_000.0):
        assert abs(back[0] * (gain * peak + offset) + back[1] - (none[0] * peak + none[1])) < 0.5 * level
    wanted, _ = found(state, Resampling(EYE, state.shape, low, high, *none))
    got, _ = found(darker, Resampling(EYE, state.shape, low, high, *back))
    assert np.abs(got.astype(int) - wanted).max() <= 1
    assert abs(got.mean() - wanted.mean()) < 0.5
    untouched, _ = found(darker, Resampling(EYE, state.shape, low, high))
    assert abs(untouched.mean() - wanted.mean()) > 2


# ---------------------------------------------------------------- clipped and invalid voxels


def test_voxels_are_mapped_clipped_and_counted():
    voxels = np.array([[[99, 100, 101, 150, 200, 201, 0, 77]]], np.uint16)
    resampling = Resampling(EYE, voxels.shape, 100.0, 200.0, fill=77.0)
    grey, counts = found(voxels, resampling)
    assert grey.tolist() == [[[1, 1, 4, 128, 255, 255, 1, 0]]]
    assert counts == [7, 2, 1]
    grey, counts = found(voxels, Resampling(EYE, voxels.shape, 100.0, 200.0, gain=2.0, offset=-100.0))
    assert grey.tolist() == [[[1, 1, 6, 255, 255, 255, 1, 1]]]
    assert counts == [8, 3, 2]


@pytest.mark.parametrize("fill", [None, 0.0, float("nan")])
def test_what_is_outside_the_scan_is_zero_and_does_not_count(fill):
    voxels = scan("float32")
    if fill is not None:
        voxels[:, :, :6] = fill
    shape = (26, 26, 26)
    grey, (valid, below, above) = found(voxels, Resampling(TURNED, voxels.shape, 15e3, 38e3, fill=fill), shape=shape)
    z, y, x = np.indices(shape)
    inside = np.ones(shape, bool)
    for (a, b, c, d), size in zip(TURNED[:3], voxels.shape, strict=True):
        place = a * z + b * y + c * x + d
        inside &= (place >= 0) & (place <= size - 1)
    if fill is not None:
        a, b, c, d = TURNED[2]
        inside &= a * z + b * y + c * x + d >= 6
    assert 0 < np.count_nonzero(~inside) < inside.size
    np.testing.assert_array_equal(grey > 0, inside)
    assert valid == inside.sum()
    assert below + above < 0.02 * valid


# ---------------------------------------------------------------- any blocks


@settings(max_examples=30, deadline=None)
@given(
    block=st.tuples(*[st.integers(1, 26)] * 3),
    interpolation=st.sampled_from(["cubic", "linear"]),
    matrix=st.sampled_from([EYE, TURNED, ((1.0, 0, 0, 3.0), (0, 1.0, 0, -2.0), (0, 0, 1.0, 40.0), (0, 0, 0, 1.0))]),
    fill=st.sampled_from([None, 21_000.0]),
    gain=st.sampled_from([(1.0, 0.0), (1.1, -2000.0)]),
)
def test_grey_does_not_depend_on_the_blocks(block, interpolation, matrix, fill, gain):
    shape = (20, 22, 25)
    block = tuple(max(b, n // 4) for b, n in zip(block, shape, strict=True))
    voxels = scan(seed=5)
    resampling = Resampling(matrix, voxels.shape, 19e3, 35e3, gain[0], gain[1], fill=fill)
    params = GreyParams(interpolation=interpolation)
    wanted = found(voxels, resampling, params, shape=shape)
    grey, counts = found(voxels, resampling, params, block, shape)
    np.testing.assert_array_equal(grey, wanted[0])
    assert counts == wanted[1]
    assert counts[0] == np.count_nonzero(grey)
    if matrix[2][3] < 40:
        assert grey.std() > 10
        assert min(counts) > 0
    else:
        assert not grey.any()  # all of it lies beside the scan


@pytest.mark.parametrize("block", [None, (7, 9, 5)])
def test_the_blocks_in_memory_read_the_same_windows(block):
    voxels = scan(seed=6)
    resampling = Resampling(TURNED, voxels.shape, 15e3, 38e3)
    volumes, tables = compute(passes(GreyParams(), resampling), {"raw": voxels}, block=block)
    grey, counts = found(voxels, resampling)
    np.testing.assert_array_equal(volumes["grey"], grey)
    assert tables["grey_voxels"].tolist() == counts


def test_a_block_beside_the_scan_reads_nothing():
    (step,) = passes(GreyParams(), Resampling(((1, 0, 0, 99.0), *EYE[1:]), (24, 26, 28), 0.0, 1.0))
    assert reach(step.reads["raw"], Box((0, 0, 0), (4, 4, 4)), (24, 26, 28)).size == 0


@pytest.mark.parametrize("solid", [139.0, 147.3, 150.0, 153.6])
def test_peaks_of_whole_numbers_are_not_drawn_to_a_comb(solid: float) -> None:
    levels = np.arange(256)
    bump = [np.exp(-(((levels - centre) / 8.0) ** 2) / 2) for centre in (60.0, solid)]
    counts = np.rint(1e6 * (bump[0] + bump[1])).astype(np.int64)
    background, found = peaks(levels.astype(float), counts)
    assert abs(background - 60.0) < 0.5
    assert abs(found - solid) < 0.5


def test_flattening_that_is_not_asked_for_leaves_old_results_valid() -> None:
    assert GreyParams().deciding() == GreyParams(flatten=False).deciding()
    assert "flatten" not in GreyParams().deciding()
    assert GreyParams(flatten=True).deciding() == {**GreyParams().deciding(), "flatten": True}


def test_a_task_takes_only_the_part_of_a_lattice_that_its_block_needs():
    voxels, grid = np.random.default_rng(0).integers(15_000, 38_000, (40, 48, 56)).astype(np.uint16), (16, 16, 24)
    values = np.random.default_rng(1).uniform(-2, 2, (10, 12, 14, 3))
    bent = padded(values, (1.5, 2.5, 0.5), (4.0, 4.0, 4.0), Box.whole(voxels.shape))
    resampling = Resampling(EYE, voxels.shape, 15_000.0, 38_000.0, lattice=bent)
    (step,) = passes(GreyParams(), resampling)
    wanted = run_in_memory(step.kernel, Grid(voxels.shape, voxels.shape), 0, {"raw": (step.reads["raw"], voxels)}, {})
    for number, box in enumerate(Grid(voxels.shape, grid)):
        task = step.task(box)
        assert len(pickle.dumps(task)) < len(pickle.dumps(step)) / 3
        windows = {"raw": (task.reads["raw"], voxels[reach(task.reads["raw"], box, voxels.shape).slices])}
        found = run_in_memory(task.kernel, Grid(voxels.shape, grid), number, windows, {})
        np.testing.assert_array_equal(found.volumes["grey"], wanted.volumes["grey"][box.slices])
