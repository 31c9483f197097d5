"""The figures: each draws what it says, with units, and with the numbers of the analysis."""

from __future__ import annotations

import io
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from crackdask import analyse, figures
from crackdask.figures.style import along_states, style
from crackdask.phantom import State
from crackdask.regions import AnalysisError
from tests.tabled import balls, replaced, tables

RADII = np.linspace(4, 11, 40)
NAMES = [panel.name for panel in figures.PANELS]
CRACKS = ("4i_crack_surface", "4j_crack_skeleton")
NOT_ONLY_TABLES = ("1a_line_profiles", *CRACKS, "slices", "grey_histogram", "registration")
TABLES_ONLY = [name for name in NAMES if name not in NOT_ONLY_TABLES]


def electrode(states: Any = None, tracked: Any = None) -> xr.DataTree:
    """Return a store of 40 balls that darken and recover in their own ways, with a tiny volume of two of them."""
    rng = np.random.default_rng(5)
    some = {} if states is None else {"states": states}
    count = 5 if states is None else len(states)
    voxels = balls(RADII, count)
    change = np.concatenate([[np.zeros(40)], np.cumsum(rng.normal(-2, 6, (count - 1, 40)), axis=0)])
    made = tables(voxels, 200 + 0 * voxels + change[..., None], tracked=tracked, **some)
    made.attrs["found"] |= {"window": [10.0, 500.0], "threshold": {"any": 120.0}, "solid": 200.0}
    made.attrs["recipe"]["register"] = {"transform": "rigid", "max_residual_voxels": 1.0}
    label = np.zeros((count, 6, 30, 34), np.uint32)
    label[:, 1:5, 4:14, 4:14], label[:, 1:5, 15:27, 15:30] = 39, 40
    grey = np.where(label > 0, 200, 60) + rng.integers(-9, 10, label.shape)
    first, last = np.zeros(40, int), np.ones(40, int)
    particles = made["particles"].to_dataset()
    box = {"z": (1, 5), "y": (15, 27), "x": (15, 30)}
    for axis, ends in box.items():
        for end, known, other in zip("01", ends, (first, last), strict=True):
            column = np.broadcast_to(np.where(np.arange(40) == 39, known, other), (count, 40))
            particles[f"bbox_{axis}{end}"] = (("state", "particle"), column)
    # No cracks are looked for in particles that are not in the volume.
    particles["touches_invalid"] = (("state", "particle"), np.broadcast_to(np.arange(40) != 39, (count, 40)))
    particles["voxels"] = (("state", "particle"), voxels.sum(axis=2).astype(np.uint32))
    along = {name: particles[name] for name in ("state", "voltage", "step", "cycle")}
    places = {axis: (np.arange(n) + 0.5) * 0.5 for axis, n in zip("zyx", label.shape[1:], strict=True)}
    dims = ("state", "z", "y", "x")
    volumes = xr.Dataset({"grey": (dims, grey.astype(np.uint8)), "label": (dims, label)}, {**along, **places})
    residual = xr.Dataset({"residual_voxels": ("state", np.linspace(0, 0.2, count))}, along)
    return replaced(made, particles=particles, volumes=volumes, transforms=residual)


@pytest.fixture(scope="module")
def store() -> xr.DataTree:
    return electrode()


@pytest.fixture(scope="module")
def drawn(store: xr.DataTree) -> dict[str, tuple[xr.Dataset, Figure]]:
    made = {}
    for panel in figures.PANELS:
        numbers = panel.collect(store)
        made[panel.name] = (numbers, panel.draw(numbers))
        with style():
            made[panel.name][1].savefig(io.BytesIO(), format="png", dpi=60)
    return made


def texts(made: Figure) -> list[Any]:
    """Return the texts of a figure that are seen."""
    from matplotlib.text import Text

    return [text for text in made.findobj(Text) if text.get_text().strip() and text.get_visible()]


def ticks_out_of_view(made: Figure) -> list[Any]:
    """Return labels of ticks that matplotlib keeps but does not draw."""
    found = []
    for axes in [*made.axes, *(child for parent in made.axes for child in parent.child_axes)]:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                if not low <= tick.get_loc() <= high:
                    found += [tick.label1, tick.label2]
    return found


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", NAMES)
def test_axes_say_what_they_show_and_in_which_unit(drawn: dict[str, Any], name: str) -> None:
    made = drawn[name][1]
    assert made.axes
    seen = " ".join(text.get_text() for text in texts(made))
    if name in ("3ab_extreme_states", "3c_damaged_on_charge", "3d_healed_on_discharge"):
        assert "%" in seen
        return
    if name in ("1a_line_profiles", "slices", *CRACKS):
        assert "µm" in seen
    for axes in made.axes:
        assert axes.has_data() or axes.patches or axes.collections
        for axis in (axes.xaxis, axes.yaxis):
            shared = axis is axes.yaxis and not any(label.get_visible() for label in axis.get_ticklabels())
            if len(axis.get_ticklocs()) and axis.get_visible() and not shared and axes.get_label() != "<colorbar>":
                words = axis.label.get_text()
                assert "(" in words or name == "1a_line_profiles", (name, words)


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_cut_off_and_none_lies_on_another(drawn: dict[str, Any], name: str) -> None:
    made = drawn[name][1]
    page = made.bbox
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes, beyond = [], ticks_out_of_view(made)
    for text in texts(made):
        box = text.get_window_extent(renderer)
        if text in beyond:
            continue
        assert page.x0 - 1 <= box.x0, text
        assert box.x1 <= page.x1 + 1, text
        assert page.y0 - 1 <= box.y0, text
        assert box.y1 <= page.y1 + 1, text
        if text.get_rotation() % 90 == 0:  # the box around slanted words says nothing
            boxes.append((text.get_text(), box.shrunk(0.9, 0.9)))
    hits = [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    assert not hits


@pytest.mark.parametrize("name", NAMES)
def test_numbers_come_as_a_table(drawn: dict[str, Any], name: str) -> None:
    panel = figures.PANELS[NAMES.index(name)]
    frame = panel.frame(drawn[name][0])
    assert len(frame)
    assert all(isinstance(column, str) for column in frame.columns)
    for column in frame.select_dtypes(exclude=["number", "bool"]):
        assert all(type(value) is str for value in frame[column])


@pytest.mark.parametrize("draw", figures.__all__[2:])
def test_each_is_a_function_of_the_store(store: xr.DataTree, draw: str) -> None:
    assert isinstance(getattr(figures, draw)(store), Figure)


def test_the_users_settings_stay_and_do_not_matter(store: xr.DataTree) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 31, "text.parse_math": True}):
        made = figures.mean_intensity(store)
        assert mpl.rcParams["font.size"] == 31
    assert made.axes[0].yaxis.label.get_size() == 9


# ---------------------------------------------------------------- the numbers are those of the analysis


def test_intensities(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    for name, regions, wanted in (
        ("2a_mean_intensity", ("full", "core"), analyse.intensity(store)),
        ("2b_relative_intensity", ("full", "phase_removed"), analyse.rmpi(store)),
    ):
        frame = figures.PANELS[NAMES.index(name)].frame(drawn[name][0]).set_index(["state", "region"])
        assert len(frame) == 10
        for region in regions:
            for state in store["particles"].state.values:
                row = frame.loc[(state, region)]
                here = wanted.sel(state=state, region=region)
                assert row["mean"] == float(here["mean"])
                assert row["error_bar"] == float(here.error_bar)
                assert row["error_bar"] == 2 * row["standard_error"]
        lines = [line for line in drawn[name][1].axes[0].lines if len(line.get_xdata()) == 5]
        assert any(np.array_equal(line.get_ydata(), wanted["mean"].sel(region="full").values) for line in lines)


def test_the_smallest_deciles_are_left_out(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers = drawn["2c_intensity_by_size"][0]
    assert numbers.decile.values.tolist() == [6, 7, 8, 9, 10]
    xr.testing.assert_allclose(numbers, analyse.rmpi_per_volume(store).isel(decile=slice(5, None)).compute())
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
    numbers = figures.images.collect_line_profiles(store, particle=40)
    grey = store["volumes"].to_dataset().grey
    frame = figures.images._lines(numbers)
    along = frame[(frame.axis == "x") & (frame.state == "4.4 V")]
    np.testing.assert_array_equal(along.grey, grey.sel(state="4.4 V").values[3, 21, 11:34])
    np.testing.assert_allclose(along.position_um, grey.x.values[11:34])
    with pytest.raises(AnalysisError, match="no particle 99; labels go from 1 to 40"):
        figures.line_profiles(store, particle=99)


def test_histogram_counts_every_voxel_of_its_slices(store: xr.DataTree, drawn: dict[str, Any]) -> None:
    numbers = drawn["grey_histogram"][0]
    grey, label = (store["volumes"].to_dataset()[name].values for name in ("grey", "label"))
    for k in range(5):
        np.testing.assert_array_equal(numbers.voxels.values[k], np.bincount(grey[k].ravel(), minlength=256))
        np.testing.assert_array_equal(numbers.outside.values[k], np.bincount(grey[k][label[k] == 0], minlength=256))
    np.testing.assert_allclose(numbers.background, 60, atol=1)


def test_sizes_count_every_particle(drawn: dict[str, Any]) -> None:
    numbers = drawn["particle_sizes"][0]
    assert (int(numbers.found.sum()), int(numbers.tracked.sum())) == (40, 40)


# ---------------------------------------------------------------- what cannot be drawn says why


def test_a_single_state() -> None:
    alone = electrode([State("pristine", 3.0, "pristine", 0)])
    could = {"2a_mean_intensity", "slices", "grey_histogram", "particle_sizes", "1a_line_profiles", *CRACKS}
    for panel in figures.PANELS:
        if panel.name in could:
            panel.draw(panel.collect(alone))
        else:
            with pytest.raises(AnalysisError, match=r"a single state|no state is of step charge"):
                panel.collect(alone)


def test_no_particle_is_tracked() -> None:
    none = electrode(tracked=np.zeros(40, bool))
    could = {"slices", "grey_histogram", "particle_sizes", "registration"}
    for panel in figures.PANELS:
        if panel.name in could:
            panel.draw(panel.collect(none))
        else:
            with pytest.raises(AnalysisError, match="no particles of 40 tracked"):
                panel.collect(none)


def test_a_store_without_volumes(store: xr.DataTree) -> None:
    bare = tables(balls(RADII, 5), np.full((5, 40, 11), 200.0))
    for name in ("slices", "grey_histogram", "line_profiles", "crack_surface"):
        with pytest.raises(AnalysisError, match="no volumes"):
            getattr(figures, name)(bare)
    with pytest.raises(AnalysisError, match="no table 'transforms'"):
        figures.registration(bare)


def test_states_that_were_not_registered(store: xr.DataTree) -> None:
    made = store.copy()
    made.attrs["recipe"] = {**made.attrs["recipe"], "register": {"transform": "none"}}
    with pytest.raises(AnalysisError, match="not registered"):
        figures.registration(made)


def test_twelve_states_with_long_names_have_room() -> None:
    steps = ["pristine", *["charge"] * 6, *["discharge"] * 5]
    names = ["pristine", *(f"a long name of state {k} at $4.{k}$ V <b>" for k in range(1, 12))]
    made = electrode([State(n, 3 + 0.1 * k, s, 0) for k, (n, s) in enumerate(zip(names, steps, strict=True))])
    for panel in figures.PANELS:
        if panel.name == "3e_tree_of_paths":
            with pytest.raises(AnalysisError, match="the tree needs charge at 4"):
                panel.collect(made)
            continue
        with style():
            picture = panel.draw(panel.collect(made))
            picture.savefig(io.BytesIO(), format="png", dpi=60)
        test_no_text_is_cut_off_and_none_lies_on_another({panel.name: (None, picture)}, panel.name)


def test_ticks_of_states() -> None:
    axes = Figure().add_subplot()
    along_states(axes, ["pristine", "a very long name of a state"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["pristine", "a very long\nname of a …"]
