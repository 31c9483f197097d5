"""A damage factor for every particle and state: higher is worse (paper, 2.3 and 2.4).

It is to be comparable between particles of any size and between states. The paper's own
formula is in a glossary that is not open; the definitions here are crackdask's.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from crackdask.kernels.curve import robust_curve
from crackdask.regions import (
    AnalyseParams,
    AnalysisError,
    named,
    params_of,
    table_of,
    tracked,
)

_BOTH = ("state", "particle")
#: Parameters that decide the damage factor itself; the others only decide what is made of it.
_DECISIVE = ("reference", "rim_shells", "damage", "void_grey", "noise", "noise_correlation")

Definition = Callable[[xr.Dataset], xr.DataArray | xr.Dataset]
Source = xr.DataTree | xr.Dataset


@dataclass(frozen=True)
class DamageFactor:
    """A definition of damage: higher is worse.

    Attributes
    ----------
    function
        Takes the :func:`evidence` and returns the damage, (state, particle), or a Dataset of `damage` and
        `standard_error`. A bare DataArray has no standard error (NaN).
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


def evidence(store: xr.DataTree, **parameters: Any) -> xr.Dataset:
    """Return what a damage factor is made from, lazily.

    The error of a region's mean is noise * sqrt(c / voxels), where c is the number of voxels that share one independent
    value: 1 for white noise, and (2 sqrt(pi) L)^3, at least 1, for noise as correlated as white noise after a Gaussian
    blur of L = `noise_correlation` voxels (the sum of its autocorrelation). Resampling correlates white noise too, but
    leaves the error of a mean as it was, so the noise of the reference serves all states. A correlation in the scan
    also hides part of the noise from the measurement, which takes neighbours for independent: then give `noise` too.
    Streaks, a state's grey scale and the edges of the mask are no noise; :func:`changes` holds changes against what
    all particles do, too.

    Returns
    -------
    xarray.Dataset
        As :func:`crackdask.regions.tracked`, with `mean_grey_error`, (state, particle, region). Attributes, besides:
        `noise` and `void_grey` in grey levels, and where they are from, `noise_source` and `void_grey_source`.
    """
    params = params_of(store, parameters)
    table = tracked(store, **parameters)
    (noise, noise_source), (void, void_source) = noise_and_void(store, table, params)
    shared = max(1.0, (2 * sqrt(pi) * params.noise_correlation) ** 3)
    error = noise * np.sqrt(shared / table.voxels.where(table.voxels > 0))
    made = table.assign(mean_grey_error=named(error, "1", "standard error of the mean grey level, from noise"))
    return made.assign_attrs(noise=noise, noise_source=noise_source, void_grey=void, void_grey_source=void_source)


def noise_and_void(
    store: xr.DataTree, table: xr.Dataset, params: AnalyseParams
) -> tuple[tuple[float, str], tuple[float, str]]:
    """Return the noise of a voxel and the grey level of a void, each with where it is from.

    `table` names the particles that they are estimated from where the store does not tell, and the `reference`.
    """
    return _noise(store, table, params), _void(store, table, params)


def _noise(store: xr.DataTree, table: xr.Dataset, params: AnalyseParams) -> tuple[float, str]:
    measured = store.attrs.get("found", {}).get("noise")
    if not isinstance(params.noise, str):
        return float(params.noise), "given"
    if measured is not None:
        return float(measured), "measured in the reference"
    shells = table_of(store, "shells").sel(state=table.attrs["reference"], particle=table.particle)
    deepest = shells.shell.where(shells.voxels > 0, 0).max("shell")
    core = shells.where((shells.voxels > 0) & (2 * shells.shell > deepest))
    square = (core.grey_sumsq - core.grey_sum**2 / core.voxels).sum("shell") / core.voxels.sum("shell")
    found = float(np.sqrt(np.median(np.maximum(square.values, 0))))
    source = "estimated: spread of grey levels within shells of the core, fine cracks included"
    _say(f"the store does not tell the noise of a voxel; {found:.3g} grey levels is {source}")
    return found, source


def _void(store: xr.DataTree, table: xr.Dataset, params: AnalyseParams) -> tuple[float, str]:
    measured = store.attrs.get("found", {}).get("background")
    if not isinstance(params.void_grey, str):
        return float(params.void_grey), "given"
    if measured is not None:
        return float(measured), "background peak of the reference"
    counts = table_of(store, "histograms").voxels.sel(state=table.attrs["reference"], particle=table.particle)
    below = np.cumsum(counts.sum("particle").values)
    edge, solid = (float(np.searchsorted(below, q * below[-1])) for q in (0.02, 0.5))
    found = max(0.0, 2 * edge - solid)
    source = "estimated: as far below the darkest 2% of the particles' voxels as these are below their median"
    _say(f"the store does not tell the background's grey level; {found:.3g} is {source}")
    return found, source


def _say(what: str) -> None:
    warnings.warn(f"{what} (give it by name, or run the store again)", UserWarning, stacklevel=4)


@define_damage(
    "excess_void", "1", "void fraction of the core beyond that of a typical particle of its size, as pristine"
)
def excess_void(table: xr.Dataset) -> xr.Dataset:
    """Return (G_ref(r) - core mean) / (G_ref(r) - G_void).

    G_ref(r) is the typical core mean of particles of radius r in the reference state (a robust local line), so that
    phase contrast and blur, which make small particles brighter or darker, cancel. It reads as an excess void fraction:
    0 is a typical pristine particle, 1 a hollow one, below 0 one that is denser than typical. The standard error is
    that of the core mean; G_ref and G_void are common to all states of a particle, and their errors are left out.
    """
    core = table.mean_grey.sel(region="core", drop=True)
    radius = table.radius_um.values
    seen = core.sel(state=table.attrs["reference"]).values
    typical = xr.DataArray(robust_curve(radius, seen, radius), dims="particle")
    contrast = typical - table.attrs["void_grey"]
    if abs(int(np.sign(contrast).sum())) != contrast.size:
        low, high = float(typical.min()), float(typical.max())
        raise AnalysisError(
            f"the grey level of a void, {table.attrs['void_grey']:g} ({table.attrs['void_grey_source']}), is not "
            f"outside those of the particles' cores, {low:g} to {high:g}; give void_grey"
        )
    error = table.mean_grey_error.sel(region="core", drop=True) / np.abs(contrast)
    return xr.Dataset({"damage": (typical - core) / contrast, "standard_error": error})


@define_damage("core_darkening", "1", "the core's mean grey level in the reference state minus that in the state")
def core_darkening(table: xr.Dataset) -> xr.Dataset:
    """Return the loss of grey level since the reference state, in grey levels; 0 in the reference itself."""
    core = table.sel(region="core", drop=True)
    pristine = core.sel(state=table.attrs["reference"], drop=True)
    error = np.sqrt(core.mean_grey_error**2 + pristine.mean_grey_error**2)
    there = core.state == table.attrs["reference"]
    return xr.Dataset({"damage": pristine.mean_grey - core.mean_grey, "standard_error": error.where(~there, 0.0)})


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
        `damage`, `standard_error` and `core_grey`, (state, particle); coordinate `radius_um`; attributes as those of
        :func:`evidence`, and `definition`.

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
    _check_values(params.damage, made, table)
    words = {"damage": factor.definition, "standard_error": "standard error of the damage factor, from noise"}
    columns = {
        name: named(made[name].transpose(*_BOTH).astype(float).compute(), factor.units, words[name]) for name in words
    }
    core = named(table.mean_grey.sel(region="core", drop=True), "1", "mean grey level of the core")
    found = xr.Dataset({**columns, "core_grey": core}, coords=table.drop_dims("region").coords)
    return found.assign_attrs(table.attrs, definition=factor.definition)


def _check_values(name: str, made: xr.Dataset, table: xr.Dataset) -> None:
    wanted = {dim: table.sizes[dim] for dim in _BOTH}
    for column in ("damage", "standard_error"):
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
