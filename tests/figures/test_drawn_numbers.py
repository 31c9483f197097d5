"""What figures show is what the analysis says."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import xarray as xr

from crackdask import analyse, figures
from crackdask.analysis.parameters import AnalysisError
from crackdask.figures.damage_map import _COLOURS
from tests.support.pictured import (
    NAMES,
)

# ---------------------------------------------------------------- the numbers are those of the analysis


def test_intensities(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    for name, regions, wanted in (
        ("2a_mean_intensity", ("full", "core"), analyse.intensity(store)),
        ("2b_relative_intensity", ("full", "phase_removed"), analyse.rmpi(store)),
    ):
        frame = figures.PANELS[NAMES.index(name)].frame(drawn[name][0]).set_index(["state", "region"])
        assert len(frame) == 10  # without the aged state
        for region in regions:
            for state in drawn[name][0].state.values:
                row = frame.loc[(state, region)]
                here = wanted.sel(state=state, region=region)
                assert row["mean"] == float(here["mean"])
                assert row["error_bar"] == float(here.error_bar)
                assert row["error_bar"] == 2 * row["standard_error"]
        lines = [line for line in drawn[name][1].axes[0].lines if len(line.get_xdata()) == 5]
        assert any(np.array_equal(line.get_ydata(), wanted["mean"].sel(region="full").values[:5]) for line in lines)


def test_the_smallest_deciles_are_left_out(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers = drawn["2c_intensity_by_size"][0]
    assert numbers.decile.values.tolist() == [6, 7, 8, 9, 10]
    xr.testing.assert_allclose(
        numbers, analyse.rmpi_per_volume(store).isel(decile=slice(5, None), state=slice(5)).compute()
    )
    assert len(figures.intensity_by_size(store, smallest=0).legends[0].get_texts()) == 10
    with pytest.raises(AnalysisError, match="0 to 9 can be left out, not 10"):
        figures.intensity_by_size(store, smallest=10)


def test_pies(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers, made = drawn["3ab_extreme_states"]
    xr.testing.assert_identical(numbers, analyse.extremes(store))
    for axes, word in zip(made.axes, ("least", "most"), strict=True):
        angles = [wedge.theta2 - wedge.theta1 for wedge in axes.patches]
        share = numbers[f"{word}_share"].values
        np.testing.assert_allclose(angles, 360 * share[share > 0], rtol=1e-5)
    charge = analyse.damaged_on_charge(store)
    count = drawn["3c_damaged_on_charge"][0]["count"].values
    assert count.tolist() == [
        int(charge.at_top.sum()), int((charge.anywhere & ~charge.at_top).sum()), int((~charge.anywhere).sum()),
    ]  # fmt: skip
    healed = analyse.healed_on_discharge(store).healed
    assert drawn["3d_healed_on_discharge"][0]["count"].values.tolist() == [int(healed.sum()), int((~healed).sum())]


def test_the_tree_names_every_branch_with_particles(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers, made = drawn["3e_tree_of_paths"]
    xr.testing.assert_identical(numbers, analyse.paths(store))
    seen = [text.get_text() for text in made.axes[0].texts]
    wanted = [
        f"{str(branch)[-1]}  {count} ({share:.1%})"
        for branch, count, share in zip(
            numbers.branch.values, numbers["count"].values, numbers.share.values, strict=True
        )
        if count
    ]
    assert sorted(seen) == sorted([*wanted, "20\nparticles"])
    frame = figures.PANELS[NAMES.index("3e_tree_of_paths")].frame(numbers).set_index("branch")
    assert frame.loc["DH", "before"] == "4.2 V"
    assert frame.loc["DH", "count"] == int(numbers["count"].sel(branch="DH"))


def test_damage_is_drawn_from_what_is_worked_out_already(store: xr.DataTree) -> None:
    damage = analyse.damage(store)
    for panel in figures.PANELS:
        if panel.from_damage:
            xr.testing.assert_identical(panel.collect(damage), panel.collect(store))


def test_line_profiles_are_those_of_the_volume(store: xr.DataTree) -> None:
    numbers = figures.one_particle.collect_line_profiles(store, particle=40)
    grey = store["volumes"].to_dataset().grey
    frame = figures.one_particle._lines(numbers)
    along = frame[(frame.axis == "x") & (frame.state == "4.4 V")]
    np.testing.assert_array_equal(along.grey, grey.sel(state="4.4 V").values[3, 21, 11:34])
    np.testing.assert_allclose(along.position_um, grey.x.values[11:34])
    with pytest.raises(AnalysisError, match="no particle 99; labels go from 1 to 40"):
        figures.line_profiles(store, particle=99)


def test_histogram_counts_every_voxel_of_its_slices(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers = drawn["grey_histogram"][0]
    grey, label = (store["volumes"].to_dataset()[name].values for name in ("grey", "label"))
    for k in range(6):
        np.testing.assert_array_equal(numbers.voxels.values[k], np.bincount(grey[k].ravel(), minlength=256))
        np.testing.assert_array_equal(numbers.outside.values[k], np.bincount(grey[k][label[k] == 0], minlength=256))
    np.testing.assert_allclose(numbers.background, 60, atol=1)


def test_before_registration_is_the_scan_as_it_lay(store: xr.DataTree, numbers: dict[str, xr.Dataset]) -> None:
    found = numbers["before_and_after"]
    grey = store["volumes"].to_dataset().grey.values[:, 3].astype(float)
    np.testing.assert_allclose(found.motion_voxels, [2, 4, 6, 8, 10])  # as the store's matrices say
    np.testing.assert_array_equal(found.residual_voxels, store["transforms"].residual_voxels[1:])
    for k in range(1, 6):
        here = found.isel(state=k - 1)
        np.testing.assert_array_equal(here.after, grey[k] - grey[0])
        np.testing.assert_allclose(here.before[:, 2 * k :], grey[k, :, : -2 * k] - grey[0, :, 2 * k :], atol=1e-4)
        assert np.isnan(here.before[:, : 2 * k]).all()  # from beyond the volume
        assert here.rms_before > 2 * here.rms_after


def test_damage_in_place_shows_each_particle_where_it_is(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers, made = drawn["4gh_damage_in_place"]
    assert numbers.state.values.tolist() == ["pristine", "4.4 V", "2.5 V 10 cycles"]
    label = store["volumes"].to_dataset().label.sel(state="4.4 V").values
    np.testing.assert_array_equal(numbers.label.sel(state="4.4 V"), label.max(axis=0))
    damage = analyse.damage(store)
    np.testing.assert_array_equal(numbers.damage, damage.damage.sel(state=numbers.state.values))
    frame = figures.PANELS[NAMES.index("4gh_damage_in_place")].frame(numbers)
    counted = frame.groupby(["state", "severity"]).size()
    wanted = analyse.classes(damage)["count"]
    for place, count in counted.items():
        state, severity = cast(tuple[str, str], place)  # which two columns were grouped is not in its type
        assert count == int(wanted.sel(state=state, severity=severity))
    assert sorted(set(frame[frame.in_view].particle)) == [39, 40]
    picture = made.axes[1].images[0].get_array()
    assert (picture[0, 0] == 1).all()  # nothing there
    (part,) = set(numbers.label.sel(state="4.4 V").values[20, 20:22])
    value = float(numbers.damage.sel(state="4.4 V", particle=part))
    (ends,) = [axes.get_ylim() for axes in made.axes if axes.get_label() == "<colorbar>"]
    flat = picture[20, 20] / picture[20, 20].max()
    colour = np.array(_COLOURS((value - ends[0]) / (ends[1] - ends[0]))[:3])
    np.testing.assert_allclose(flat, colour / colour.max(), atol=0.02)  # but for the light


def test_untracked_particles_are_seen_through() -> None:
    slab = np.zeros((3, 2, 4), np.uint32)
    slab[0, :, :2], slab[2, :, 1:3] = 7, 5
    label, shade = figures.damage_map._look(slab, np.array([5]))
    assert label.tolist() == [[7, 5, 5, 0]] * 2
    assert (shade[:, [0, 3]] == 1).all()
    assert (shade[:, 1:3] < 1).all()


def test_radial_profiles(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers, made = drawn["radial_profiles"]
    wanted = analyse.profiles(store, by="quartile").compute()
    xr.testing.assert_identical(numbers["mean"].drop_vars("depth_um"), wanted["mean"])
    np.testing.assert_allclose(numbers.depth_um, 0.5 * numbers.shell)
    assert [axes.get_title() for axes in made.axes] == [f"quartile {k}, n = 10" for k in (1, 2, 3, 4)]
    assert len(figures.radial_profiles(store, by="decile", start="centre", normalise="maximum").axes) == 10
    assert len(figures.radial_profiles(store, by=None).axes) == 1


def test_levels_across_scans_are_those_of_the_run(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers, made = drawn["levels_across_scan"]
    told = store.attrs["found"]["across_scan"]["4.2 V"]
    assert numbers.level.sel(state="4.2 V", round="before", axis="y").values.tolist() == told["before"]["y"]
    assert np.isnan(numbers.level.sel(state="4.2 V", round="after", axis="z").values[2])
    lines = made.axes[4].get_lines()[1:]
    np.testing.assert_allclose(lines[1].get_ydata(), 100 * np.array(told["after"]["y"], float))
    alone = store.copy()
    before = {name: {"before": each["before"]} for name, each in store.attrs["found"]["across_scan"].items()}
    alone.attrs["found"] = {**store.attrs["found"], "across_scan": before}
    assert len(figures.levels_across_scan(alone).axes) == 3
    alone.attrs["found"] = {}
    with pytest.raises(AnalysisError, match="run it again"):
        figures.levels_across_scan(alone)


def test_sizes_count_every_particle(drawn: dict[str, Any]) -> None:
    numbers = drawn["particle_sizes"][0]
    assert (int(numbers.found.sum()), int(numbers.tracked.sum())) == (40, 40)


def test_reconstruction(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    table = store["reconstruction"].to_dataset()
    numbers, picture = drawn["center_strip"]
    assert [axes.get_title() for axes in picture.axes] == [f"{at:.2f}" for at in table.strip_center.values[0]]
    bold = [axes.get_title() for axes in picture.axes if axes.title.get_weight() == "bold"]
    assert bold == ["63.40"]
    np.testing.assert_array_equal(picture.axes[3].images[0].get_array(), table.strip.values[0, 3])
    numbers, picture = drawn["rotation_center"]
    assert len(numbers.state) == 5  # the last state was a tomogram already
    np.testing.assert_array_equal(picture.axes[0].lines[0].get_ydata(), table.spread.values[0])
    shown = drawn["ring_removal"][1].axes[2:4]
    for axes, wanted in zip(shown, table.slice.values[0], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), wanted)
    left = drawn["detector_flaws"][1].axes[0]
    wanted = table.flaws.sel(flaw="saturated").values[:5].mean(axis=0)
    np.testing.assert_allclose(left.lines[0].get_ydata(), wanted, rtol=1e-12)
    with pytest.raises(AnalysisError, match=r"has none; those that have are .*pristine"):
        figures.center_strip(store, "2.5 V 10 cycles")


def test_the_window_of_reconstructed_scans_is_attenuation(store: xr.DataTree) -> None:
    low, high = store.attrs["found"]["window"]
    assert figures.histogram.collect_grey_histogram(store).attrs["raw"] == "counts"  # a state was a tomogram already
    made = store["reconstruction"].to_dataset().isel(state=[0] * store["volumes"].sizes["state"])
    real = store.copy()
    real["reconstruction"] = xr.DataTree(made.drop_vars(["window", "beyond"], errors="ignore"))
    numbers = figures.histogram.collect_grey_histogram(real)
    assert (numbers.attrs["raw"], numbers.attrs["window"]) == ("attenuation", [low, high])
    levels = store.copy()
    levels["reconstruction"] = xr.DataTree(
        made.assign(window=(("state", "level"), np.full((made.sizes["state"], 2), (-0.5, 1.5))))
    )
    numbers = figures.histogram.collect_grey_histogram(levels)
    assert numbers.attrs["window"] == pytest.approx([2 * end / 65535 - 0.5 for end in (low, high)])
    upper = figures.histogram.draw_grey_histogram(numbers).axes[0].child_axes[0]
    assert upper.get_xlabel().startswith("attenuation in the scans (1 / voxel; window -0.49")
