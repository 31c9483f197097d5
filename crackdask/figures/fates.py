"""What became of each particle: pies and the tree of paths (paper, Fig. 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from crackdask import analyse
from crackdask.analysis.damage import Source
from crackdask.analysis.parameters import AnalysisError
from crackdask.figures.pie import pie
from crackdask.figures.style import BLUE, ORANGE, SKY, WIDTH, Panel, discharged, figure, plain, ramp, short, styled

_MOST_LEAVES = 64
_BREADTH = 1.3  # of a ribbon of all particles, in distances between leaves


def extreme_states(source: Source, **parameters: Any) -> Figure:
    """Draw the states in which particles are least and most damaged, as two pies (paper, Fig. 3a and b).

    Parameters
    ----------
    source
        What ``crackdask.open`` or :func:`crackdask.analyse.damage` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe.

    Raises
    ------
    AnalysisError
        If the store cannot show it; the message says why.
    """
    return draw_extreme_states(analyse.extremes(source, **parameters))


def damaged_on_charge(source: Source, **parameters: Any) -> Figure:
    """Draw which particles were damaged on charge, as a pie (paper, Fig. 3c).

    Arguments and errors are those of :func:`extreme_states`.
    """
    return draw_damaged_on_charge(collect_damaged_on_charge(source, **parameters))


def collect_damaged_on_charge(source: Source, **parameters: Any) -> xr.Dataset:
    """Return the particles damaged at the top of charge, at another charged state only, and never."""
    found = analyse.damaged_on_charge(source, **parameters)
    top, anywhere = found.at_top.values, found.anywhere.values
    words = [f"damaged at {found.attrs['top']}", "damaged in another charged state only", "not damaged on charge"]
    return _parts(words, [int(top.sum()), int((anywhere & ~top).sum()), int((~anywhere).sum())])


def healed_on_discharge(source: Source, **parameters: Any) -> Figure:
    """Draw which particles healed between the top of charge and the last discharge, as a pie (paper, Fig. 3d).

    Arguments and errors are those of :func:`extreme_states`.
    """
    return draw_healed_on_discharge(collect_healed_on_discharge(source, **parameters))


def collect_healed_on_discharge(source: Source, **parameters: Any) -> xr.Dataset:
    """Return the particles less damaged after the last discharge than at the top of charge, and the others."""
    found = analyse.healed_on_discharge(source, **parameters)
    words = [f"healed: less damaged at {found.attrs['last']} than at {found.attrs['top']}", "not healed"]
    return _parts(words, [int(found.healed.values.sum()), int((~found.healed.values).sum())])


def tree_of_paths(source: Source, **parameters: Any) -> Figure:
    """Draw the tree of damaged and healed particles from state to state (paper, Fig. 3e).

    Arguments and errors are those of :func:`extreme_states`; `path_states` names the states.
    """
    return draw_tree_of_paths(collect_tree_of_paths(source, **parameters))


def collect_tree_of_paths(source: Source, **parameters: Any) -> xr.Dataset:
    """Return the tree of paths, if it has room on a page."""
    found = analyse.paths(source, **parameters)
    leaves = analyse.ranking(found).sizes["path"]
    if leaves > _MOST_LEAVES:
        raise AnalysisError(
            f"the tree has {leaves} paths, and a page has room for {_MOST_LEAVES}; name fewer states as path_states"
        )
    return found


def _parts(words: list[str], count: list[int]) -> xr.Dataset:
    number = np.array(count)
    return xr.Dataset(
        {"count": ("part", number), "share": ("part", number / number.sum())},
        {"part": np.array(words, dtype=object)},
    )


@styled
def draw_extreme_states(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`crackdask.analyse.extremes` returned."""
    names = [short(str(name), 24, 1) for name in numbers.state.values]
    made = figure(height=max(3.0, 0.2 * len(names) + 2.6))
    colours = ramp(len(names))
    for axes, word in zip(made.subplots(1, 2), ("least", "most"), strict=True):
        pie(axes, numbers[f"{word}_count"].values, names, colours, discharged(numbers))
        axes.set_title(f"state of {word} damage")
    return made


@styled
def draw_damaged_on_charge(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_damaged_on_charge` returned."""
    return _single(numbers, [BLUE, SKY, "#D9D9D9"])


@styled
def draw_healed_on_discharge(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_healed_on_discharge` returned."""
    return _single(numbers, [ORANGE, "#D9D9D9"])


def _single(numbers: xr.Dataset, colours: list[Any]) -> Figure:
    made = figure(WIDTH / 2, 3.1)
    pie(made.add_subplot(), numbers["count"].values, [short(str(p), 42) for p in numbers.part.values], colours)
    return made


@styled
def draw_tree_of_paths(numbers: xr.Dataset) -> Figure:
    """Draw what :func:`collect_tree_of_paths` returned."""
    rows = {
        str(branch): (int(level), int(count), float(share), float(change))
        for branch, level, count, share, change in zip(
            numbers.branch.values, numbers.level.values, numbers["count"].values, numbers.share.values,
            numbers.mean_change.values, strict=True,
        )
        if count
    }  # fmt: skip
    levels = int(numbers.level.values.max())
    leaves = [branch for branch in rows if len(branch) == levels]
    height = _heights(rows, leaves)
    made = figure(height=max(3.4, 0.31 * len(leaves) + 1.1))
    axes = made.add_subplot()
    widest = max(abs(change) for *_, change in rows.values()) or 1.0
    scale = ScalarMappable(Normalize(-widest, widest), "PuOr_r")
    for branch, (level, count, share, change) in rows.items():
        place = level - 1, _leaves_at(rows, height, branch), level, height[branch]
        _stream(axes, place, share, scale.to_rgba(np.array(change)))
        axes.text(
            level, height[branch], f"{branch[-1]}  {count} ({share:.1%})", ha="center", va="center", fontsize=7.5,
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "#5F6368", "lw": 0.5}, zorder=4,
        )  # fmt: skip
    total = int(sum(count for level, count, *_ in rows.values() if level == 1))
    axes.text(0, height[""], f"{total}\nparticle{'s' * (total != 1)}", ha="center", va="center", zorder=4,
              bbox={"boxstyle": "round,pad=0.3", "fc": "white", "ec": "#5F6368", "lw": 0.5})  # fmt: skip
    names = [str(numbers.before.values[0]), *map(str, numbers.after.values)]
    axes.set_xticks(range(levels + 1), [short(name) for name in names])
    spare = max(0.0, 5 - len(leaves)) / 2  # so that a single ribbon does not fill the page
    axes.set(xlim=(-0.4, levels + 0.45), ylim=(len(leaves) - 0.4 + spare, -0.6 - spare), yticks=[])
    axes.set_xlabel("state, in electrochemical order (V vs Li/Li⁺)")
    axes.spines[["left", "bottom"]].set_visible(False)
    units = numbers.mean_change.attrs.get("units", "1")
    label = "mean change of the damage factor\n" + ("(1; " if units == "1" else f"({units}; ") + "below 0: healed)"
    made.colorbar(scale, ax=axes, label=label, shrink=0.8, pad=0.01, aspect=30)
    return made


def _heights(rows: dict[str, Any], leaves: list[str]) -> dict[str, float]:
    """Return where each branch ends: leaves evenly, every other between its own."""
    height = {leaf: float(k) for k, leaf in enumerate(leaves)}
    for branch in sorted([*rows, ""], key=len, reverse=True):
        if branch not in height:
            below = [height[branch + letter] for letter in "DH" if branch + letter in height]
            height[branch] = sum(below) / len(below)
    return height


def _leaves_at(rows: dict[str, Any], height: dict[str, float], branch: str) -> float:
    """Return where a branch leaves the one before: damaged above healed, together as broad as that one."""
    parent = branch[:-1]
    whole = sum(rows[parent + letter][2] for letter in "DH" if parent + letter in rows)
    above = 0.0 if branch[-1] == "D" or parent + "D" not in rows else rows[parent + "D"][2]
    return height[parent] + _BREADTH * (above + rows[branch][2] / 2 - whole / 2)


def _stream(axes: Axes, place: tuple[float, float, float, float], share: float, colour: Any) -> None:
    """Draw a branch as a ribbon, as broad as its share of the particles."""
    x0, y0, x1, y1 = place
    middle, half = (x0 + x1) / 2, max(_BREADTH * share, 0.05) / 2
    corners = [
        (x0, y0 - half), (middle, y0 - half), (middle, y1 - half), (x1, y1 - half),
        (x1, y1 + half), (middle, y1 + half), (middle, y0 + half), (x0, y0 + half), (x0, y0 - half),
    ]  # fmt: skip
    curve, line = Path.CURVE4, Path.LINETO
    path = Path(corners, [Path.MOVETO, curve, curve, curve, line, curve, curve, curve, line])
    axes.add_patch(PathPatch(path, fc=colour, ec="#5F6368", lw=0.5, zorder=2))


def _states(numbers: xr.Dataset) -> pd.DataFrame:
    names = ["least_count", "least_share", "most_count", "most_share"]
    return plain(numbers[names].to_dataframe().reset_index())


def _part_rows(numbers: xr.Dataset) -> pd.DataFrame:
    return plain(numbers.to_dataframe().reset_index())


def _branches(numbers: xr.Dataset) -> pd.DataFrame:
    names = ["level", "count", "share", "mean_change", "standard_error", "mean_grey_change"]
    frame = numbers[names].drop_vars(["before", "after", "particle"], errors="ignore").to_dataframe().reset_index()
    step = frame["level"].to_numpy() - 1
    return plain(frame.assign(before=numbers.before.values[step], after=numbers.after.values[step]))


PANELS = (
    Panel(
        "3ab_extreme_states",
        "States of least and of most damage",
        "The state in which each tracked particle has its lowest and its highest damage factor; the earlier one of "
        "equals. Discharge and aged are hatched.",
        analyse.extremes,
        draw_extreme_states,
        _states,
        from_damage=True,
    ),
    Panel(
        "3c_damaged_on_charge",
        "Damaged on charge",
        "Tracked particles with a higher damage factor on charge than in the reference state. Without any real change "
        "noise alone would call about half of them damaged at the top of charge.",
        collect_damaged_on_charge,
        draw_damaged_on_charge,
        _part_rows,
        from_damage=True,
    ),
    Panel(
        "3d_healed_on_discharge",
        "Healed on discharge",
        "Tracked particles with a lower damage factor after the last discharge than at the top of charge. Without any "
        "real change noise alone would call about half of them healed.",
        collect_healed_on_discharge,
        draw_healed_on_discharge,
        _part_rows,
        from_damage=True,
    ),
    Panel(
        "3e_tree_of_paths",
        "Tree of damaged (D) and healed (H)",
        "The largest tracked particles, split at each transition by whether their damage factor rose (D) or not (H): "
        "number and share of all in the tree. Branches are as broad as their share, and coloured by the mean change "
        "on that transition.",
        collect_tree_of_paths,
        draw_tree_of_paths,
        _branches,
        from_damage=True,
    ),
)
