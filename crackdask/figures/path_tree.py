"""The tree of damaged and healed particles, as ribbons from state to state (paper, Fig. 3e)."""

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
from crackdask.analysis.damage import StoreOrDamage
from crackdask.analysis.parameters import AnalysisError
from crackdask.figures.panel import Panel
from crackdask.figures.style import figure, plain, short, styled

_MOST_LEAVES = 64
_BREADTH = 1.3  # of a ribbon of all particles, in distances between leaves


def tree_of_paths(source: StoreOrDamage, **parameters: Any) -> Figure:
    """Draw the tree of damaged and healed particles from state to state (paper, Fig. 3e).

    Arguments and errors are those of :func:`crackdask.figures.extreme_states`; `path_states` names the states.
    """
    return draw_tree_of_paths(collect_tree_of_paths(source, **parameters))


def collect_tree_of_paths(source: StoreOrDamage, **parameters: Any) -> xr.Dataset:
    """Return the tree of paths, if it has room on a page."""
    tree = analyse.paths(source, **parameters)
    leaves = analyse.ranking(tree).sizes["path"]
    if leaves > _MOST_LEAVES:
        raise AnalysisError(
            f"the tree has {leaves} paths, and a page has room for {_MOST_LEAVES}; name fewer states as path_states"
        )
    return tree


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
    page = figure(height=max(3.4, 0.31 * len(leaves) + 1.1))
    axes = page.add_subplot()
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
    page.colorbar(scale, ax=axes, label=label, shrink=0.8, pad=0.01, aspect=30)
    return page


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


def _branches(numbers: xr.Dataset) -> pd.DataFrame:
    names = ["level", "count", "share", "mean_change", "standard_error", "mean_grey_change"]
    frame = numbers[names].drop_vars(["before", "after", "particle"], errors="ignore").to_dataframe().reset_index()
    step = frame["level"].to_numpy() - 1
    return plain(frame.assign(before=numbers.before.values[step], after=numbers.after.values[step]))


PANELS = (
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
