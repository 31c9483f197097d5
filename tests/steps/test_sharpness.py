"""Sharpness: known blur is found whatever the base is, states are matched or left, blocks do not matter."""

from __future__ import annotations

from math import hypot, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.arrays import Array
from crackdask.blocks.in_memory import compute
from crackdask.grid import Triple
from crackdask.steps.sharpness import LIMIT, Edge, edge_of, match, passes

SHAPE = (64, 64, 72)


def particles(
    seed: int = 0, blur: float = 0.8, noise: float = 6.0, rim: float = 0.0, scale: float = 1.0
) -> dict[str, Array]:
    """Return balls far apart: grey levels of a scan that is blurred so, and labels that do not see the blur."""
    rng = np.random.default_rng(seed)
    fine, label = np.zeros(SHAPE), np.zeros(SHAPE, np.uint32)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    centres = [(z, y, x) for z in (15, 47) for y in (15, 47) for x in (17, 53)]
    for number, place in enumerate(centres, 1):
        radius = np.sqrt(((grid - place - rng.uniform(-1, 1, 3)) ** 2).sum(axis=-1))
        size = rng.uniform(8, 10.5)
        fine += np.clip(size + 0.5 - radius, 0, 1)
        label[radius < size] = number
    seen = ndimage.gaussian_filter(fine, blur)
    seen += rim * (seen - ndimage.gaussian_filter(fine, hypot(2, blur)))
    grey = scale * (60 + 90 * seen) + rng.normal(0, noise, SHAPE)
    return {"grey": grey.round().clip(1, 255).astype(np.uint8), "label": label}


def edge(volumes: dict[str, Array], block: Triple | None = None) -> Edge:
    _, tables = compute(passes(), volumes, block=block)
    return Edge(*tables["edge"].tolist())


@pytest.mark.parametrize(("base", "rim", "scale", "noise"), [
    (0.8, 0.0, 1.0, 4.0), (0.8, 0.6, 1.0, 6.0), (1.3, 0.0, 1.3, 2.0), (0.8, 0.0, 0.7, 4.0), (0.6, 0.0, 1.0, 0.0),
])  # fmt: skip
def test_a_known_blur_is_found(base: float, rim: float, scale: float, noise: float) -> None:
    more = 0.7
    sharp = particles(1, base, noise, rim, scale)
    blurred = dict(sharp)
    clean = particles(1, base, 0.0, rim, scale)["grey"].astype(float)
    noisy = ndimage.gaussian_filter(clean, more) + np.random.default_rng(2).normal(0, noise, SHAPE)
    blurred["grey"] = noisy.round().clip(1, 255).astype(np.uint8)
    first, second = edge(sharp), edge(blurred)
    error = 2 * hypot(first.width * first.error, second.width * second.error)
    assert abs(second.width**2 - first.width**2 - more**2) < 0.2 * more**2 + 3 * error
    assert 0 <= first.error < 0.03
    assert error < 0.15


def test_the_error_is_that_of_the_noise() -> None:
    widths = [edge(particles(1) | {"grey": noisy(seed)}) for seed in range(8)]
    scatter = float(np.std([each.width for each in widths]))
    assert scatter == pytest.approx(float(np.mean([each.error for each in widths])), rel=0.7)


def noisy(seed: int) -> Array:
    clean = particles(1, noise=0.0)["grey"]
    return (clean + np.random.default_rng(seed).normal(0, 8, SHAPE)).round().clip(1, 255).astype(np.uint8)


def test_a_dark_phase_has_the_same_width() -> None:
    volumes = particles(3)
    dark = volumes | {"grey": 255 - volumes["grey"]}
    assert edge(dark).width == pytest.approx(edge(volumes).width, rel=0.01)


def test_too_few_surfaces_or_no_contrast_tell_nothing() -> None:
    volumes = particles(3)
    few = volumes | {"label": np.where(volumes["label"] == 1, 1, 0).astype(np.uint32)}
    few["label"][:, :15] = 0
    assert not edge(few).known
    flat = volumes | {"grey": np.full(SHAPE, 90, np.uint8)}
    assert not edge(flat).known
    assert not edge_of(np.zeros((16, 7), np.int64)).known


@settings(max_examples=8, deadline=None)
@given(block=st.tuples(*[st.integers(9, 70)] * 3))
def test_any_blocks_give_the_same_bits(block: Triple) -> None:
    volumes = particles(5)
    _, expected = compute(passes(), volumes)
    _, found = compute(passes(), volumes, block=block)
    assert expected["edge"][0] > 0.5
    for name in ("edge", "noise"):
        assert found[name].tobytes() == expected[name].tobytes()


# ---------------------------------------------------------------- what is done about it

SHARP, BLURRY = Edge(0.7, 0.004), Edge(hypot(0.7, 0.7), 0.004)


def test_sharper_states_are_brought_to_the_blurriest() -> None:
    found = match([SHARP, BLURRY, Edge(hypot(0.7, 0.5), 0.004)], "auto", 2.0)
    assert found.blur == (0.7, 0.0, 0.49)
    assert found.blurrier == (0.0, 0.7, 0.5)
    assert found.met == (False, True, True)


def test_nothing_is_done_within_limit_and_error() -> None:
    within = Edge(hypot(0.7, 0.9 * LIMIT), 0.001)
    for states in ([SHARP, within], [SHARP], [Edge(0.7, 0.2), Edge(BLURRY.width, 0.2)], [Edge(nan, nan)] * 2):
        found = match(states, "auto", 2.0)
        assert set(found.blur) | set(found.blurrier) == {0.0}
        assert not any(found.met)


def test_none_tells_but_does_nothing() -> None:
    found = match([SHARP, BLURRY], "none", 2.0)
    assert (found.blur, found.blurrier, found.met) == ((0.0, 0.0), (0.0, 0.7), (False, False))


def test_a_state_that_is_too_blurry_spoils_no_other() -> None:
    found = match([SHARP, Edge(3.0, 0.01), BLURRY, Edge(nan, nan)], "auto", 2.0)
    assert found.blur == (0.7, 0.0, 0.0, 0.0)
    assert found.met == (False, False, True, False)
    assert found.blurrier[1] > 2.0
    assert not any(isnan(each) for each in (*found.blur, *found.blurrier))
