"""The damage factor of every particle and state, by one of the `damage_definitions`, with its errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from crackdask.analysis.damage_definitions import DAMAGE_FACTORS, DamageFactor
from crackdask.analysis.parameters import AnalyseParams, AnalysisError, params_of
from crackdask.analysis.tables import named
from crackdask.analysis.uncertainty import evidence
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

_BOTH = ("state", "particle")
#: Parameters that decide the damage factor itself; the others only decide what is made of it.
_DECISIVE = ("reference", "rim_shells", "damage", "void_grey", "noise", "noise_correlation", "scale_error")
#: Errors of a damage factor, each with all that are before it.
_ERRORS = {
    "noise_error": "standard error of the damage factor, from noise",
    "scan_error": "standard error of the damage factor, from noise and what else differs from scan to scan",
    "standard_error": "standard error of the damage factor",
}

#: What `crackdask.open` returns, or what `damage` made of it.
StoreOrDamage: TypeAlias = "xr.DataTree | xr.Dataset"


def damage(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return the damage factor of every tracked particle in every state, computed.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`crackdask.analyse.AnalyseParams`, where not as in the recipe; `damage` names the definition.

    Returns
    -------
    xarray.Dataset
        (state, particle): `damage`; its `standard_error`, and of that the `noise_error` and the `scan_error` (noise and
        what else differs from scan to scan); `core_grey`, the mean grey level of the innermost eighth of the volume.
        `scale_error` (particle,), the share of a damage that optics may have moved. Coordinate `radius_um`. Attributes
        as those of :func:`crackdask.analysis.uncertainty.evidence`, and `definition`.

    Raises
    ------
    AnalysisError
        If the definition is unknown, or gives anything but a finite number for each particle and state.
    """
    params = params_of(store, parameters)
    if params.damage not in DAMAGE_FACTORS:
        known = ", ".join(DAMAGE_FACTORS)
        raise AnalysisError(
            f"no damage factor is named {params.damage!r}; there are {known}, and define_damage adds more"
        )
    factor, table = DAMAGE_FACTORS[params.damage], evidence(store, **parameters)
    table = table.drop_vars("volume_um3").load()
    defined = _defined(params.damage, factor, table)
    words = {"damage": factor.definition, **_ERRORS}
    columns = {
        name: named(defined[name].transpose(*_BOTH).astype(float).compute(), factor.units, words[name])
        for name in words
    }
    core = named(table.layer_grey.sel(layer="inner", drop=True), "1", "mean grey level of the innermost eighth")
    scale = defined.scale_error.astype(float).drop_attrs()
    scale = named(scale, "1", "share of a damage that optics may have moved")
    damages = xr.Dataset(
        {**columns, "scale_error": scale, "core_grey": core}, coords=table.drop_dims(["region", "layer"]).coords
    )
    return damages.assign_attrs(table.attrs, definition=factor.definition)


def _defined(name: str, factor: DamageFactor, table: xr.Dataset) -> xr.Dataset:
    """Return what a definition makes of a table, with every error that it left out."""
    returned = factor.function(table)
    if isinstance(returned, xr.DataArray):
        nothing = xr.full_like(returned, np.nan, dtype=float)
        returned = xr.Dataset({"damage": returned, "standard_error": nothing})
    if not isinstance(returned, xr.Dataset) or not {"damage", "standard_error"} <= set(returned.data_vars):
        inside = f" of {', '.join(map(str, returned))}" if isinstance(returned, xr.Dataset) else ""
        raise AnalysisError(
            f"damage factor {name!r} must return a DataArray, or a Dataset of damage and standard_error, "
            f"not {type(returned).__name__}{inside}"
        )
    whole = returned.assign({error: returned.get(error, returned.standard_error) for error in _ERRORS})
    if "scale_error" not in whole:
        whole = whole.assign(scale_error=xr.zeros_like(table.radius_um))
    _check_values(name, whole, table)
    return whole


def _check_values(name: str, defined: xr.Dataset, table: xr.Dataset) -> None:
    wanted = {dim: table.sizes[dim] for dim in _BOTH}
    for column in ("damage", *reversed(_ERRORS)):
        if dict(defined[column].sizes) != wanted:
            raise AnalysisError(
                f"damage factor {name!r} must give one {column} for each state and particle, {wanted}, "
                f"not {dict(defined[column].sizes)}"
            )
    missing = int((~np.isfinite(defined.damage)).sum())
    if missing:
        raise AnalysisError(
            f"damage factor {name!r} is not a finite number for {missing} of {defined.damage.size} particles and "
            "states; a particle too small for a region has no mean there"
        )


def damage_of(source: StoreOrDamage, parameters: dict[str, Any]) -> tuple[xr.Dataset, AnalyseParams]:
    """Return the damage of a store, or what :func:`damage` returned as it is, and the parameters."""
    params = params_of(source, parameters)
    if isinstance(source, xr.DataTree):
        return damage(source, **parameters), params
    if "damage" not in source.data_vars or "analyse" not in source.attrs:
        raise AnalysisError("wanted what crackdask.open or analyse.damage returns, not another Dataset")
    before = json.loads(source.attrs["analyse"])
    after = json.loads(params.model_dump_json())
    changed = [name for name in _DECISIVE if before[name] != after[name]]
    if changed:
        raise AnalysisError(f"{', '.join(changed)} decides the damage, which is made already; give the store instead")
    return source, params
