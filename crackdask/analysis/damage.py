"""A damage factor for every particle and state: higher is worse (paper, 2.3 and 2.4).

It is to be comparable between particles of any size and between states. The paper's own
formula is in a glossary that is not open; the definitions here are crackdask's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crackdask.analysis.parameters import AnalyseParams, AnalysisError, params_of
from crackdask.analysis.tables import named
from crackdask.analysis.uncertainty import evidence, leak, own_spread, scan_spread
from crackdask.kernels.smooth_curve import robust_band
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

Definition: TypeAlias = "Callable[[xr.Dataset], xr.DataArray | xr.Dataset]"
Source: TypeAlias = "xr.DataTree | xr.Dataset"


@dataclass(frozen=True)
class DamageFactor:
    """A definition of damage: higher is worse.

    Attributes
    ----------
    function
        Takes what :func:`crackdask.analyse.evidence` returns, loaded; returns the damage, (state, particle), or a
        Dataset of `damage` and `standard_error`. Where it knows them, it adds the part of that error that is noise,
        `noise_error`, and that with what else differs from scan to scan, `scan_error`; else both are the whole error;
        and the share of a change that may be wrong, `scale_error` (particle,), else 0. A bare DataArray has no
        standard error (NaN).
    units
        Of the damage.
    definition
        One sentence for captions.
    """

    function: Definition
    units: str
    definition: str


DAMAGE_FACTORS: dict[str, DamageFactor] = {}


def define_damage(name: str, units: str, definition: str) -> Callable[[Definition], Definition]:
    """Register a function as a damage factor, to be asked for by name.

    Examples
    --------
    >>> @define_damage("darkness", "1", "255 minus the mean grey level of the core")
    ... def darkness(table):
    ...     return 255 - table.mean_grey.sel(region="core", drop=True)
    >>> DAMAGE_FACTORS.pop("darkness").units
    '1'
    """

    def register(function: Definition) -> Definition:
        DAMAGE_FACTORS[name] = DamageFactor(function, units, definition)
        return function

    return register


@define_damage(
    "excess_void", "1", "void fraction of the core beyond that of a typical particle of its size, as pristine"
)
def excess_void(table: xr.Dataset) -> xr.Dataset:
    """Return (G_ref(r) - core mean) / (G_ref(r) - G_void), the core being the innermost eighth of the volume.

    G_ref(r) is the typical core mean of particles of radius r in the reference state (a robust local line), so that
    phase contrast and blur, which make small particles brighter or darker, cancel. It reads as an excess void fraction:
    0 is a typical pristine particle, 1 a hollow one, below 0 one that is denser than typical. In a ball, the innermost
    eighth is the inner half of the radius, which the region `core` is rounded to whole shells.

    The standard error counts noise, what else differs between scans, what is the particle's own in all scans, the error
    of G_ref, and the share of the damage that optics may have moved.
    """
    core = table.sel(layer="inner", drop=True)
    radius = table.radius_um.values
    seen = core.layer_grey.sel(state=table.attrs["reference"]).values
    level, _, doubt = (xr.DataArray(column, dims="particle") for column in robust_band(radius, seen, radius))
    contrast = level - table.attrs["void_grey"]
    if abs(int(np.sign(contrast).sum())) != contrast.size:
        low, high = float(level.min()), float(level.max())
        raise AnalysisError(
            f"the grey level of a void, {table.attrs['void_grey']:g} ({table.attrs['void_grey_source']}), is not "
            f"outside those of the particles' cores, {low:g} to {high:g}; give void_grey"
        )
    void = (level - core.layer_grey) / contrast
    noise = core.layer_grey_error / np.abs(contrast)
    scan = np.hypot(noise, scan_spread(table) / np.abs(contrast))
    own = np.hypot(own_spread(table), doubt) / np.abs(contrast)
    scale = leak(table)
    error = np.sqrt(scan**2 + own**2 + (scale * void) ** 2)
    errors = {"noise_error": noise, "scan_error": scan, "scale_error": scale, "standard_error": error}
    return xr.Dataset({"damage": void, **errors})


@define_damage("core_darkening", "1", "the core's mean grey level in the reference state minus that in the state")
def core_darkening(table: xr.Dataset) -> xr.Dataset:
    """Return the loss of grey level since the reference state, in grey levels; 0 in the reference itself.

    The core is the innermost eighth of the volume.
    """
    core = table.sel(layer="inner", drop=True)
    change = core.layer_grey.sel(state=table.attrs["reference"], drop=True) - core.layer_grey
    noise, scale = core.layer_grey_error, leak(table)
    scan = np.hypot(noise, scan_spread(table))
    error = np.sqrt(scan**2 + scan.sel(state=table.attrs["reference"], drop=True) ** 2 + (scale * change) ** 2)
    there = core.state == table.attrs["reference"]
    errors = {"noise_error": noise, "scan_error": scan, "scale_error": scale}
    return xr.Dataset({"damage": change, **errors, "standard_error": error.where(~there, 0.0)})


def damage(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return the damage factor of every tracked particle in every state, computed.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    **parameters
        Of :class:`AnalyseParams`, where not as in the recipe; `damage` names the definition.

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
    made = factor.function(table)
    if isinstance(made, xr.DataArray):
        made = xr.Dataset({"damage": made, "standard_error": xr.full_like(made, np.nan, dtype=float)})
    if not isinstance(made, xr.Dataset) or not {"damage", "standard_error"} <= set(made.data_vars):
        raise AnalysisError(
            f"damage factor {params.damage!r} must return a DataArray, or a Dataset of damage and standard_error, "
            f"not {type(made).__name__}{' of ' + ', '.join(map(str, made)) if isinstance(made, xr.Dataset) else ''}"
        )
    scale = made.get("scale_error", xr.zeros_like(table.radius_um))
    made = made.assign({name: made.get(name, made.standard_error) for name in _ERRORS})
    _check_values(params.damage, made, table)
    words = {"damage": factor.definition, **_ERRORS}
    columns = {
        name: named(made[name].transpose(*_BOTH).astype(float).compute(), factor.units, words[name]) for name in words
    }
    core = named(table.layer_grey.sel(layer="inner", drop=True), "1", "mean grey level of the innermost eighth")
    scale = named(scale.astype(float).drop_attrs(), "1", "share of a damage that optics may have moved")
    found = xr.Dataset(
        {**columns, "scale_error": scale, "core_grey": core}, coords=table.drop_dims(["region", "layer"]).coords
    )
    return found.assign_attrs(table.attrs, definition=factor.definition)


def _check_values(name: str, made: xr.Dataset, table: xr.Dataset) -> None:
    wanted = {dim: table.sizes[dim] for dim in _BOTH}
    for column in ("damage", *reversed(_ERRORS)):
        if dict(made[column].sizes) != wanted:
            raise AnalysisError(
                f"damage factor {name!r} must give one {column} for each state and particle, {wanted}, "
                f"not {dict(made[column].sizes)}"
            )
    missing = int((~np.isfinite(made.damage)).sum())
    if missing:
        raise AnalysisError(
            f"damage factor {name!r} is not a finite number for {missing} of {made.damage.size} particles and states; "
            "a particle too small for a region has no mean there"
        )


def commonest(counts: NDArray[Any], first: int, end: int) -> float | None:
    """Return the commonest grey level of a histogram's part: the middle of the voxels around its highest 5 levels.

    >>> commonest(np.array([9, 1, 2, 6, 6, 2, 1, 0, 8]), 1, 8)
    3.5
    """
    part = counts[max(first, 0) : max(end, 0)].astype(float)
    if not part.any():
        return None
    smooth = np.convolve(part, np.ones(5), mode="same")[: part.size] if part.size >= 5 else part
    top = int(np.argmax(smooth))
    near = np.arange(max(0, top - 5), min(part.size, top + 6))
    return float(max(first, 0) + np.sum(part[near] * near) / part[near].sum())


def damage_of(source: Source, parameters: dict[str, Any]) -> tuple[xr.Dataset, AnalyseParams]:
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
