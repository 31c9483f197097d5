"""Regions, averages and radial profiles, against tables whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask import analyse
from crackdask.analyse import AnalysisError
from crackdask.engine.context import RunContext
from crackdask.engine.fingerprints import fingerprints
from crackdask.engine.grey_levels import phases
from crackdask.kernels.smooth_curve import robust_band
from crackdask.phantom import FIVE_STATES, TWELVE_STATES, states
from crackdask.recipe.recipe import RecipeError, check
from tests.support.tabled import VOXEL_UM, balls, replaced, tables

RADII = np.linspace(4.2, 14.8, 40)


def linear(shift=(0, -4, -6, -5, -1), slope=2.0):
    """Return balls that darken linearly inwards, each state by its own shift."""
    voxels = balls(RADII, len(shift))
    shell = np.arange(1, voxels.shape[2] + 1)
    grey = 150 - slope * shell + np.array(shift)[:, None, None]
    return tables(voxels, np.broadcast_to(grey, voxels.shape), states(len(shift)))


def ragged(seed=0, n=30, deepest=9):
    """Return tables of whole numbers at random, every particle with its own depth in every state."""
    rng = np.random.default_rng(seed)
    depth = rng.integers(1, deepest + 1, (5, n))
    voxels = np.where(np.arange(1, deepest + 1) <= depth[..., None], rng.integers(1, 50, (5, n, deepest)), 0)
    return tables(voxels, rng.integers(90, 200, (5, n, deepest)).astype(float))


@pytest.mark.parametrize("rim", [0, 1, 3, 20])
def test_regions_are_those_of_a_plain_loop(rim):
    tree = ragged()
    shells = tree["shells"].to_dataset()
    found = analyse.regions(tree, rim_shells=rim)
    depths = set()
    for s in range(5):
        for p in range(30):
            voxels = shells.voxels.values[s, p]
            deepest = int(shells.shell.values[voxels > 0].max())
            depths.add(deepest)
            for region, inside in (
                ("full", [True] * 9),
                ("core", [k > deepest / 2 for k in range(1, 10)]),
                ("phase_removed", [k > rim for k in range(1, 10)]),
            ):
                for name in ("voxels", "grey_sum", "grey_sumsq"):
                    wanted = sum(int(v) for v, i in zip(shells[name].values[s, p], inside, strict=True) if i)
                    assert int(found[name].sel(region=region)[s, p]) == wanted
    assert depths == set(range(1, 10))
    assert found.voxels.dims == ("state", "particle", "region")
    assert all(found[name].dtype.kind == "u" for name in ("voxels", "grey_sum", "grey_sumsq"))


def test_a_particle_of_one_shell_is_its_own_core():
    found = analyse.regions(tables(np.full((5, 2, 1), 7), np.full((5, 2, 1), 100.0)))
    assert found.voxels.sel(region="core").values.tolist() == [[7, 7]] * 5
    assert not found.voxels.sel(region="phase_removed").any()


def test_what_is_lazy_stays_lazy_and_is_the_same():
    tree = linear()
    lazy = tree.chunk({"state": 2, "particle": 25, "shell": 9})
    calls: list[tuple[Callable[..., xr.Dataset], dict[str, str]]] = [
        (analyse.regions, {}),
        (analyse.intensity, {}),
        (analyse.rmpi, {"by": "decile"}),
        (analyse.rmpi_per_volume, {}),
        (analyse.profiles, {"start": "centre", "by": "quartile"}),
    ]
    for function, more in calls:
        found = function(lazy, **more)
        assert all(found[name].chunks is not None for name in found.data_vars), function
        xr.testing.assert_allclose(found.compute(), function(tree, **more))


def test_intensity_is_the_mean_of_particle_means_with_its_error():
    tree = ragged(deepest=9)
    shells = tree["shells"].to_dataset()
    full = shells.grey_sum.values.sum(axis=2) / shells.voxels.values.sum(axis=2)
    found = analyse.intensity(tree).sel(region="full")
    np.testing.assert_allclose(found["mean"], full.mean(axis=1))
    np.testing.assert_allclose(found.standard_error, full.std(axis=1, ddof=1) / np.sqrt(30))
    np.testing.assert_allclose(found.error_bar, 2 * found.standard_error)
    assert found.particles.values.tolist() == [30] * 5
    deep = (shells.voxels.values[..., 3:].sum(axis=2) > 0).all(axis=0)
    assert 2 < deep.sum() < 30
    assert (analyse.intensity(tree).particles.sel(region="phase_removed") == deep.sum()).all()


def test_rmpi_is_the_programmed_shift_in_every_region_and_decile():
    found = analyse.rmpi(linear(), by="decile")
    assert found["mean"].dims == ("state", "region", "decile")
    for shift, state in zip((0, -4, -6, -5, -1), FIVE_STATES, strict=True):
        np.testing.assert_allclose(found["mean"].sel(state=state.name), shift, atol=0.05)
    assert (found.particles == 4).all()


def test_only_tracked_particles_count():
    tree = linear()
    shells, particles = tree["shells"].to_dataset().copy(deep=True), tree["particles"].to_dataset().copy(deep=True)
    shells.grey_sum[:, 5] = 0
    particles["tracked"] = particles.tracked.copy(data=np.tile(np.arange(40) != 5, (5, 1)))
    tree = replaced(tree, shells=shells, particles=particles)
    assert float(analyse.intensity(tree)["mean"].min()) > 100
    assert 6 not in analyse.damage(tree).particle


def test_rmpi_per_volume_divides_by_the_mean_phase_removed_volume():
    found = analyse.rmpi_per_volume(linear(), by="quartile")
    voxels = balls(RADII, 1)[0]
    for k in range(4):
        mine = voxels[10 * k : 10 * k + 10, 3:].sum(axis=1)
        volume = mine[mine > 0].mean() * VOXEL_UM**3 * 1e-9
        np.testing.assert_allclose(found.volume_mm3.sel(quartile=k + 1), volume)
        np.testing.assert_allclose(found["mean"].sel(quartile=k + 1)[2], -6 / volume, rtol=0.02)
    np.testing.assert_allclose(found.error_bar, 2 * found.standard_error)
    assert found["mean"].attrs["units"] == "1/mm3"


def test_deciles_are_ranks_of_the_reference_radius():
    group = analyse.groups(linear(), "decile")
    assert group.values.tolist() == np.repeat(np.arange(1, 11), 4).tolist()
    uneven = analyse.groups(tables(balls(RADII[:23], 5), np.full((5, 23, 10), 100.0)), "quartile")
    assert set(np.bincount(uneven.values)[1:]) <= {5, 6}


def test_groups_by_a_column_by_flag_and_by_values():
    tree = linear()
    assert set(np.unique(analyse.groups(tree, "sphericity", count=5))) == {1, 2, 3, 4, 5}
    assert analyse.groups(tree, "on_border").dtype == bool
    found = analyse.rmpi(tree, by="on_border")
    assert found.particles.sel(region="full").values[0].tolist() == [26, 14]
    path = xr.DataArray(["D", "H"], {"particle": [7, 30]}, ["particle"], name="path")
    chosen = analyse.profiles(tree, by=path)
    assert chosen.path.values.tolist() == ["D", "H"]
    assert chosen.particles.sel(shell=1, path="H").values.tolist() == [1] * 5
    assert np.isnan(chosen.standard_error.values).all()


@pytest.mark.parametrize("by", [None, "quartile"])
def test_profiles_from_the_edge_are_the_programmed_line(by):
    found = analyse.profiles(linear(), by=by)
    line = 150 - 2 * found.shell
    for shift, state in zip((0, -4, -6, -5, -1), found.state.values, strict=True):
        mean = found["mean"].sel(state=state)
        np.testing.assert_allclose((mean - line - shift).where(mean.notnull(), 0), 0, atol=0.5)
    if by is None:
        deep = (RADII[:, None] >= np.arange(1, 15)).sum(axis=0)
        assert found.particles.values.tolist() == [deep.tolist()] * 5


def test_profiles_from_the_centre_start_at_each_particles_deepest_shell():
    tree = ragged()
    found = analyse.profiles(tree, start="centre")
    shells = tree["shells"].to_dataset()
    voxels, total = shells.voxels.values, shells.grey_sum.values
    for s in range(5):
        turned = [[g / v for v, g in zip(voxels[s, p], total[s, p], strict=True) if v][::-1] for p in range(30)]
        for k in range(9):
            there = [profile[k] for profile in turned if len(profile) > k]
            assert int(found.particles[s, k]) == len(there)
            np.testing.assert_allclose(found["mean"][s, k], np.mean(there))


def test_normalised_profiles():
    tree = ragged()
    surface = analyse.profiles(tree, normalise="surface")
    np.testing.assert_allclose(surface["mean"].sel(shell=1), 1)
    assert float(surface["mean"].std()) > 0.01
    grey = tree["shells"].grey_sum / tree["shells"].voxels.where(tree["shells"].voxels > 0)
    wanted = (grey / grey.max("shell")).mean("particle")
    np.testing.assert_allclose(analyse.profiles(tree, normalise="maximum")["mean"], wanted)


def test_the_curve_follows_what_is_typical_and_not_outliers():
    rng = np.random.default_rng(3)
    x = rng.uniform(5, 35, 2000)
    y = 150 - 40 * np.exp(-x / 8) + rng.normal(0, 2, x.size)
    y[rng.random(x.size) < 0.15] -= 40
    at = np.linspace(6, 34, 50)
    assert np.abs(robust_band(x, y, at)[0] - (150 - 40 * np.exp(-at / 8))).max() < 1
    assert robust_band(np.arange(5.0), np.array([1, 2, 3, 4, 90.0]), at[:2])[0].tolist() == [3, 3]
    assert robust_band(np.full(20, 4.0), np.arange(20.0), np.array([4.0]))[0] == pytest.approx(9.5)


def test_a_run_tells_what_the_analysis_needs(finished):
    tree = crackdask.open(finished.store)
    found = tree.attrs["found"]
    assert found["background"] < min(found["threshold"].values()) < found["solid"]
    assert found["noise"] > 0
    del tree["volumes"]
    assert analyse.rmpi(tree).sizes == {"state": 2, "region": 3}
    assert np.isfinite(analyse.damage(tree).damage).all()


@pytest.mark.parametrize(("phase", "background", "solid"), [("bright", 60, 150), ("dark", 150, 60)])
def test_background_and_solid_are_peaks_of_the_reference(phase, background, solid):
    level = np.arange(256)
    counts = np.rint(9000 * np.exp(-((level - 60) ** 2) / 50) + 7000 * np.exp(-((level - 150) ** 2) / 50)).astype(int)
    counts[0] = 10**6  # outside the scan
    content = {**RECIPE, "mask": {"phase": phase}}
    found = {"denoised_histogram": counts, "threshold": 104.5}
    run = cast(RunContext, SimpleNamespace(recipe=check(content), result=lambda name: found))
    levels, told = phases(run)
    assert told == []
    assert levels["background"] == pytest.approx(background, abs=0.2)
    assert levels["solid"] == pytest.approx(solid, abs=0.2)
    counts[1:] = 0
    counts[9] = 5
    levels, _ = phases(run)
    assert sorted(map(str, (levels["background"], levels["solid"]))) == ["9.0", "None"]


RECIPE = {
    "experiment": {"name": "x", "voxel_um": 1.0},
    "states": [{"name": s.name, "voltage": s.voltage, "step": s.step, "source": "a"} for s in FIVE_STATES],
}


def test_the_recipe_has_the_parameters_and_no_step_depends_on_them():
    plain = check(RECIPE)
    changed = check(
        {**RECIPE, "analyse": {"rim_shells": 5, "class_limits": [0, 1], "path_states": ["pristine", "4.4 V"]}}
    )
    assert changed.analyse.path_states == ("pristine", "4.4 V")
    assert changed.as_dict()["analyse"]["class_limits"] == [0, 1]
    sources = ["a"] * 5
    assert fingerprints(plain, sources, (9, 9, 9)) == fingerprints(changed, sources, (9, 9, 9))
    tree = linear()
    tree.attrs["recipe"]["analyse"] = changed.as_dict()["analyse"]
    wanted = analyse.regions(linear(), rim_shells=5)
    xr.testing.assert_identical(analyse.regions(tree), wanted)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"class_limits": [0.2, 0.1]}, "analyse.class_limits: the limits of moderate and high must rise"),
        ({"rim_shells": -1}, "analyse.rim_shells"),
        ({"rim": 1}, "analyse.rim: unknown key; known here: reference, rim_shells"),
        ({"reference": "3 V"}, "analyse.reference: no state is named '3 V'"),
        ({"path_states": ["pristine", "9 V"]}, r"analyse.path_states\[1\]: no state is named '9 V'"),
        ({"path_states": ["pristine"]}, "two or more different states"),
        ({"void_grey": 300}, "analyse.void_grey"),
    ],
)
def test_mistakes_of_the_recipe(content, said):
    with pytest.raises(RecipeError, match=said):
        check({**RECIPE, "analyse": content})


def test_what_cannot_be_analysed():
    tree = linear()
    with pytest.raises(TypeError, match=r"crackdask\.open"):
        analyse.regions(tree["shells"].to_dataset())
    with pytest.raises(AnalysisError, match="no table 'shells'"):
        analyse.regions(xr.DataTree())
    with pytest.raises(AnalysisError, match="rim: Extra inputs"):
        analyse.regions(tree, rim=2)
    with pytest.raises(AnalysisError, match="no column is named 'size'"):
        analyse.rmpi(tree, by="size")
    with pytest.raises(AnalysisError, match="cannot make 41 groups"):
        analyse.groups(tree, "sphericity", count=41)
    with pytest.raises(AnalysisError, match="'edge' or 'centre', not 'middle'"):
        analyse.profiles(tree, start="middle")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(AnalysisError, match="not 'mean'"):
        analyse.profiles(tree, normalise="mean")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(AnalysisError, match="no state is named 'x'"):
        analyse.rmpi(tree, reference="x")
    with pytest.raises(AnalysisError, match="none of the tracked"):
        analyse.rmpi(tree, by=xr.DataArray([1], {"particle": [99]}, ["particle"]))
    with pytest.raises(AnalysisError, match="need the dimension particle"):
        analyse.rmpi(tree, by=xr.DataArray([1], dims=["state"]))
    tree.attrs["complete"] = False
    with pytest.raises(AnalysisError, match="not finished"):
        analyse.regions(tree)


@pytest.mark.parametrize(("kept", "said"), [(0, "no particles of 40 tracked"), (1, "1 particle of 40 tracked")])
def test_too_few_particles(kept, said):
    voxels = balls(RADII, 5)
    tree = tables(voxels, np.full(voxels.shape, 100.0), tracked=np.arange(40) < kept)
    for function in (analyse.intensity, analyse.rmpi, analyse.profiles, analyse.damage, analyse.paths):
        with pytest.raises(AnalysisError, match=said):
            function(tree)


def test_too_few_states():
    one = linear((0,))
    assert analyse.intensity(one).sizes["state"] == 1
    assert float(np.abs(analyse.damage(one).damage).max()) < 0.1
    for function in (analyse.rmpi, analyse.rmpi_per_volume, analyse.changes, analyse.extremes, analyse.paths):
        with pytest.raises(AnalysisError, match="a single state, 'pristine'"):
            function(one)
    charged = tables(balls(RADII, 2), np.full((2, 40, 14), 100.0), TWELVE_STATES[1:3])
    with pytest.raises(AnalysisError, match=r"no state is pristine; there are '3\.8 V'"):
        analyse.rmpi(charged)
    assert analyse.rmpi(charged, reference="3.8 V").sizes["state"] == 2
