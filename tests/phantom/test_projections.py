"""Projections of the phantom and what a detector counts of them: geometry, slabs, photons, pixels gone wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crackdask.grid import Box
from crackdask.phantom import Phantom, Projections
from crackdask.phantom.cell_states import states
from crackdask.phantom.detector import FULL, Detector
from crackdask.phantom.ellipsoids import packed
from crackdask.phantom.projections import line_integrals

SMALL = Projections(
    Phantom(shape=(20, 40, 48), radius_range=(5.0, 8.0)), degrees=tuple(np.linspace(0, 180, 37).tolist())
)
PERFECT = Detector(
    drift=0, gain_sd=0, striped=0, dead=0, fluctuating=0, stuck=0, profile=0, read_noise=0, counts=50_000
)


def test_rays_through_voxels_are_those_of_the_ellipsoids_drawn_in_them():
    some, degrees, rows = packed(1, 20, 24, 10, (5, 8)), np.arange(0.0, 180.0, 11.0), np.array([-1.0, 0.0])
    wanted = some.projections(degrees, rows, 70, 33.4)
    seen = line_integrals(some.slices(rows, 61), degrees, 70, 33.4)
    assert wanted.max() > 10
    assert np.sqrt(((seen - wanted) ** 2).mean()) < 0.02 * wanted.max()


def test_a_voxel_is_seen_where_the_convention_says():
    volume = np.zeros((1, 41, 30), np.float32)
    bump = np.array([1, 4, 6, 4, 1], np.float32)
    volume[0, 31:36, 2:7] = bump[:, None] * bump
    y, x, degrees = 33 - 20, 4 - 14.5, np.linspace(-40, 400, 23)
    seen = line_integrals(volume, degrees, 60, 28.3)[0]
    turns = np.radians(degrees)
    wanted = x * np.cos(turns) + y * np.sin(turns) + 28.3
    np.testing.assert_allclose((seen * np.arange(60)).sum(axis=1) / seen.sum(axis=1), wanted, atol=0.01)
    np.testing.assert_allclose(seen.sum(axis=1), bump.sum() ** 2, rtol=0.01)


def test_any_rows_can_be_made_alone():
    whole = SMALL.counts(1, 4, 11)
    assert len(np.unique(whole[:, 0, 20])) > 1
    for first, end in ((4, 5), (5, 9), (9, 11)):
        np.testing.assert_array_equal(SMALL.counts(1, first, end), whole[first - 4 : end - 4])


def test_an_embedded_phantom_goes_on_as_a_cylinder():
    phantom = Phantom(
        (8, 24, 24), states(1), seed=0, vanishing=0, leaving=0, radius_median=5.0, radius_range=(4.0, 6.0)
    )
    alone = Projections(phantom, degrees=(0.0, 45.0, 90.0), clear=None)
    embedded = replace(alone, embedded=True)
    beside = np.abs(np.arange(alone.width) - alone.axis) > 13
    radius, level = np.hypot(24, 24) / 2 + 2, (phantom.solid_grey + phantom.background_grey) / 2 * alone.per_grey
    chord = 2 * np.sqrt(np.maximum(radius**2 - (np.arange(alone.width) - alone.axis) ** 2, 0))
    own, around = alone.integrals(0, 0, 4), embedded.integrals(0, 0, 4)
    for projection in (0, 2):
        assert not own[:, projection, beside].any()
        np.testing.assert_allclose(
            around[:, projection, beside], np.broadcast_to(chord * level, (4, alone.width))[:, beside], atol=1e-5
        )
    middle = np.abs(np.arange(alone.width) - alone.axis) < 10
    through = np.broadcast_to((chord - 24) * level, (4, alone.width))[:, middle]
    np.testing.assert_allclose(around[:, 0, middle] - own[:, 0, middle], through, atol=1e-4)


def test_a_seed_makes_the_same_again_and_another_does_not():
    first = SMALL.counts(0, 5, 6)
    np.testing.assert_array_equal(SMALL.counts(0, 5, 6), first)
    assert (replace(SMALL, detector=Detector(seed=1)).counts(0, 5, 6) != first).mean() > 0.9
    flats = SMALL.references(0, 0.0)[0]
    assert (SMALL.references(0, 1.0)[0] != flats).mean() > 0.9


def test_all_of_the_sample_is_seen_but_for_the_holder():
    total = float(SMALL.phantom.clean(0, Box((5, 0, 0), (6, 40, 48))).sum()) * SMALL.per_grey
    np.testing.assert_allclose(SMALL.integrals(0, 5, 6)[0].sum(axis=1), total, rtol=0.02)
    free = replace(SMALL, clear=None, detector=PERFECT).counts(0, 5, 6)[0].astype(float)
    held = replace(SMALL, detector=PERFECT).counts(0, 5, 6)[0].astype(float)
    darker = (held < 0.8 * free).any(axis=1)
    angles = np.array(SMALL.degrees)
    assert darker[(angles > 0) & (angles < 25)].all()
    assert not darker[(angles >= 30) & (angles <= 177)].any()


def test_a_sixteen_bit_phantom_attenuates_alike():
    wide = replace(SMALL, phantom=replace(SMALL.phantom, dtype="uint16"))
    np.testing.assert_allclose(wide.integrals(0, 5, 6), SMALL.integrals(0, 5, 6), atol=0.01)


def test_photons_are_poisson_and_the_beam_drifts():
    detector = replace(PERFECT, drift=0.2)
    through = np.full((1, 2000, 50), 0.25, np.float32)
    counts = detector.exposed(through, 0, np.linspace(0, 1, 2000)).astype(float)[0] - detector.dark
    wanted = 50_000 * 0.25 * (1 - 0.2 * np.linspace(0, 1, 2000))
    deviation = (counts - wanted[:, None]) / np.sqrt(wanted)[:, None]
    assert abs(deviation.mean()) < 0.02
    assert deviation.std() == pytest.approx(1, abs=0.02)
    flats, darks = detector.references(1, 50, 200, 1.0)
    assert flats.mean() - darks.mean() == pytest.approx(0.8 * 50_000, rel=0.001)
    assert darks.mean() == pytest.approx(detector.dark, abs=0.1)


def test_pixels_that_do_not_answer():
    detector = Detector(dead=2, fluctuating=3, stuck=2, zingers=0.001, seed=4)
    through = np.full((2, 300, 80), 0.5, np.float32)
    counts = detector.exposed(through, 7, np.zeros(300)).astype(float)
    flats, darks = detector.references(9, 80, 20, 0.0)
    for row in (7, 8):
        flaws, seen = detector.flaws(row, 80), counts[row - 7]
        assert [len(flaws[kind]) for kind in ("dead", "fluctuating", "stuck")] == [2, 3, 2]
        assert (np.median(seen[:, flaws["dead"]], axis=0) < 2 * detector.dark).all()
        assert (np.ptp(seen[:, flaws["stuck"]], axis=0) == 0).all()
        sound = np.setdiff1d(np.arange(80), np.concatenate(list(flaws.values())))
        usual = np.median(np.abs(np.diff(seen, axis=0)), axis=0)
        assert (usual[flaws["fluctuating"]] > 5 * usual[sound].max()).all()
        beam = (np.median(flats[:, row], axis=0) - np.median(darks[:, row], axis=0)).clip(1)
        ratio = (np.median(seen, axis=0) - 100) / beam
        np.testing.assert_allclose(ratio[sound], 0.5, rtol=0.01)
        striped = np.setdiff1d(flaws["striped"], np.concatenate([flaws[k] for k in ("dead", "stuck", "fluctuating")]))
        assert np.abs(ratio[striped] - 0.5).max() > 0.005
    assert not np.array_equal(detector.flaws(7, 80)["dead"], detector.flaws(8, 80)["dead"])
    hits = (counts > 1.5 * np.median(counts, axis=1, keepdims=True)).sum()
    assert 20 < hits < 120


def test_counts_end_where_the_detector_is_full():
    bright = replace(PERFECT, counts=80_000)
    assert (bright.exposed(np.ones((1, 3, 5), np.float32), 0, np.zeros(3)) == FULL).all()
