"""The tree of damaged and healed particles from state to state, and the ranking of their paths (paper, Fig. 3e)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import Any

import numpy as np
import xarray as xr

from crackdask.analysis.damage import StoreOrDamage, damage_of
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import listed, named, needs_states, reference_of, state_names

#: The states of the paper's tree after the first: step and voltage.
PAPER_STATES = (("charge", 4.2), ("charge", 4.4), ("discharge", 4.2), ("discharge", 2.5))
_TOLERANCE = 0.02  # V
_MOST_STEPS = 12


def paths(source: StoreOrDamage, states: Sequence[str] | None = None, **parameters: Any) -> xr.Dataset:
    """Return the tree of damaged (D) and healed (H) at each transition, for the largest particles.

    Parameters
    ----------
    source
        What ``crackdask.open`` or :func:`crackdask.analyse.damage` returns.
    states
        Names of the states in the tree, in order; by default `path_states`, or the paper's: reference, 4.2 V, 4.4 V,
        4.2 V on discharge, 2.5 V on discharge, found by step and voltage.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe; `largest` is the share of the tracked
        particles, by radius in the reference state, that the tree follows.

    Returns
    -------
    xarray.Dataset
        Along `branch`, every path and beginning of one ("D", "H", "DD", ...): `level` (number of transitions), `count`,
        `share` (of the particles in the tree), and of the branch's last transition `mean_change` (of damage, NaN where
        no particle is), its `standard_error` over particles, and `mean_grey_change` (of the core). Along `particle`:
        `path`. Along `transition`: `before` and `after`. No change counts as healed.
    """
    damages, params = damage_of(source, parameters)
    needs_states(damages)
    chosen = list(states or params.path_states or _paper_states(damages, reference_of(damages, params)))
    _check(damages, chosen)
    size = max(1, ceil(params.largest * damages.sizes["particle"]))
    rows = np.sort(np.argsort(damages.radius_um.values, kind="stable")[-size:])
    kept = damages.isel(particle=rows).sel(state=chosen)
    change = np.diff(kept.damage.transpose("state", "particle").values, axis=0)
    grey = np.diff(kept.core_grey.transpose("state", "particle").values, axis=0)
    steps = len(change)
    whole = ["".join(letters) for letters in np.where(change > 0, "D", "H").T]
    branches = ["".join(letters) for k in range(1, steps + 1) for letters in product("DH", repeat=k)]
    numbers = _numbers(change > 0, change, grey)
    words = {
        "count": ("1", "particles on the branch"),
        "share": ("1", "share of the particles in the tree"),
        "mean_change": (damages.damage.attrs["units"], "mean change of the damage factor on the last transition"),
        "standard_error": (damages.damage.attrs["units"], "standard error of the mean change"),
        "mean_grey_change": ("1", "mean change of the core's grey level on the last transition"),
    }
    tree = xr.Dataset(
        {name: ("branch", numbers[name], {"units": u, "long_name": text}) for name, (u, text) in words.items()},
        coords={
            "branch": np.array(branches, dtype=object),
            "level": ("branch", np.array([len(branch) for branch in branches])),
            "particle": kept.particle.values,
            "before": ("transition", np.array(chosen[:-1], dtype=object)),
            "after": ("transition", np.array(chosen[1:], dtype=object)),
        },
    )
    path = xr.DataArray(np.array(whole, dtype=object), {"particle": kept.particle.values}, ["particle"])
    return tree.assign(path=named(path, "1", "D damaged, H healed, at each transition"))


def ranking(tree: xr.Dataset) -> xr.Dataset:
    """Return the whole paths of a tree with particles on them, the commonest first.

    Parameters
    ----------
    tree
        What :func:`paths` returns.

    Returns
    -------
    xarray.Dataset
        `count` and `share` along `path`; equals in the order of their letters.
    """
    ends = tree[["count", "share"]].isel(branch=np.flatnonzero(tree.level.values == tree.level.values.max()))
    ends = ends.isel(branch=np.flatnonzero(ends["count"].values > 0)).drop_vars("level")
    ends = ends.drop_vars(["before", "after", "particle"], errors="ignore")
    order = np.lexsort((ends.branch.values.astype(str), -ends["count"].values))
    return ends.isel(branch=order).rename(branch="path")


def _numbers(worse: Any, change: Any, grey: Any) -> dict[str, Any]:
    """Return the columns of the tree, level after level, D before H."""
    code = np.zeros(worse.shape[1], np.int64)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("count", "share", "mean_change", "standard_error", "mean_grey_change")
    }
    for k, (step, shade) in enumerate(zip(change, grey, strict=True)):
        code = 2 * code + ~worse[k]
        wide = 2 ** (k + 1)
        count = np.bincount(code, minlength=wide)
        some, several = np.where(count > 0, count, np.nan), np.where(count > 1, count - 1, np.nan)
        mean = np.bincount(code, step, wide) / some
        square = np.bincount(code, (step - mean[code]) ** 2, wide) / several
        columns["count"].append(count)
        columns["share"].append(count / code.size)
        columns["mean_change"].append(mean)
        columns["standard_error"].append(np.sqrt(square / some))
        columns["mean_grey_change"].append(np.bincount(code, shade, wide) / some)
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _paper_states(damages: xr.Dataset, reference: str) -> list[str]:
    names, chosen, missing = state_names(damages), [reference], []
    for step, voltage in PAPER_STATES:
        there = (damages.step.values == step) & (np.abs(damages.voltage.values - voltage) <= _TOLERANCE)
        if there.any():
            chosen.append(names[int(np.argmax(there))])
        else:
            missing.append(f"{step} at {voltage:g} V")
    if missing:
        raise AnalysisError(
            f"the tree needs {', '.join(missing)}; there are {listed(damages)}: name the states of the tree, "
            "here or as path_states under [analyse]"
        )
    return chosen


def _check(damages: xr.Dataset, chosen: list[str]) -> None:
    unknown = [name for name in chosen if name not in state_names(damages)]
    if unknown:
        raise AnalysisError(f"no state is named {', '.join(map(repr, unknown))}; there are {listed(damages)}")
    if len(set(chosen)) < max(2, len(chosen)):
        raise AnalysisError(f"a tree needs two or more different states, not {chosen}")
    if len(chosen) - 1 > _MOST_STEPS:
        raise AnalysisError(
            f"{len(chosen)} states make {2 ** (len(chosen) - 1)} paths; name {_MOST_STEPS + 1} or fewer"
        )
