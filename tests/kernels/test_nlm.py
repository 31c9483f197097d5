"""Non-local means against its definition, and against itself cut up."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crackdask.kernels.nlm import TILE, margin, nlm
from crackdask.kernels.nlm_weights import Weighting


def scan(shape, seed=0, spread=12.0):
    """Return a noisy step along x with a slope along y."""
    rng = np.random.default_rng(seed)
    clean = 80 + np.arange(shape[1])[:, None] + 60 * (np.arange(shape[2]) >= shape[2] // 2)
    return np.rint(clean + rng.normal(0, spread, shape)).clip(0, 255).astype(np.uint8)


def defined(padded, patch_size, patch_distance, h, sigma):
    """Evaluate the docstring's formula, voxel by voxel in Python's own integers."""
    law = Weighting.of(patch_size, patch_distance, h, sigma)
    r, m = patch_size // 2, margin(patch_size, patch_distance)
    grey = padded.astype(np.int64)
    out = np.empty([size - 2 * m for size in grey.shape], np.uint8)

    def patch(z, y, x):
        return grey[z - r : z + r + 1, y - r : y + r + 1, x - r : x + r + 1]

    for core in np.ndindex(*out.shape):
        p = tuple(c + m for c in core)
        total = norm = 0
        for shift in np.ndindex(*(2 * patch_distance + 1,) * 3):
            q = tuple(c + s + r for c, s in zip(core, shift, strict=True))
            squares = np.minimum((patch(*p) - patch(*q)) ** 2 + 2**law.coarse // 2, 65535)
            near = max(law.cut - max(min(int((squares >> law.coarse).sum()), 65535), law.floor), 0)
            root = ((near << law.fine) * law.scale) >> 16
            weight = (((root * root) >> 16) ** 2) >> 16
            total += weight * int(grey[q])
            norm += weight
        out[core] = (2 * total + norm) // (2 * norm)
    return out


CASES = [
    # core, patch_size, patch_distance, h, sigma; each pair of sizes is compiled for itself, for seconds
    ((1, 1, 1), 3, 5, 10.0, 12.0),
    ((3, 4, 5), 1, 1, 20.0, 0.0),
    ((1, 2, 7), 3, 2, 12.0, 12.0),
    ((2, 3, 3), 3, 3, 30.0, 0.0),
    ((5, 1, 2), 5, 3, 9.0, 12.0),
    ((2, 2, 2), 7, 1, 255.0, 255.0),  # squares in coarse units
    ((2, 2, 2), 3, 1, 0.01, 0.0),  # nothing is alike
    # with its margin as wide as one vector, and a little less
    *(((2, 2, n), 3, 1, 20.0, 0.0) for n in (27, 28)),
    *(((2, 2, n), 7, 1, 30.0, 5.0) for n in (21, 22, 24)),
]


@pytest.mark.parametrize(("core", "patch_size", "patch_distance", "h", "sigma"), CASES)
def test_is_its_definition(core, patch_size, patch_distance, h, sigma):
    m = margin(patch_size, patch_distance)
    padded = scan([size + 2 * m for size in core])
    found = nlm(padded, patch_size=patch_size, patch_distance=patch_distance, h=h, sigma=sigma)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, defined(padded, patch_size, patch_distance, h, sigma))


@given(values=st.sampled_from([(0, 255), (0, 1), (254, 255), (0, 30)]), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_is_its_definition_on_pure_noise(values, seed):
    low, high = values
    padded = np.random.default_rng(seed).integers(low, high, (7, 8, 9), np.uint8, endpoint=True)
    found = nlm(padded, patch_size=3, patch_distance=2, h=60.0)
    np.testing.assert_array_equal(found, defined(padded, 3, 2, 60.0, 0.0))


@pytest.fixture(scope="module")
def whole():
    """Return a padded scan that takes several tiles along each axis, and its result."""
    m = margin(3, 2)
    padded = scan([tile + 9 + 2 * m for tile in TILE])
    result = nlm(padded, patch_size=3, patch_distance=2, h=10.0, sigma=12.0)
    assert (result != padded[m:-m, m:-m, m:-m]).mean() > 0.5
    assert result.std() > 20
    return padded, result


@given(draw=st.data())
@settings(max_examples=25, deadline=None)
def test_the_cut_into_blocks_leaves_no_trace(whole, draw):
    padded, result = whole
    m = margin(3, 2)
    start = [draw.draw(st.integers(0, size - 1)) for size in result.shape]
    stop = [draw.draw(st.integers(a + 1, b)) for a, b in zip(start, result.shape, strict=True)]
    assume(start != [0, 0, 0])
    block = padded[tuple(slice(a, b + 2 * m) for a, b in zip(start, stop, strict=True))]
    expected = result[tuple(map(slice, start, stop))]
    found = nlm(block, patch_size=3, patch_distance=2, h=10.0, sigma=12.0)
    np.testing.assert_array_equal(found, expected)


def test_any_memory_layout():
    padded = scan((8, 9, 20))
    expected = nlm(padded, patch_distance=2, h=12.0)
    locked = padded.copy()
    locked.flags.writeable = False
    doubled = np.repeat(padded, 2, axis=2)
    for same in (np.asfortranarray(padded), doubled[:, :, ::2], locked):
        np.testing.assert_array_equal(nlm(same, patch_distance=2, h=12.0), expected)
    assert not np.array_equal(expected, padded[3:-3, 3:-3, 3:-3])


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("sigma", [0.0, 12.0])
def test_constant_stays(value, sigma):
    padded = np.full((8, 8, 8), value, np.uint8)
    assert (nlm(padded, patch_distance=2, h=5.0, sigma=sigma) == value).all()


def test_mirrored_input_gives_the_mirrored_result():
    padded = scan((10, 11, 12))
    expected = nlm(padded, patch_distance=2, h=12.0)
    for axis in range(3):
        found = nlm(np.flip(padded, axis), patch_distance=2, h=12.0)
        np.testing.assert_array_equal(np.flip(found, axis), expected)


def test_far_reach_does_not_overflow():
    padded = np.full((19, 20, 23), 255, np.uint8)
    padded[9, 10, 11] = 254
    found = nlm(padded, patch_size=1, patch_distance=9, h=200.0)
    assert (found == 255).all()


def test_noise_goes_and_the_step_stays():
    m = margin(3, 3)
    shape = (20, 20, 20)
    clean = np.full(shape, 80.0)
    clean[:, :, 10:] = 160
    noisy = (clean + np.random.default_rng(3).normal(0, 10, shape)).clip(0, 255).astype(np.uint8)
    found = nlm(np.pad(noisy, m, mode="reflect"), patch_distance=3, h=9.0, sigma=10.0)
    flat = (slice(None), slice(None), slice(0, 8))
    assert found[flat].std() < noisy[flat].std() / 4
    assert abs(float(found[:, :, :10].mean()) - 80) < 2
    assert abs(float(found[:, :, 10:].mean()) - 160) < 2


#: Compiles the kernel without running it, and prints the widest registers that each of its inner loops fills.
COMPILE = """
import numpy as np
from numba import typeof
from crackdask.kernels import nlm

kernel, asked = nlm._block.made(), []
nlm._block = lambda *args: asked.append(tuple(map(typeof, args)))
nlm.nlm(np.zeros((13, 13, 13), np.uint8), h=10.0)
kernel.compile(asked[0])
for each in (nlm._shifts, nlm._tile):
    asm = "".join(each.inspect_asm().values())
    print(next(name for name in ("zmm", "ymm", "xmm", "none") if name == "none" or f"%{name}" in asm))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs the code of an x86")
@pytest.mark.parametrize(
    ("processor", "wide"), [("sapphirerapids", "zmm"), ("skylake-avx512", "zmm"), ("znver5", "zmm"), ("haswell", "ymm")]
)
def test_vectors_are_as_wide_as_the_processor_has_them(processor: str, wide: str, tmp_path: Path) -> None:
    """LLVM by itself takes half the width on Intel's with AVX-512."""
    vectors = "+avx,+avx2" if wide == "ymm" else "+avx,+avx2,+avx512f,+avx512bw,+avx512dq,+avx512vl"
    named = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": vectors, "NUMBA_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", COMPILE], env=os.environ | named, check=True, capture_output=True, text=True
    )
    assert found.stdout.split() == [wide] * 2


GOOD = np.zeros((13, 13, 13), np.uint8)


@pytest.mark.parametrize(
    ("padded", "wrong", "message"),
    [
        (GOOD, {"patch_size": 4}, "patch_size must be odd.*got 4"),
        (GOOD, {"patch_size": 0}, "patch_size must be odd.*got 0"),
        (GOOD, {"patch_size": -3}, "patch_size must be odd.*got -3"),
        (GOOD, {"patch_distance": 0}, "patch_distance must be 1 to 19 voxels: got 0"),
        (GOOD, {"patch_distance": 20}, "patch_distance must be 1 to 19 voxels: got 20"),
        (GOOD, {"h": 0.0}, "h must be above 0.*got 0.0"),
        (GOOD, {"h": float("nan")}, "h must be above 0.*got nan"),
        (GOOD, {"h": 256.0}, "h must be above 0 and at most 255"),
        (GOOD, {"sigma": -1.0}, "sigma must be 0 to 255 grey values: got -1.0"),
        (GOOD, {"sigma": float("inf")}, "sigma must be 0 to 255"),
        (GOOD.astype(np.uint16), {}, "padded must be uint8: got uint16"),
        (GOOD[:12], {}, r"at least 13 voxels.*a margin of 6.*\(12, 13, 13\)"),
        (GOOD[0], {}, r"padded must be \(z, y, x\).*\(13, 13\)"),
        (
            np.zeros((61, 61, 61), np.uint8),
            {"patch_size": 51, "h": 255.0, "sigma": 255.0},
            "patch_size=51.*take a smaller patch",
        ),
    ],
)
def test_says_what_is_wrong(padded, wrong, message):
    with pytest.raises(ValueError, match=message):
        nlm(padded, **{"h": 10.0, **wrong})
