"""The figures: each draws what it says, with units, and with the numbers of the analysis."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from crackdask import figures
from crackdask.figures.damage_map import _COLOURS
from crackdask.figures.state_axis import along_states
from crackdask.figures.style import ramp
from tests.support.pictured import (
    CRACKS,
    NAMES,
    empty_panes,
    faults,
    texts,
)


def function_of(panel: figures.Panel) -> str:
    """Return the name of the public function of a panel: what it collects, or what it draws of shared numbers."""
    collected = panel.collect.__name__.removeprefix("collect_")
    return collected if collected in figures.__all__ else panel.draw.__name__.removeprefix("draw_")


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
