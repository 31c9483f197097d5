"""The figures: each draws what it says, with units, and with the numbers of the analysis."""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module
from typing import Any, cast

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from crackdask import analyse, figures
from crackdask.analysis.parameters import AnalysisError
from crackdask.figures.damage_map import _COLOURS
from crackdask.figures.state_axis import along_states
from crackdask.figures.style import ramp
from crackdask.phantom import FIVE_STATES, State
from tests.support.pictured import PARTICLES, collect_all, draw_all, electrode, empty_panes, faults, texts
from tests.support.tabled import balls, tables

NAMES = [panel.name for panel in figures.PANELS]
CRACKS = {"4i_crack_surface", "4j_crack_skeleton"}


def function_of(panel: figures.Panel) -> str:
    """Return the name of the public function of a panel: what it collects, or what it draws of shared numbers."""
    collected = panel.collect.__name__.removeprefix("collect_")
    return collected if collected in figures.__all__ else panel.draw.__name__.removeprefix("draw_")


@pytest.fixture(scope="module")
def store() -> xr.DataTree:
    return electrode()


@pytest.fixture(scope="module")
def numbers(store: xr.DataTree) -> dict[str, xr.Dataset]:
    made, missing = collect_all(store)
    assert missing == {}
    return made


@pytest.fixture(scope="module")
def pictures(numbers: dict[str, xr.Dataset]) -> dict[str, Figure]:
    return draw_all(numbers)


@pytest.fixture(scope="module")
def drawn(numbers: dict[str, xr.Dataset], pictures: dict[str, Figure]) -> dict[str, tuple[xr.Dataset, Figure]]:
    return {name: (numbers[name], pictures[name]) for name in NAMES}


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", NAMES)
def test_axes_say_what_they_show_and_in_which_unit(pictures: dict[str, Figure], name: str) -> None:
    made = pictures[name]
    assert made.axes
    assert not empty_panes(made)
    seen = " ".join(text.get_text() for text in texts(made))
    if name in ("3ab_extreme_states", "3c_damaged_on_charge", "3d_healed_on_discharge"):
        assert "%" in seen
        return
    if name in ("1a_line_profiles", "slices", "4gh_damage_in_place", "before_and_after", *CRACKS):
        assert "µm" in seen
    for axes in made.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shared = not any(label.get_visible() for label in axis.get_ticklabels())
            if len(axis.get_ticklocs()) and axis.get_visible() and not shared and axes.get_label() != "<colorbar>":
                words = axis.label.get_text()
                assert "(" in words or name in ("1a_line_profiles", "4gh_damage_in_place"), (name, words)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_cut_off_and_none_lies_on_another(pictures: dict[str, Figure], name: str) -> None:
    assert faults(pictures[name]) == []


def test_faults_are_seen() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    made = Figure()
    made.text(0.5, 0.5, "one")
    made.text(0.5, 0.5, "other")
    made.text(0.99, 0.1, "beyond")
    made.add_subplot()
    FigureCanvasAgg(made).draw()
    assert faults(made) == ["cut off: 'beyond'", "'one' on 'other'"]
    assert empty_panes(made) == 1


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_states_can_be_told_apart_in_grey(count: int) -> None:
    light = [np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) for colour in ramp(count)]
    assert all(np.diff(light) > 0.02)
    shades = _COLOURS(np.linspace(0, 1, 11))[:, :3] @ (0.299, 0.587, 0.114)
    assert all(np.diff(shades) < -0.03)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_come_as_a_table(drawn: dict[str, Any], name: str) -> None:
    panel = figures.PANELS[NAMES.index(name)]
    frame = panel.frame(drawn[name][0])
    assert len(frame)
    assert all(isinstance(column, str) for column in frame.columns)
    for column in frame.select_dtypes(exclude=["number", "bool"]):
        assert all(type(value) is str for value in frame[column])


def test_each_is_a_function_of_the_store(store: xr.DataTree) -> None:
    assert sorted(map(function_of, figures.PANELS)) == sorted(set(figures.__all__) - {"PANELS", "Panel"})
    for name in ("extreme_states", "damaged_on_charge", "aged_intensity", "particle_sizes", "registration"):
        assert isinstance(getattr(figures, name)(store), Figure)


def test_the_users_settings_stay_and_do_not_matter(store: xr.DataTree) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 31, "text.parse_math": True}):
        made = figures.mean_intensity(store)
        assert mpl.rcParams["font.size"] == 31
    assert made.axes[0].yaxis.label.get_fontsize() == 9


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


# ---------------------------------------------------------------- what cannot be drawn says why

VOXELS = {"slices", "grey_histogram", "particle_sizes", "levels_across_scan"}
DAMAGE = {"3ab_extreme_states", "3c_damaged_on_charge", "3d_healed_on_discharge", "3e_tree_of_paths"}
MOTION = {"registration", "before_and_after", "uneven_motion"}
PROJECTED = {panel.name for panel in figures.PANELS if panel.group == "reconstruction"}
CELL = {"cell_over_time", "cell_capacity"}  # of the cell alone, whatever its particles
AGED = {"4e_aged_intensity", "4f_aged_by_size"}
A_LONG_NAME = "a long name of state {} at $4.{}$ V <b>"


def states_of(*steps: str) -> list[State]:
    return [State(f"{step} {k}", 3 + 0.1 * k, step, 0) for k, step in enumerate(steps)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("store_of", "missing", "why"),
    [
        (
            lambda: electrode(FIVE_STATES[:1]),
            DAMAGE | AGED | MOTION | {"2b_relative_intensity", "2c_intensity_by_size"},
            r"a single state|no state is of step charge|no state is of step aged|no state moved unevenly",
        ),
        (
            lambda: electrode(tracked=np.zeros(PARTICLES, bool)),
            set(NAMES) - VOXELS - MOTION - PROJECTED - CELL,
            "no particles of 40 tracked",
        ),
        (
            lambda: electrode(tracked=np.arange(PARTICLES) == PARTICLES - 1),
            set(NAMES) - VOXELS - MOTION - PROJECTED - CELL - {"1a_line_profiles"} - CRACKS,
            "1 particle of 40 tracked, and two or more are needed",
        ),
        (
            lambda: electrode(particles=1),
            set(NAMES) - VOXELS - MOTION - PROJECTED - CELL - {"1a_line_profiles"} - CRACKS,
            "1 particle of 1 tracked, and two or more are needed",
        ),
        (
            lambda: electrode(particles=2),
            {name for name in NAMES if name[:2] in ("2c", "4d", "4f")} | {"radial_profiles"},
            r"2 particles cannot make (10|4) groups",
        ),
        (
            lambda: electrode(states_of("pristine", "aged")),
            DAMAGE - {"3ab_extreme_states"},
            r"no state is of step charge|the tree needs charge at 4.2 V",
        ),
        (
            lambda: electrode(states_of("pristine", "charge", "charge")),
            AGED | {"3d_healed_on_discharge", "3e_tree_of_paths"},
            r"no state of step discharge|the tree needs|no state is of step aged",
        ),
    ],
    ids=["one state", "none tracked", "one tracked", "one particle", "two particles", "aged only", "charge only"],
)
def test_a_poor_store_shows_what_it_can(store_of: Any, missing: set[str], why: str) -> None:
    poor = store_of()
    found, reasons = collect_all(poor)
    assert set(reasons) == missing
    for words in reasons.values():
        assert re.search(why, words), words
    made = draw_all(found) if poor["particles"].sizes["state"] == 1 or poor["particles"].sizes["particle"] < 3 else {}
    assert {name: faults(picture) for name, picture in made.items() if faults(picture)} == {}
    assert not [name for name, picture in made.items() if empty_panes(picture)]


def test_twelve_states_with_long_names_have_room() -> None:
    steps = ["pristine", *["charge"] * 6, *["discharge"] * 4, "aged"]
    names = ["pristine", *(A_LONG_NAME.format(k, k) for k in range(1, 12))]
    volts = [3.0, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4, 4.2, 4.0, 3.8, 2.5, 2.5]
    found, missing = collect_all(electrode([State(*one) for one in zip(names, volts, steps, strict=True)]))  # type: ignore[arg-type]
    assert missing == {}
    made = draw_all(found)
    assert {name: faults(picture) for name, picture in made.items() if faults(picture)} == {}


def test_a_damage_definition_without_a_value(store: xr.DataTree) -> None:
    @analyse.define_damage("nothing", "1", "not a number")
    def nothing(table: xr.Dataset) -> xr.DataArray:
        return table.mean_grey.sel(region="core", drop=True) * np.nan

    try:
        for name in ("extreme_states", "damage_in_place"):
            with pytest.raises(AnalysisError, match="'nothing' is not a finite number for 240 of 240 particles and"):
                getattr(figures, name)(store, damage="nothing")
        assert figures.line_profiles(store, damage="nothing").axes  # of the largest particle
    finally:
        del analyse.DAMAGE_FACTORS["nothing"]


def test_a_store_without_volumes(store: xr.DataTree) -> None:
    bare = tables(balls([5.0, 11.0], 5), np.full((5, 2, 11), 200.0))
    for name in ("slices", "grey_histogram", "line_profiles", "damage_in_place", "crack_surface", "crack_skeleton"):
        with pytest.raises(AnalysisError, match="no volumes"):
            getattr(figures, name)(bare)
    with pytest.raises(AnalysisError, match="no table 'transforms'"):
        figures.registration(bare)


def test_states_that_were_not_registered(store: xr.DataTree) -> None:
    made = store.copy()
    made.attrs["recipe"] = {**made.attrs["recipe"], "register": {"transform": "none"}}
    for name in ("registration", "before_and_after"):
        with pytest.raises(AnalysisError, match="not registered"):
            getattr(figures, name)(made)


def test_ticks_of_states() -> None:
    axes = Figure().add_subplot()
    along_states(axes, ["pristine", "a very long name of a state"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["pristine", "a very long\n…of a state"]


def test_every_module_of_figures_is_in_the_report_and_every_figure_is_offered() -> None:
    modules = [import_module(f"crackdask.figures.{found.name}") for found in pkgutil.iter_modules(figures.__path__)]
    panels = [panel for module in modules for panel in getattr(module, "PANELS", ())]
    assert {panel.name for panel in panels} == {panel.name for panel in figures.PANELS}
    assert len(panels) == len(figures.PANELS) == len({panel.name for panel in panels})
    drawn = {
        name
        for module in modules
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith(("_", "draw_"))
        and inspect.signature(function).return_annotation == "Figure"
        and module.__name__ != "crackdask.figures.style"
    }
    assert len(drawn) > 15
    assert drawn == {name for name in figures.__all__ if name.islower()}


def test_panels_are_in_the_order_of_the_paper() -> None:
    of_the_paper = [panel.name for panel in figures.PANELS if panel.name[0].isdigit()]
    assert of_the_paper == sorted(of_the_paper)
    assert [panel.name for panel in figures.PANELS[: len(of_the_paper)]] == of_the_paper
