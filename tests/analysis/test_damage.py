"""The damage factor, its errors, and what follows from it, against what was programmed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from crackdask import analyse
from crackdask.analyse import DAMAGE_FACTORS, AnalysisError
from crackdask.phantom import FIVE_STATES, TWELVE_STATES
from tests.support.cracked import VOID, cracked
from tests.support.tabled import balls, replaced, tables


def programmed(seed=0, n=600):
    rng = np.random.default_rng(seed)
    radii = rng.uniform(5, 20, n)
    void = rng.uniform(0.02, 0.25, (5, n))
    void[0] = np.abs(rng.normal(0, 0.01, n))
    void[0, rng.random(n) < 0.05] += 0.3  # some are cracked before they are cycled
    return cracked(void, radii), void, radii


@pytest.fixture
def registry():
    """Let a test add damage factors."""
    before = dict(DAMAGE_FACTORS)
    yield analyse.define_damage
    DAMAGE_FACTORS.clear()
    DAMAGE_FACTORS.update(before)


def test_excess_void_is_the_programmed_void_and_free_of_size():
    tree, void, radii = programmed()
    found = analyse.damage(tree)
    typical = np.median(void[0])
    np.testing.assert_allclose(found.damage, (void - typical) / (1 - typical), atol=0.012)
    core = found.core_grey.values
    assert np.corrcoef(radii, core[0])[0, 1] > 0.5  # what the factor has to remove
    for state in range(5):
        assert abs(np.corrcoef(radii, found.damage[state])[0, 1]) < 0.1
    assert found.attrs["void_grey_source"] == "background peak of the reference"
    assert found.attrs["reference"] == "pristine"
    assert found.damage.attrs["units"] == "1"
    assert "void fraction" in found.damage.attrs["long_name"]


@pytest.mark.parametrize(
    ("group", "axis", "chosen"),
    [("particles", "particle", slice(None, None, 2)), ("shells", "state", slice(None, None, -1))],
)
def test_tables_that_were_cut_apart_are_not_mixed_up(group, axis, chosen):
    tree, _, _ = programmed()
    whole = analyse.damage(tree)
    tree[group] = xr.DataTree(tree[group].to_dataset().isel({axis: chosen}))
    with pytest.raises(AnalysisError, match=rf"have not the same {axis}s in the same order; give the store as it was"):
        analyse.damage(tree)
    with pytest.raises(AnalysisError, match=r"in the same order"):
        analyse.rmpi(tree)
    assert whole.damage.isel({axis: chosen}).size  # of the result it can be chosen


def test_dark_particles_before_a_bright_background():
    tree = cracked(np.tile([[0.0], [0.1], [0.2], [0.1], [0.0]], 50), np.linspace(5, 15, 50))
    shells = tree["shells"].to_dataset()
    shells["grey_sum"] = 255 * shells.voxels.astype(np.uint64) - shells.grey_sum
    found = analyse.damage(replaced(tree, shells=shells), void_grey=255 - VOID)
    np.testing.assert_allclose(found.damage.mean("particle"), [0, 0.1, 0.2, 0.1, 0], atol=0.01)


def test_void_and_noise_are_given_measured_or_estimated_and_say_so():
    tree, _, _ = programmed()
    given_both = analyse.damage(tree, void_grey=50, noise=2)
    assert (given_both.attrs["void_grey"], given_both.attrs["noise"]) == (50, 2)
    assert given_both.attrs["noise_source"] == given_both.attrs["void_grey_source"] == "given"
    counts = tree["histograms"].to_dataset().copy(deep=True)
    counts.voxels[:] = 0
    counts.voxels[..., 105], counts.voxels[..., 150] = 3, 97  # voxels half in the background, and solid ones
    tree = replaced(tree, histograms=counts)
    tree.attrs["found"] = {}
    with pytest.warns(UserWarning, match="does not tell") as said:
        found = analyse.damage(tree)
    assert len(said) == 2
    assert found.attrs["noise"] == pytest.approx(5, abs=0.3)
    assert found.attrs["void_grey"] == 60
    assert found.attrs["void_grey_source"].startswith("estimated")


def test_a_void_as_bright_as_a_core_is_refused():
    tree, _, _ = programmed()
    with pytest.raises(AnalysisError, match=r"grey level of a void, 150 \(given\), is not outside"):
        analyse.damage(tree, void_grey=150)


@pytest.mark.parametrize("name", ["excess_void", "core_darkening"])
def test_errors_cover_the_noise_of_drawn_voxels(name):
    rng = np.random.default_rng(5)
    n, noise = 700, 6.0
    radii = rng.uniform(4, 7, n)
    tree = cracked(np.zeros((2, n)), radii, FIVE_STATES[:2], noise=noise)
    shells = tree["shells"].to_dataset()
    voxels = shells.voxels.values
    mean = shells.grey_sum.values / np.maximum(voxels, 1)
    drawn = np.rint(np.repeat(mean.ravel(), voxels.ravel()) + rng.normal(0, noise, int(voxels.sum())))
    owner = np.repeat(np.arange(voxels.size), voxels.ravel())
    shells["grey_sum"] = shells.grey_sum.copy(
        data=np.bincount(owner, drawn, voxels.size).astype(np.uint64).reshape(voxels.shape)
    )
    found = analyse.changes(replaced(tree, shells=shells), damage=name)
    inside = float((np.abs(found.change) <= 1.96 * found.standard_error).mean())
    assert 0.90 < inside < 0.98
    assert 0.02 < float(found.beyond_noise.mean()) < 0.09
    assert float(np.median(found.standard_error) / found.spread[0]) == pytest.approx(1, abs=0.25)


def test_errors_of_correlated_noise():
    sigma, edge = 1.2, 12
    noise = gaussian_filter(np.random.default_rng(2).normal(size=(96, 96, 96)), sigma, mode="wrap")
    boxes = noise.reshape(8, edge, 8, edge, 8, edge).mean(axis=(1, 3, 5))
    tree = cracked(np.zeros((2, 20)), np.linspace(8, 12, 20), FIVE_STATES[:2])
    table = analyse.evidence(tree, noise=float(noise.std()), noise_correlation=sigma)
    wanted = table.mean_grey_error * np.sqrt(table.voxels) / np.sqrt(edge**3)
    lost_at_faces = (1 - 2 * sigma / np.sqrt(np.pi) / edge) ** 1.5
    assert float(boxes.std() / wanted.isel(state=0, particle=0, region=0) / lost_at_faces) == pytest.approx(1, abs=0.08)
    white = analyse.evidence(tree, noise=1.0).mean_grey_error
    np.testing.assert_allclose(white, 1 / np.sqrt(table.voxels.where(table.voxels > 0)))


def test_a_definition_of_ones_own(registry):
    @registry("rim_contrast", "1", "how much darker the core is than the whole")
    def rim_contrast(table):
        grey = table.mean_grey
        return 1 - grey.sel(region="core", drop=True) / grey.sel(region="full", drop=True)

    tree, void, _ = programmed(n=80)
    found = analyse.damage(tree, damage="rim_contrast")
    assert found.attrs["definition"] == "how much darker the core is than the whole"
    assert np.corrcoef(found.damage.values.ravel(), void.ravel())[0, 1] > 0.5
    assert np.isnan(found.standard_error).all()
    change = analyse.changes(found)
    assert np.isnan(change.z_noise).all()
    assert not change.beyond_noise.any()
    assert analyse.paths(found).sizes["branch"] == 30


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda table: table.mean_grey, "one damage for each state and particle"),
        (lambda table: table.mean_grey.isel(state=0, region=0), "one damage for each state and particle"),
        (lambda table: table.mean_grey.isel(region=0, drop=True) * np.nan, "not a finite number for 250 of 250"),
        (lambda table: 3, "must return a DataArray"),
        (lambda table: table, "must return a DataArray, or a Dataset of damage and standard_error, not Dataset of"),
    ],
)
def test_a_wrong_definition_is_told(registry, function, said):
    registry("wrong", "1", "wrong")(function)
    tree, _, _ = programmed(n=50)
    with pytest.raises(AnalysisError, match=said):
        analyse.damage(tree, damage="wrong")


def test_an_unknown_definition_names_the_known_ones():
    tree, _, _ = programmed(n=50)
    with pytest.raises(AnalysisError, match="'void'; there are excess_void, core_darkening"):
        analyse.damage(tree, damage="void")


def made(damage, error=0.01, chosen=FIVE_STATES, radius=None):
    """Return damage as `analyse.damage` does, with chosen numbers."""
    n = damage.shape[1]
    tree = tables(balls(np.full(n, 5.0), len(chosen)), np.full((len(chosen), n, 5), 100.0), chosen)
    found = analyse.damage(tree, noise=1, scale_error=0.0)
    found["damage"] = found.damage.copy(data=damage)
    found["core_grey"] = found.core_grey.copy(data=150 - 90 * damage)
    for name in ("noise_error", "scan_error", "standard_error"):
        found[name] = xr.full_like(found.damage, error)
    return found if radius is None else found.assign_coords(radius_um=("particle", np.asarray(radius, float)))


def test_changes_against_noise_and_against_what_all_do():
    rng = np.random.default_rng(1)
    damage = np.cumsum(rng.normal(0.02, 0.03, (5, 400)), axis=0)
    damage[2, 7] = damage[1, 7] + 0.5
    found = analyse.changes(made(damage))
    assert found.state.values.tolist() == [s.name for s in FIVE_STATES[1:]]
    assert found.since.values.tolist() == [s.name for s in FIVE_STATES[:4]]
    np.testing.assert_allclose(found.change, np.diff(damage, axis=0))
    np.testing.assert_allclose(found.z_noise, np.diff(damage, axis=0) / np.hypot(0.01, 0.01))
    np.testing.assert_allclose(found.spread, 0.03, atol=0.005)
    assert bool(found.beyond_spread[1, 7])
    assert bool(found.beyond_noise[1, 7])
    assert 0.02 < float(found.beyond_spread.mean()) < 0.08
    since = analyse.changes(made(damage), since="pristine", significance=4)
    np.testing.assert_allclose(since.change, damage[1:] - damage[:1])
    assert (since.beyond_noise == (np.abs(since.z_noise) >= 4)).all()
    middle = analyse.changes(made(damage), since="4.4 V")
    assert middle.state.values.tolist() == ["pristine", "4.2 V", "4.2 V DC", "2.5 V DC"]
    with pytest.raises(AnalysisError, match="and 'previous'"):
        analyse.changes(made(damage), since="before")


def test_classes_by_two_limits():
    damage = np.tile(np.array([-0.1, 0.0299, 0.03, 0.0799, 0.08, 0.5]), (5, 1))
    found = analyse.classes(made(damage))
    assert found.severity_number[0].values.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.severity.values.tolist() == ["minimal", "moderate", "high"]
    np.testing.assert_allclose(found.share, 1 / 3)
    moved = analyse.classes(made(damage), class_limits=[0, 10])
    assert moved["count"].values.tolist() == [[1, 5, 0]] * 5


def test_best_and_worst_states():
    damage = np.array([[0, 1, 2, 0], [1, 0, 3, 0], [2, 5, 1, 0], [3, 2, 9, 0], [4, 3, 0, 0]], float)
    found = analyse.extremes(made(damage))
    assert found.least_state.values.tolist() == ["pristine", "4.2 V", "2.5 V DC", "pristine"]
    assert found.most_state.values.tolist() == ["2.5 V DC", "4.4 V", "4.2 V DC", "pristine"]
    assert found.least_share.values.tolist() == [0.5, 0.25, 0, 0, 0.25]
    assert found.most_count.values.tolist() == [1, 0, 1, 1, 1]


def test_damaged_on_charge_and_healed_on_discharge():
    damage = np.zeros((12, 4))
    damage[1:7, 0] = 0.1  # damaged all the way, healed
    damage[2, 1], damage[6, 1] = 0.1, -0.1  # damaged in between, better at the top, and worse again
    damage[6:, 2] = 0.2  # damaged at the top for good
    found = made(damage, chosen=TWELVE_STATES)
    charge = analyse.damaged_on_charge(found)
    assert charge.attrs["top"] == "4.4 V"
    assert charge.anywhere.values.tolist() == [True, True, True, False]
    assert charge.at_top.values.tolist() == [True, False, True, False]
    assert (float(charge.share_anywhere), float(charge.share_at_top)) == (0.75, 0.5)
    discharge = analyse.healed_on_discharge(found)
    assert (discharge.attrs["top"], discharge.attrs["last"]) == ("4.4 V", "2.5 V DC")
    assert discharge.healed.values.tolist() == [True, False, False, False]
    assert float(discharge.share) == 0.25


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 2**32 - 1))),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.integers(2, 5),
)
def test_the_tree_adds_up_at_every_level(drawn, largest, levels):
    n, seed = drawn
    rng = np.random.default_rng(seed)
    damage, radius = rng.integers(-3, 4, (5, n)) / 100, rng.permutation(n)
    found = made(damage, radius=radius)
    chosen = [s.name for s in FIVE_STATES[:levels]]
    tree = analyse.paths(found, states=chosen, largest=largest)
    size = max(1, int(np.ceil(largest * n)))
    rows = np.flatnonzero(radius >= n - size)
    np.testing.assert_array_equal(tree.particle, rows + 1)
    step = np.diff(damage[:levels, rows], axis=0)
    wanted = ["".join("D" if d > 0 else "H" for d in column) for column in step.T]
    assert tree.path.values.tolist() == wanted
    for level in range(1, levels):
        part = tree.isel(branch=np.flatnonzero(tree.level == level))
        counts = Counter(path[:level] for path in wanted)
        assert {b: int(c) for b, c in zip(part.branch.values, part["count"].values, strict=True) if c} == counts
        assert float(part.share.sum()) == pytest.approx(1)
        for branch in part.branch.values:
            mine = [k for k, path in enumerate(wanted) if path.startswith(branch)]
            change = float(part.mean_change.sel(branch=branch))
            assert np.isnan(change) if not mine else change == pytest.approx(step[level - 1, mine].mean())
            if level < levels - 1:
                assert int(tree["count"].sel(branch=[branch + "D", branch + "H"]).sum()) == len(mine)
    rank = analyse.ranking(tree)
    assert (np.diff(rank["count"]) <= 0).all()
    assert {p: int(c) for p, c in zip(rank.path.values, rank["count"].values, strict=True)} == Counter(wanted)


def test_programmed_paths_come_back_from_the_shells():
    rng = np.random.default_rng(4)
    n = 400
    programme = np.array([list(p) for p in rng.choice(["DDDH", "DHDH", "DDHH", "HDDD"], n, p=[0.4, 0.3, 0.2, 0.1])])
    step = np.where(programme == "D", 0.05, -0.02).T
    void = np.cumsum(np.concatenate([np.full((1, n), 0.05), step]), axis=0)
    radii = rng.uniform(6, 15, n)
    tree = cracked(void, radii)
    found = analyse.paths(tree)
    assert found.before.values.tolist() == ["pristine", "4.2 V", "4.4 V", "4.2 V DC"]
    assert found.sizes["particle"] == 200
    assert found.path.values.tolist() == ["".join(programme[k - 1]) for k in found.particle.values]
    assert analyse.ranking(found).path.values[0] == "DDDH"
    np.testing.assert_allclose(found.mean_change.sel(branch=["D", "DDDH"]), [0.05 / 0.95, -0.02 / 0.95], atol=0.004)
    np.testing.assert_allclose(found.mean_grey_change.sel(branch="D"), -5, atol=0.6)


def test_the_papers_states_are_found_by_step_and_voltage():
    damage = np.arange(12.0)[:, None] * np.array([1.0, 2.0])
    found = analyse.paths(made(damage, chosen=TWELVE_STATES))
    assert found.after.values.tolist() == ["4.2 V", "4.4 V", "4.2 V DC", "2.5 V DC"]
    whole = analyse.paths(made(damage, chosen=TWELVE_STATES), path_states=[s.name for s in TWELVE_STATES])
    assert whole.sizes["branch"] == 2**12 - 2
    assert float(whole["count"].sel(branch="D" * 11)) == 1


def test_states_that_are_missing_are_named():
    three = FIVE_STATES[:3]
    found = made(np.random.default_rng(0).random((3, 4)), chosen=three)
    with pytest.raises(AnalysisError, match=r"the tree needs discharge at 4.2 V, discharge at 2.5 V; there are 'pris"):
        analyse.paths(found)
    with pytest.raises(AnalysisError, match=r"no state of step discharge follows the top of charge, '4\.4 V'"):
        analyse.healed_on_discharge(found)
    with pytest.raises(AnalysisError, match="no state is named 'x'"):
        analyse.paths(found, states=["pristine", "x"])
    with pytest.raises(AnalysisError, match="two or more different states"):
        analyse.paths(found, states=["pristine"])
    pristine = made(np.zeros((2, 3)), chosen=(FIVE_STATES[0], TWELVE_STATES[11]))
    with pytest.raises(AnalysisError, match="no state is of step charge"):
        analyse.damaged_on_charge(pristine)


def test_damage_that_is_made_is_not_changed_behind_ones_back():
    found = made(np.zeros((5, 3)))
    with pytest.raises(AnalysisError, match="rim_shells decides the damage"):
        analyse.classes(found, rim_shells=2)
    with pytest.raises(AnalysisError, match="not another Dataset"):
        analyse.classes(xr.Dataset())
    with pytest.raises(AnalysisError, match="significance"):
        analyse.classes(found, significance=-1)


def test_damage_of_a_single_state():
    found = analyse.damage(cracked(np.zeros((1, 40)), np.linspace(6, 12, 40), FIVE_STATES[:1]))
    np.testing.assert_allclose(found.scan_error, found.noise_error)
    assert np.isfinite(found.standard_error).all()
