"""What a run tells of grey levels, from small runs that provoke it and from one that does not."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy import ndimage

import crackdask
from crackdask import analyse
from crackdask.analysis.findings import Finding, of_store
from tests.support.tiny import BALLS, SHAPE, Tiny


def told(tiny: Tiny) -> list[Finding]:
    said = tiny.run()
    assert said.code == 0, said.err
    found = of_store(crackdask.open(tiny.store).attrs)
    return [each for each in found if each.code not in ("not-registered",)]


def altered(tiny: Tiny, gain: float, offset: float) -> None:
    """Give the second scan another grey scale."""
    voxels = gain * tiny.scan(1).astype(float) + offset
    tiny.write_slices(tiny.folder / "scans" / "b", np.rint(voxels).astype(np.uint16))


def test_scans_that_are_alike_keep_their_bits_and_nothing_is_told(tiny: Tiny) -> None:
    assert told(tiny) == []
    auto = tiny.contents(tiny.store)
    scales = crackdask.open(tiny.store).attrs["found"]["grey_scale"]
    assert [(scale["gain"], scale["offset"]) for scale in scales.values()] == [(1.0, 0.0)] * 2
    assert scales["pristine"]["solid_error"] == 0 < scales["4.2 V"]["solid_error"] < 3  # too few places: peaks alone
    tiny.change("grey", normalise="none")
    assert told(tiny) == []
    left = tiny.contents(tiny.store)
    for name, values in auto.items():
        np.testing.assert_array_equal(left[name], values, err_msg=name)


def test_a_drift_is_corrected_and_noted(tiny: Tiny) -> None:
    altered(tiny, 1.1, 150.0)
    (note,) = told(tiny)
    assert (note.code, note.state, note.kind.note) == ("grey-corrected", "4.2 V", True)
    assert note.figure == pytest.approx(0.225, abs=0.02)  # the solid went from 3000 to 3450, of a contrast of 2000
    tree = crackdask.open(tiny.store)
    scale = tree.attrs["found"]["grey_scale"]["4.2 V"]
    assert scale["gain"] == pytest.approx(1 / 1.1, abs=0.01)
    grey = tree["particles"].to_dataset().grey_p50.values
    assert np.abs(grey[1] - grey[0]).max() < 4  # of 254


def test_a_drift_that_is_left_is_told_once_and_counted_in_the_errors(tiny: Tiny) -> None:
    altered(tiny, 1.1, 150.0)
    tiny.change("grey", normalise="none", window=[500, 4000])
    (warning,) = told(tiny)
    assert (warning.code, warning.state, warning.kind.note) == ("grey-drift", "4.2 V", False)
    assert warning.figure == pytest.approx(0.225, abs=0.02)
    assert "+22" in warning.text
    scale = crackdask.open(tiny.store).attrs["found"]["grey_scale"]["4.2 V"]
    assert scale["solid_error"] == pytest.approx(scale["solid_shift"], rel=0.1)


def test_particles_that_darken_alike_are_told_of(tiny: Tiny) -> None:
    """Background and most of the solid stay where they are; the solid that is tracked does not."""
    voxels = tiny.scan(1).astype(float)
    tiny.write_slices(tiny.folder / "scans" / "b", np.where(voxels > 2000, voxels - 200, voxels).astype(np.uint16))
    tiny.change("grey", normalise="none")
    found = told(tiny)
    assert [each.code for each in found] == ["grey-drift"]
    assert found[0].figure == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("share", [0.05, 0.005])
def test_a_scan_whose_numbers_end_too_early_is_told_of(tiny: Tiny, share: float) -> None:
    voxels = tiny.scan(1)
    largest = np.quantile(voxels, 1 - share).astype(np.uint16)
    tiny.write_slices(tiny.folder / "scans" / "b", np.minimum(voxels, largest))
    found = [each for each in told(tiny) if each.code == "cut-off"]
    assert [each.state for each in found] == ["4.2 V"] * (share > 0.01)
    for each in found:
        assert each.figure == pytest.approx(share, rel=0.1)
        assert each.text == f"{each.figure:.1%} of the voxels are {largest}, the largest, limit 1.0%"


def test_zeros_around_a_scan_are_told_of_unless_they_are_fill(tiny: Tiny) -> None:
    for number, name in enumerate("ab"):
        voxels = tiny.scan(number)
        voxels[:, :, :3] = 0
        tiny.write_slices(tiny.folder / "scans" / name, voxels)
    said = [each for each in told(tiny) if each.code == "cut-off"]
    assert [(each.state, each.text[:36]) for each in said] == [
        ("pristine", "9.4% of the voxels are 0, the least,"), ("4.2 V", "9.4% of the voxels are 0, the least,")
    ]  # fmt: skip
    tiny.change("experiment", fill=0)
    assert not [each for each in told(tiny) if each.code == "cut-off"]


def test_slices_that_were_not_scanned_are_told_of(tiny: Tiny) -> None:
    frozen, voxels = tiny.scan(1), tiny.scan(0)
    frozen[9:11] = frozen[8]
    frozen[3] = 1000
    tiny.write_slices(tiny.folder / "scans" / "b", frozen)
    voxels[17:] = 0
    tiny.write_slices(tiny.folder / "scans" / "a", voxels)
    tiny.change("experiment", fill=0)
    tiny.change("compute", chunk=[4, 16, 16], memory="1.1 GiB")
    said = [each for each in told(tiny) if each.code == "odd-slices"]
    assert [(each.state, each.text) for each in said] == [("4.2 V", "3 of them, numbers 3, 9, 10")]


def test_that_no_particle_can_be_followed_is_told(tiny: Tiny) -> None:
    voxels = np.maximum(tiny.scan(1), 1000)
    tiny.write_slices(tiny.folder / "scans" / "b", voxels)
    tiny.change("experiment", fill=1000)  # so half of the ground lies outside, wherever it is
    assert "none-tracked" in {each.code for each in told(tiny)}


def in_a_binder(tiny: Tiny, levels: tuple[float, float, float], shell: float) -> None:
    """Put a shell of another phase round each ball of both scans."""
    grid = np.ogrid[tuple(slice(n) for n in SHAPE)]
    for number, name in enumerate("ab"):
        voxels = tiny.scan(number).astype(float)
        for (centre, radius), level in zip(BALLS, levels, strict=True):
            away = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
            voxels[(away > radius**2) & (away <= (radius + shell) ** 2) & (voxels < 2000)] += level
        tiny.write_slices(tiny.folder / "scans" / name, np.rint(voxels).astype(np.uint16))


def test_a_third_phase_is_noted_and_the_darkest_is_the_void(tiny: Tiny) -> None:
    tiny.run()
    before = crackdask.open(tiny.store)
    alone, true = before.attrs["found"], before["volumes"].label[0].values > 0
    in_a_binder(tiny, (800.0, 800.0, 800.0), 3.0)
    (note,) = told(tiny)
    assert (note.code, note.kind.note, note.figure) == ("three-phases", True, 3)
    tree = crackdask.open(tiny.store)
    found = tree.attrs["found"]
    assert len(found["phases"]) == 3
    assert found["background"] == pytest.approx(alone["background"], abs=3)
    assert found["solid"] == pytest.approx(alone["solid"], abs=3)
    assert found["threshold"]["pristine"] > (found["phases"][1] + found["phases"][2]) / 2 - 15
    mask = tree["volumes"].label[0].values > 0
    assert np.count_nonzero(mask & true) > 0.99 * np.count_nonzero(true)
    assert np.count_nonzero(mask) < 1.25 * np.count_nonzero(true), "a shell one voxel thick is 1.6 times as much"
    damage = analyse.damage(tree, void_grey=found["phases"][1])
    assert damage.attrs["void_grey_error"] == 0


def test_a_phase_that_hides_in_the_void_is_told_of_and_widens_the_errors(tiny: Tiny) -> None:
    in_a_binder(tiny, (150.0, 250.0, 350.0), 4.0)
    tiny.change("denoise", patch_distance=2)
    (warning,) = told(tiny)
    assert (warning.code, warning.kind.note) == ("merged-phases", False)
    tree = crackdask.open(tiny.store)
    assert tree.attrs["found"]["background_error"] > 0
    damage = analyse.damage(tree)
    assert damage.attrs["void_grey_error"] == tree.attrs["found"]["background_error"]
    assert (damage.scale_error > analyse.damage(tree, void_grey=damage.attrs["void_grey"]).scale_error).all()


def blobs(seed: int, cupping: float, rings: float) -> np.ndarray:
    """Return a scan of two phases, dark about its axis and with rings, in which particles keep their places."""
    shape = (32, 72, 72)
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape[1:])
    radius = np.sqrt(y[:, None] ** 2 + x**2)
    level = 2000 * rings * np.random.default_rng(9).uniform(-1, 1, int(radius.max()) + 2)
    voxels = np.where(smooth > 0.1 * smooth.std(), 3000.0, 1000.0) * (1 - cupping * (1 - (radius / radius.max()) ** 2))
    voxels += level[np.rint(radius).astype(int)] + np.random.default_rng(seed).normal(0, 120, shape)
    return np.rint(voxels).astype(np.uint16)


@pytest.mark.parametrize(
    ("cupping", "rings", "wanted"),
    [
        ((0.0, 0.0), 0.0, []),
        ((0.0, 0.06), 0.0, [("cupping", "4.2 V")]),
        ((0.08, 0.08), 0.0, [("cupping", "pristine")]),
        ((0.0, 0.0), 0.08, [("rings", "pristine"), ("rings", "4.2 V")]),
    ],
)
def test_what_differs_across_a_scan_is_told(
    tiny: Tiny, cupping: tuple[float, float], rings: float, wanted: list[tuple[str, str]]
) -> None:
    for number, name in enumerate("ab"):
        shutil.rmtree(tiny.folder / "scans" / name)
        tiny.write_slices(tiny.folder / "scans" / name, blobs(number, cupping[number], rings))
    tiny.change("denoise", method="gaussian")
    tiny.change("compute", chunk=[32, 72, 72], block=[32, 72, 72])
    found = told(tiny)
    assert [(each.code, each.state) for each in found if not each.kind.note] == wanted
