"""What damage did from state to state: changes, classes, best and worst states, charge, discharge (paper, 2.3, 2.4).

Arithmetic on the damage factor of tracked particles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from crackdask.analysis.change_errors import error_of_change
from crackdask.analysis.damage import StoreOrDamage, damage_of
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import listed, named, needs_states, reference_of, state_names
from crackdask.kernels.smooth_curve import MAD

SEVERITIES = ("minimal", "moderate", "high")


def changes(source: StoreOrDamage, since: str = "previous", **parameters: Any) -> xr.Dataset:
    """Return how damage changed, and whether that is more than noise and more than what particles do anyway.

    Parameters
    ----------
    source
        What ``crackdask.open`` or :func:`crackdask.analyse.damage` returns.
    since
        "previous" for the state before, or the name of the state that all others are compared with.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe; `significance`.

    Returns
    -------
    xarray.Dataset
        (state, particle), the states that are compared: `change`, positive is damage; `noise_error`, from noise alone,
        and `standard_error`, from noise, what else differs from scan to scan, and scale; `z_noise` and `z`, the change
        over these; `z_spread`, the change less the median change of all particles, over `spread` (state), their robust
        spread; `beyond_noise`, `significant` and `beyond_spread`, where these three are `significance` or more.
        Coordinate `since`. A damage factor without standard error has no `z_noise` and no `z`.
    """
    damages, params = damage_of(source, parameters)
    needs_states(damages)
    names = state_names(damages)
    if since != "previous" and since not in names:
        raise AnalysisError(f"no state is named {since!r}; there are {listed(damages)}, and 'previous'")
    pairs = [(names[k - 1] if since == "previous" else since, name) for k, name in enumerate(names)]
    pairs = pairs[1:] if since == "previous" else [pair for pair in pairs if pair[0] != pair[1]]
    before, after = (damages.sel(state=[pair[k] for pair in pairs]) for k in (0, 1))
    before = before.assign_coords(state=after.state)
    change = after.damage - before.damage.drop_vars(["voltage", "step", "cycle"], errors="ignore")
    noise_error = change.copy(data=np.hypot(after.noise_error.values, before.noise_error.values))
    one, other = (each.scan_error.transpose(*change.dims).values for each in (before, after))
    error = change.copy(data=error_of_change(change.values, one, other, damages.scale_error.values))
    middle = change.median("particle")
    spread = MAD * np.abs(change - middle).median("particle")
    noise, sure = (change / each.where(each > 0) for each in (noise_error, error))
    usual = (change - middle) / spread.where(spread > 0)
    units = damages.damage.attrs["units"]
    compared = xr.Dataset(
        {
            "change": named(change, units, "change of the damage factor"),
            "noise_error": named(noise_error, units, "standard error of the change, from noise"),
            "standard_error": named(error, units, "standard error of the change"),
            "z_noise": named(noise, "1", "change over its standard error from noise"),
            "z": named(sure, "1", "change over its standard error"),
            "spread": named(spread, units, "robust spread of the change over all particles"),
            "z_spread": named(usual, "1", "change beyond the median change over the spread"),
            "beyond_noise": named(np.abs(noise) >= params.significance, "1", "change is more than noise"),
            "significant": named(np.abs(sure) >= params.significance, "1", "change is more than its error"),
            "beyond_spread": named(np.abs(usual) >= params.significance, "1", "change is unlike that of the others"),
        }
    )
    return compared.assign_coords(since=("state", np.array([pair[0] for pair in pairs], dtype=object)))


def classes(source: StoreOrDamage, **parameters: Any) -> xr.Dataset:
    """Return which particles are minimally, moderately and highly damaged (paper, Fig. 4g and h).

    Returns
    -------
    xarray.Dataset
        `severity_number` (state, particle), 0 to 2: damage below the first of `class_limits`, below the second, or not;
        `count` and `share` (state, severity).
    """
    damages, params = damage_of(source, parameters)
    low, high = params.class_limits
    number = (damages.damage >= low).astype(np.int8) + (damages.damage >= high).astype(np.int8)
    severity = xr.DataArray(np.arange(3), {"severity": list(SEVERITIES)}, ["severity"])
    count = (number == severity).sum("particle")
    return xr.Dataset(
        {
            "severity_number": named(number, "1", f"0 minimal, 1 moderate (from {low:g}), 2 high (from {high:g})"),
            "count": named(count, "1", "particles"),
            "share": named(count / number.sizes["particle"], "1", "share of the particles"),
        }
    )


def extremes(source: StoreOrDamage, **parameters: Any) -> xr.Dataset:
    """Return the state of least and of most damage of each particle, and the two pies (paper, Fig. 3a and b).

    Returns
    -------
    xarray.Dataset
        `least_state` and `most_state` (particle), names, the earlier one of equals; `least_count`, `most_count`,
        `least_share` and `most_share` (state).
    """
    damages, _ = damage_of(source, parameters)
    needs_states(damages)
    names, columns = np.array(state_names(damages), dtype=object), {}
    for word, pick in (("least", damages.damage.argmin("state")), ("most", damages.damage.argmax("state"))):
        count = np.bincount(pick.values, minlength=names.size)
        columns[f"{word}_state"] = named(pick.copy(data=names[pick.values]), "1", f"state of {word} damage")
        for what, values in (("count", count), ("share", count / pick.size)):
            column = xr.DataArray(values, damages.state.coords, ["state"])
            columns[f"{word}_{what}"] = named(column, "1", f"{what} of particles with {word} damage here")
    return xr.Dataset(columns)


def _top_of_charge(damages: xr.Dataset) -> tuple[list[str], str]:
    charged = damages.isel(state=np.flatnonzero(damages.step.values == "charge"))
    if not charged.sizes["state"]:
        raise AnalysisError(f"no state is of step charge; there are {listed(damages)}")
    names = state_names(charged)
    return names, names[int(np.argmax(charged.voltage.values))]


def damaged_on_charge(source: StoreOrDamage, **parameters: Any) -> xr.Dataset:
    """Return which particles were damaged on charge (paper, Fig. 3c).

    Returns
    -------
    xarray.Dataset
        `anywhere` (particle): more damaged than in the reference in any charged state; `at_top`: in the one of the
        highest voltage; `share_anywhere` and `share_at_top`. Attribute `top`, the name of that state.
    """
    damages, params = damage_of(source, parameters)
    charged, top = _top_of_charge(damages)
    pristine = damages.damage.sel(state=reference_of(damages, params), drop=True)
    anywhere = (damages.damage.sel(state=charged) > pristine).any("state")
    at_top = damages.damage.sel(state=top, drop=True) > pristine
    damaged = xr.Dataset(
        {
            "anywhere": named(anywhere, "1", "more damaged than pristine in a charged state"),
            "at_top": named(at_top, "1", f"more damaged than pristine at the top of charge, {top}"),
            "share_anywhere": named(anywhere.mean(), "1", "share of the particles"),
            "share_at_top": named(at_top.mean(), "1", "share of the particles"),
        }
    )
    return damaged.assign_attrs(top=top)


def healed_on_discharge(source: StoreOrDamage, **parameters: Any) -> xr.Dataset:
    """Return which particles are less damaged after the last discharge than at the top of charge (paper, Fig. 3d).

    Returns
    -------
    xarray.Dataset
        `healed` (particle) and its `share`. Attributes `top` and `last`, the names of the two states.
    """
    damages, _ = damage_of(source, parameters)
    _, top = _top_of_charge(damages)
    names = state_names(damages)
    after = [n for n in names[names.index(top) + 1 :] if damages.step.sel(state=n).item() == "discharge"]
    if not after:
        raise AnalysisError(
            f"no state of step discharge follows the top of charge, {top!r}; there are {listed(damages)}"
        )
    healed = damages.damage.sel(state=after[-1], drop=True) < damages.damage.sel(state=top, drop=True)
    healing = xr.Dataset(
        {
            "healed": named(healed, "1", f"less damaged at {after[-1]} than at {top}"),
            "share": named(healed.mean(), "1", "share of the particles"),
        }
    )
    return healing.assign_attrs(top=top, last=after[-1])
