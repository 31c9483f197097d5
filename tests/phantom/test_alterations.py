"""Altered phantoms: blocks that fit whatever is altered, alterations as large as asked for, truth that is true."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crackdask.grid import Box, Grid
from crackdask.phantom import Alterations, Phantom, hard, states, write
from crackdask.phantom.alterations import NEUTRAL

SHAPE = (44, 52, 60)
WHOLE = Box.whole(SHAPE)
PLAIN = Phantom(shape=SHAPE, states=states(3), seed=7, max_rotation_deg=2.0, vanishing=0, leaving=0)
#: Each alteration alone, in the last state.
ALONE = {
    "binder": Alterations(binder_level=0.4),
    "drift": Alterations(gain=(1.0, 1.0, 1.03), offset=(0.0, 0.0, 0.02)),
    "cupping": Alterations(cupping=(0.0, 0.0, 0.05)),
    "rings": Alterations(rings=0.04),
    "blur": Alterations(blur=(0.0, 0.0, 0.7)),
    "noise": Alterations(noise=(1.0, 1.0, 2.0)),
    "local_motion": Alterations(local_motion=(0.0, 0.0, 4.0)),
    "slip": Alterations(slip=(0.0, 0.0, 2.0)),
    "jitter": Alterations(jitter=(0.0, 0.0, 0.5)),
    "swelling": Alterations(swelling=(1.0, 1.0, 1.015)),
}
TOGETHER = hard(SHAPE, states(3))
#: Large enough that many particles lie inside as a whole.
WIDE = (72, 80, 88)
ALL_OF_IT = Box.whole(WIDE)
EVERY = {**{name: replace(PLAIN, alterations=altered) for name, altered in ALONE.items()}, "hard": TOGETHER}


@pytest.fixture(scope="module")
def plain():
    """Make the scans of the unaltered phantom."""
    return [PLAIN.scan(s, WHOLE) for s in range(3)]


@pytest.mark.parametrize("name", EVERY)
def test_blocks_fit_whatever_is_altered(plain, name):
    phantom = EVERY[name]
    grey, label = phantom.scan(2, WHOLE), phantom.labels(WHOLE, 2)
    assert (grey != plain[2]).mean() > 0.02, "the alteration must show"
    for block in ((17, 52, 31), (44, 13, 60)):
        for box in Grid(SHAPE, block):
            np.testing.assert_array_equal(phantom.scan(2, box), grey[box.slices])
            np.testing.assert_array_equal(phantom.labels(box, 2), label[box.slices])


@settings(max_examples=30, deadline=None)
@given(starts=st.tuples(*[st.integers(0, n - 1) for n in SHAPE]), edges=st.tuples(*3 * [st.integers(1, 40)]))
def test_any_box_equals_that_part_of_the_whole(hard_scan, starts, edges):
    stops = tuple(min(a + n, most) for a, n, most in zip(starts, edges, SHAPE, strict=True))
    box = Box(starts, stops)
    np.testing.assert_array_equal(TOGETHER.scan(2, box), hard_scan[box.slices])


@pytest.fixture(scope="module")
def hard_scan():
    """Make the last scan of the hard phantom in one piece."""
    return TOGETHER.scan(2, WHOLE)


def test_neutral_numbers_alter_nothing(plain):
    neutral: dict[str, Any] = {name: (value,) * 3 for name, value in NEUTRAL.items()}
    same = replace(PLAIN, alterations=Alterations(binder_shell=5.0, slip_point=(1.0, 2.0, 3.0), **neutral))
    for state in range(3):
        np.testing.assert_array_equal(same.scan(state, WHOLE), plain[state])
    assert same.truth().equals(PLAIN.truth())
    assert not PLAIN.truth()["displacement"].values.any()


@pytest.mark.parametrize("name", ["drift", "cupping", "blur", "noise", "local_motion", "slip", "jitter", "swelling"])
def test_other_states_are_as_without(name):
    phantom = EVERY[name]
    without = replace(phantom, alterations=Alterations())
    if name in ("local_motion", "slip", "jitter", "swelling"):
        # More particles are packed round a field that moves, so the phantom without is another: the same,
        # whose motion is bounded alike, is made to deform by next to nothing.
        little: dict[str, Any] = {name: (NEUTRAL[name], NEUTRAL[name] + 1e-9, getattr(phantom.alterations, name)[2])}
        without = replace(phantom, alterations=replace(phantom.alterations, **little))
    for state in (0, 1):
        np.testing.assert_array_equal(phantom.clean(state, WHOLE), without.clean(state, WHOLE))


# ---------------------------------------------------------------- what the scanner does


def greys(name: str, state: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return a clean scan without and with an alteration, in fractions of a grey level."""
    fine = [replace(phantom, dtype="uint16") for phantom in (PLAIN, EVERY[name])]
    plain, altered = ((one.clean(state, WHOLE).astype(float) - 3000) / 200 for one in fine)
    return plain, altered


def from_axis() -> np.ndarray:
    y, x = (np.arange(n) - (n - 1) / 2 for n in SHAPE[1:])
    return np.broadcast_to(np.hypot(y[:, None], x[None]), SHAPE)


def test_drift_multiplies_noise_too():
    without, drifted = greys("drift")
    np.testing.assert_allclose(drifted, 1.03 * without + 0.02 * 90, atol=0.01)
    noisy = [replace(one, dtype="uint16").scan(2, WHOLE).astype(float) for one in (PLAIN, EVERY["drift"])]
    np.testing.assert_allclose(noisy[1] - 3000, 1.03 * (noisy[0] - 3000) + 200 * 0.02 * 90, atol=1.1)


def test_cupping_is_a_parabola_about_z():
    without, cupped = greys("cupping")
    share = (from_axis() / math.hypot(51 / 2, 59 / 2)) ** 2
    np.testing.assert_allclose(cupped / without, 1 - 0.05 * (1 - share), atol=1e-3)


def test_rings_are_the_scanners():
    first, last = (np.subtract(*greys("rings", state)[::-1]) for state in (0, 2))
    np.testing.assert_allclose(first, last, atol=0.011)
    np.testing.assert_allclose(last, np.broadcast_to(last[0], SHAPE), rtol=0, atol=0.011)
    assert 0.5 * 0.04 * 90 < np.abs(last).max() <= 0.04 * 90 + 0.01
    order = np.argsort(from_axis()[0], axis=None)
    step, change = np.diff(from_axis()[0].ravel()[order]), np.diff(last[0].ravel()[order])
    assert (np.abs(change) <= 2 * 0.04 * 90 * step + 0.011).all(), "a level for each radius"
    assert last[0].std() > 0.5


def test_blur_is_one_more_gaussian():
    phantom = replace(PLAIN, streak=0.0, dtype="uint16")
    without = phantom.clean(2, WHOLE).astype(float)
    blurred = replace(phantom, alterations=ALONE["blur"]).clean(2, WHOLE).astype(float)
    expected = ndimage.gaussian_filter(without, 0.7, radius=3)
    inside = (slice(4, -4),) * 3
    assert np.abs(without - expected)[inside].std() > 200
    assert np.abs(blurred - expected)[inside].max() < 2, "whole numbers, rounded twice"


def test_noise_is_larger():
    phantom = EVERY["noise"]
    spread = [(phantom.scan(s, WHOLE).astype(float) - phantom.clean(s, WHOLE)).std() for s in (1, 2)]
    np.testing.assert_allclose(spread, [6.0, 12.0], rtol=0.02)


def test_third_phase_lies_round_particles_and_in_no_crack():
    flat = replace(PLAIN, blur_sd=0.0, rim=0.0, streak=0.0, dtype="uint16", max_shift=0.0, max_rotation_deg=0.0)
    with_binder = replace(flat, alterations=Alterations(binder_level=0.4, binder_shell=3.0))
    without, bound = ((one.clean(2, WHOLE).astype(float) - 3000) / 200 for one in (flat, with_binder))
    label = flat.labels(WHOLE, 2)
    np.testing.assert_array_equal(label, with_binder.labels(WHOLE, 2))
    height = ndimage.distance_transform_edt(label == 0)
    # Near a face, particles beyond it have shells that the labels cannot tell of.
    clear = ndimage.distance_transform_edt(np.pad(np.ones(np.subtract(SHAPE, 2), bool), 1)) > 6
    shell, far = clear & (height > 1.5) & (height < 2.2), clear & (height > 5)
    assert shell.sum() > 500
    assert (np.abs(bound[shell] - (60 + 0.4 * 90)) < 0.01).mean() > 0.95
    assert np.abs(bound[shell] - (60 + 0.4 * 90)).max() < 12
    assert far.sum() > 50
    np.testing.assert_allclose(bound[far], 60, atol=0.01)
    table, index = with_binder.particles(), np.indices(SHAPE).reshape(3, -1).T
    cracks = 0
    for i in np.unique(label[label > 0]) - 1:
        mine = np.flatnonzero(label.ravel() == i + 1)
        # Nothing moves, so the particles lie as in the reference.
        core = mine[np.linalg.norm((index[mine] - table.centres[i]) @ table.frames[i].T, axis=1) < 0.59]
        np.testing.assert_array_equal(bound.ravel()[core], without.ravel()[core])
        cracks += (without.ravel()[core] < 140).sum()
    assert cracks > 100


# ---------------------------------------------------------------- what the sample does


MOVING = ["local_motion", "slip", "jitter", "swelling", "hard"]


@pytest.mark.parametrize("name", MOVING)
def test_particles_lie_where_the_truth_says(name):
    phantom = replace(EVERY[name], shape=WIDE)
    truth = phantom.truth()
    ids = truth["particle"].values[truth["in_field"].values[2]]
    centre = np.stack([truth[f"centre_{a}"].values for a in "zyx"], axis=1)[ids - 1]
    reference = np.array(ndimage.center_of_mass(np.ones(WIDE), phantom.labels(ALL_OF_IT), ids))
    label = phantom.labels(ALL_OF_IT, 2)
    found = np.array(ndimage.center_of_mass(np.ones(WIDE), label, ids))
    u, matrix = truth["displacement"].values[2][ids - 1], truth["matrix"].values[2]
    assert len(ids) > 8
    # A label's centre of mass lies off the particle's centre where neighbours cut it, alike in both scans.
    expected = (reference + u) @ matrix[:3, :3].T + matrix[:3, 3]
    moved = np.abs(u).max()
    assert moved > 0.3
    assert np.abs(found - expected).max() < 0.6
    rigid = reference @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.linalg.norm(found - expected, axis=1).mean() < 0.5 * np.linalg.norm(found - rigid, axis=1).mean()
    if name != "jitter":
        np.testing.assert_array_equal(phantom.field(2, centre)[0], u)
    assert not truth["displacement"].values[0].any()
    assert np.unique(phantom.labels(ALL_OF_IT, 0)[0]).size > 3


@pytest.mark.parametrize("name", MOVING)
def test_scans_show_the_labels_of_their_state(name):
    phantom = replace(EVERY[name], alterations=EVERY[name].alterations.mechanics(), noise_sd=0.0, streak=0.0)
    clean, label = phantom.clean(2, WHOLE).astype(float), phantom.labels(WHOLE, 2)
    assert np.median(clean[ndimage.distance_transform_edt(label > 0) > 2.5]) > 140
    wrong = (clean > 120) & (ndimage.distance_transform_edt(label == 0) > 1.8)
    assert wrong.sum() == 0
    assert (label > 0).mean() > 0.3


@pytest.mark.parametrize("name", ["local_motion", "slip", "swelling", "hard"])
def test_strain_is_the_divergence(name):
    phantom = EVERY[name]
    points = np.random.default_rng(0).uniform(0, np.array(SHAPE) - 1, (400, 3))
    u, strain = phantom.field(2, points)
    step, divergence, broken = 1e-3, np.zeros(len(points)), np.zeros(len(points), bool)
    for axis, way in enumerate(np.eye(3)):
        change = (phantom.field(2, points + step * way)[0] - phantom.field(2, points - step * way)[0]) / (2 * step)
        divergence += change[:, axis]
        broken |= np.abs(change).max(axis=1) > 10
    assert broken.sum() < 5
    np.testing.assert_allclose(strain[~broken], divergence[~broken], atol=1e-7)
    assert np.abs(u).max() > 0.3
    assert np.abs(strain).max() > {"slip": -1.0, "swelling": 0.04}.get(name, 0.01)


def test_local_motion_is_smooth_and_bounded():
    points = np.stack(np.meshgrid(*[np.arange(0, n, 4.0) for n in SHAPE], indexing="ij"), axis=-1).reshape(-1, 3)
    largest = []
    for seed in range(12):
        phantom = replace(EVERY["local_motion"], seed=seed, alterations=Alterations(local_motion=(0.0, 2.0, 4.0)))
        for state, most in ((0, 0.0), (1, 2.0), (2, 4.0)):
            u = np.linalg.norm(phantom.field(state, points)[0], axis=1)
            assert u.max() <= most
            if most:
                largest.append(u.max() / most)
    assert np.mean(largest) > 0.7


def test_one_side_slips_along_the_plane():
    normal = np.array([1.0, 0.6, 0.3]) / math.sqrt(1 + 0.36 + 0.09)
    points = np.random.default_rng(1).uniform(0, np.array(SHAPE) - 1, (500, 3))
    u, strain = EVERY["slip"].field(2, points)
    beyond = (points - (np.array(SHAPE) - 1) / 2) @ normal > 0
    assert 100 < beyond.sum() < 400
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), np.where(beyond, 2.0, 0.0))
    np.testing.assert_allclose(u @ normal, 0, atol=1e-12)
    assert not strain.any()
    other = Alterations(slip=(0.0, 0.0, 1.0), slip_point=(10.0, 0.0, 0.0), slip_normal=(-2.0, 0.0, 0.0))
    u, _ = replace(PLAIN, alterations=other).field(2, np.array([[9.0, 30.0, 30.0], [11.0, 30.0, 30.0]]))
    np.testing.assert_array_equal(u[1], 0)
    assert u[0, 0] == 0.0
    assert float(np.linalg.norm(u[0])) == 1.0


def test_every_particle_has_its_own_jitter():
    altered = Alterations(jitter=(0.0, 0.5, 0.5))
    u = replace(PLAIN, shape=(90, 90, 90), alterations=altered).truth()["displacement"].values
    assert not u[0].any()
    assert u[1].size > 500
    np.testing.assert_allclose(u[1:].std(axis=(1, 2)), 0.5, rtol=0.1)
    assert np.abs(u).max() <= 1.5
    assert abs(np.corrcoef(u[1].ravel(), u[2].ravel())[0, 1]) < 0.15


def test_particles_swell_with_their_cracks():
    swollen = replace(PLAIN, shape=WIDE, alterations=Alterations(swelling=(1.0, 1.0, 1.1)))
    truth = swollen.truth()
    ids = truth["particle"].values[truth["in_field"].values[2]]
    volumes = [np.bincount(swollen.labels(ALL_OF_IT, s).ravel(), minlength=ids.max() + 1)[ids] for s in (0, 2)]
    assert len(ids) > 8
    assert abs(np.sum(volumes[1]) / np.sum(volumes[0]) - 1.1**3) < 0.02
    u, strain = swollen.field(2, np.zeros((1, 3)))
    np.testing.assert_allclose(u[0], -0.1 * (np.array(WIDE) - 1) / 2)
    np.testing.assert_allclose(strain, 0.3)


def test_fields_are_left_where_the_sample_moves_out():
    """`in_field` counts the deformation: what it says is inside touches no face."""
    far = replace(PLAIN, shape=WIDE, max_shift=0.0, max_rotation_deg=0.0)
    for altered in (Alterations(slip=(0.0, 0.0, 9.0)), Alterations(swelling=(1.0, 1.0, 1.2))):
        phantom = replace(far, alterations=altered)
        truth = phantom.truth()
        inside = truth["in_field"].values
        assert (inside[1] & ~inside[2]).sum() > 2
        label = phantom.labels(ALL_OF_IT, 2)
        faces = [label[0], label[-1], label[:, 0], label[:, -1], label[..., 0], label[..., -1]]
        cut = np.unique(np.concatenate([face.ravel() for face in faces]))
        assert not np.isin(truth["particle"].values[inside[2]], cut).any()
        assert np.isin(
            truth["particle"].values[inside[1] & ~inside[2]], [*cut, *set(range(999)) - set(label.ravel())]
        ).all()
        # Nothing is missing at the faces: sample moved in from outside is there.
        assert all((face > 0).mean() > 0.25 for face in faces)


def test_written_truth_has_displacements(tmp_path: Path) -> None:
    phantom = EVERY["slip"]
    folder = write(phantom, tmp_path).parent
    table = pd.read_parquet(folder / "truth/particles.parquet")
    u = phantom.truth()["displacement"].values
    for axis, name in enumerate("zyx"):
        np.testing.assert_array_equal(table[f"displacement_{name}"].to_numpy().reshape(u.shape[:2]), u[..., axis])
    assert set(table.columns).isdisjoint({"axis", "row", "col"})


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"gain": (1.0, 1.0)}, "a tuple of 3 numbers"),
        ({"gain": 1.03}, "a tuple of 3 numbers"),
        ({"noise": (1.0, -1.0, 1.0)}, "noise is .*; 0 to 100 in each state"),
        ({"slip": (1.0, 0.0, 0.0)}, "slip is .*; 0 in the first state"),
        ({"swelling": (1.015, 1.0, 1.0)}, "swelling is .*; 1 in the first state"),
        ({"slip_normal": (0.0, 0.0, 0.0)}, "slip_normal is .*; a direction"),
        ({"binder_level": 1.5}, "binder_level is 1.5"),
        ({"blur": (0.0, 0.0, 9.0)}, "blur is .*; 0 to 4"),
    ],
)
def test_impossible_alterations_are_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        replace(PLAIN, alterations=Alterations(**wrong))
