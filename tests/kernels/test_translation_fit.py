"""The compiled Gauss-Newton loop against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from crackdask.kernels.interpolation import cubic_weights
from crackdask.kernels.translation_fit import ShiftFit, fit_shift

MARGIN = 5


def texture(shape, seed=0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return (100 * ndimage.gaussian_filter(noise, 2.0) + 50).astype(np.float32)


def moved(grey, start, shape):
    """Return a volume from `start` on, by Keys's cubic, tap by tap."""
    whole, out = np.floor(start).astype(int), np.zeros(shape)
    weights = [cubic_weights(f) for f in start - whole]
    for taps in np.ndindex(4, 4, 4):
        part = tuple(slice(w - 1 + t, w - 1 + t + n) for w, t, n in zip(whole, taps, shape, strict=True))
        out += np.prod([w[t] for w, t in zip(weights, taps, strict=True)]) * grey[part]
    return out


def plain(fixed, usable, moving, valid, rounds):
    """Return shift, deviation, correlation, information and middle as `fit_shift` is to find them."""
    shift, gain, offset, scale = np.zeros(3), 1.0, 0.0, 0.0
    wide = tuple(n + 2 for n in fixed.shape)
    for _ in range(rounds):
        other = moved(moving, shift + MARGIN, wide)
        whole = np.floor(shift + MARGIN).astype(int)
        held = np.ones(wide, bool)
        for corner in np.ndindex(2, 2, 2):
            held &= valid[tuple(slice(w + c, w + c + n) for w, c, n in zip(whole, corner, wide, strict=True))]
        mask = usable & ndimage.binary_erosion(held)[1:-1, 1:-1, 1:-1]
        here = other[1:-1, 1:-1, 1:-1]
        slopes = [0.5 * (np.roll(other, -1, a) - np.roll(other, 1, a))[1:-1, 1:-1, 1:-1] for a in range(3)]
        rows = np.stack([*slopes, here, np.ones(here.shape)], axis=-1)[mask]
        rest = (fixed - (gain * here + offset))[mask]
        weight = 1 / (1 + (rest / scale) ** 2) if scale else np.ones(rest.shape)
        normal = rows.T @ (weight[:, None] * rows)
        answer = np.linalg.solve(normal, rows.T @ (weight * fixed[mask]))
        gain, offset = answer[3:]
        step = answer[:3] / gain
        length = np.linalg.norm(step)
        shift = shift + step / max(1.0, length)
        deviation = 1.4826 * np.median(np.abs(fixed[mask] - (gain * here[mask] + offset)))
        scale = 2 * deviation
        if length < 0.01:
            break
    information = np.linalg.inv(np.linalg.inv(normal)[:3, :3]) * gain**2
    correlation = np.corrcoef(fixed[mask], here[mask])[0, 1]
    return ShiftFit(shift, deviation, correlation, information, np.argwhere(mask).mean(axis=0))


@pytest.mark.parametrize(("shape", "holes"), [((12, 13, 14), False), ((9, 14, 11), True)])
def test_each_round_is_that_of_a_plain_loop(shape, holes):
    random = np.random.default_rng(3)
    moving = texture(tuple(n + 2 * MARGIN + 2 for n in shape), 1)
    fixed = (1.3 * moved(moving, np.array([6.4, 5.7, 6.2]), shape) - 20).astype(np.float32)
    fixed += random.normal(0, 2, shape).astype(np.float32)
    fixed[2:4, 3:5, 3:6] -= 80  # a crack
    usable, valid = np.ones(shape, bool), np.ones(moving.shape, bool)
    if holes:
        usable[:, :2], valid[:, :, -8:] = False, False
    for rounds in (1, 2, 10):
        found = fit_shift(fixed, usable, moving, valid, margin=MARGIN, rounds=rounds, settled=0.01, runaway=3.0)
        wanted = plain(fixed, usable, moving, valid, rounds)
        assert found is not None
        np.testing.assert_allclose(found.shift, wanted.shift, atol=2e-3)  # the median is told in bins
        np.testing.assert_allclose(found.deviation, wanted.deviation, rtol=0.03)
        np.testing.assert_allclose(found.correlation, wanted.correlation, atol=1e-3)
        np.testing.assert_allclose(
            found.information, wanted.information, rtol=0.02, atol=0.02 * wanted.information.max()
        )
        np.testing.assert_allclose(found.middle, wanted.middle, atol=1e-9)
    assert found is not None
    np.testing.assert_allclose(found.shift, (0.4, -0.3, 0.2), atol=0.06)


def test_what_cannot_be_told_is_not():
    shape = (10, 10, 10)
    moving, usable = texture((22, 22, 22)), np.ones(shape, bool)
    valid = np.ones(moving.shape, bool)
    how: dict[str, Any] = {"margin": MARGIN, "rounds": 10, "settled": 0.01, "runaway": 3.0}
    flat = np.zeros(shape, np.float32)
    assert fit_shift(flat, usable, np.zeros_like(moving), valid, **how) is None
    assert fit_shift(moving[6:16, 6:16, 6:16].copy(), usable, moving, np.zeros_like(valid), **how) is None
    few = np.zeros(shape, bool)
    few[:4, :4, :4] = True
    assert fit_shift(moving[6:16, 6:16, 6:16].copy(), few, moving, valid, **how) is None
    assert fit_shift(moving[6:16, 6:16, 6:16].copy(), usable, moving, valid, **how) is not None
