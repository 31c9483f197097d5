"""What differs from scan to scan and is no damage: measured, and in the errors of changes."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask import analyse
from tests.support.cracked import VOID, cracked, moved
from tests.support.tabled import replaced


def test_what_differs_from_scan_to_scan_is_measured_and_widens_errors():
    rng = np.random.default_rng(6)
    tree = cracked(np.zeros((5, 300)), rng.uniform(8, 14, 300))
    shift = rng.normal(0, 1.5, (5, 300))
    shift[4] += 4.0  # a scan that has drifted
    plain, wide = (analyse.damage(x, noise=2.0, scale_error=0.0) for x in (tree, moved(tree, shift)))
    np.testing.assert_allclose(plain.scan_error, plain.noise_error)
    contrast = (wide.core_grey[0] - VOID).values.mean()
    extra = np.sqrt(wide.scan_error**2 - wide.noise_error**2).mean("particle").values * contrast
    np.testing.assert_allclose(extra[:4], 1.5, rtol=0.2)
    assert extra[4] > 1.5 * extra[:4].max()
    found = analyse.changes(wide).isel(state=slice(3))
    assert float(found.beyond_noise.mean()) > 2 * float(found.significant.mean())
    assert 0.02 < float(found.significant.mean()) < 0.12


def test_a_scan_is_held_against_the_one_that_is_most_alike():
    rng = np.random.default_rng(9)
    void = np.zeros((5, 300))
    void[2:] = rng.uniform(0, 0.3, 300)  # cracks as far out as the layer that is looked at, and they stay
    found = analyse.damage(cracked(void, rng.uniform(8, 14, 300)), noise=2.0)
    np.testing.assert_allclose(found.scan_error, found.noise_error)


def test_what_is_a_particles_own_is_in_its_damage_but_not_in_its_changes():
    rng = np.random.default_rng(7)
    tree = cracked(np.zeros((5, 300)), rng.uniform(8, 14, 300))
    own = np.broadcast_to(rng.normal(0, 3, 300), (5, 300))
    found = analyse.damage(moved(tree, own), noise=1.0)
    inside = float((np.abs(found.damage) <= 1.96 * found.standard_error).mean())
    assert 0.9 <= inside <= 0.98
    np.testing.assert_allclose(found.scan_error, found.noise_error, rtol=0.05)
    assert float((found.standard_error / found.noise_error).median()) > 3


def test_a_share_of_a_change_may_be_optics():
    void = np.tile([[0.0], [0.0], [0.1], [0.1], [0.1]], 60)
    found = analyse.changes(analyse.damage(cracked(void, np.linspace(6, 12, 60)), scale_error=0.6), since="4.2 V")
    found = found.sel(state=["4.4 V", "2.5 V DC"])
    np.testing.assert_allclose(found.standard_error**2, found.noise_error**2 + (0.6 * found.change) ** 2)
    assert found.beyond_noise.all()
    assert not found.significant.any()


@pytest.mark.parametrize("leaking", [0.0, 0.08])
def test_what_leaks_from_the_core_is_measured_by_size(leaking):
    rng = np.random.default_rng(11)
    void = np.concatenate([np.zeros((2, 240)), rng.uniform(0, 0.2, (3, 240))])
    radii = rng.uniform(8, 16, 240)
    tree = cracked(void, radii)
    shells = tree["shells"].to_dataset().copy(deep=True)
    voxels = shells.voxels.values
    between = 3 * np.arange(1, voxels.shape[2] + 1) <= 1.7 * np.floor(radii)[:, None]
    solid = (170 - 60 * np.exp(-radii / 7))[:, None]
    lost = void[..., None] * (VOID - solid)
    grey = solid + np.where(between, leaking * lost, lost)
    shells["grey_sum"] = shells.grey_sum.copy(data=(voxels * grey).round().astype(np.uint64))
    found = analyse.damage(replaced(tree, shells=shells))
    wanted = np.hypot(0.03, leaking * 1.6)
    np.testing.assert_allclose(found.scale_error.median(), wanted, rtol=0.3)


def test_cracks_that_reach_far_out_are_no_leak():
    void = np.concatenate([np.zeros((2, 60)), np.random.default_rng(2).uniform(0, 0.2, (3, 60))])
    found = analyse.damage(cracked(void, np.linspace(8, 14, 60)))
    np.testing.assert_allclose(found.scale_error, np.hypot(0.03, 0.25))
    assert (analyse.damage(cracked(void, np.linspace(8, 14, 60)), scale_error=0.1).scale_error == 0.1).all()
