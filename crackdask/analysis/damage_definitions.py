"""Definitions of damage, each registered under the name that the recipe asks for it by: add yours at the end.

A definition is a function from what is known of the particles to a number for each of them in each state; higher is
worse. It is to be comparable between particles of any size and between states (paper, 2.3 and 2.4). The paper's own
formula is in a glossary that is not open; the definitions here are crackdask's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.uncertainty import leak, own_spread, scan_spread
from crackdask.kernels.smooth_curve import robust_band
from crackdask.lazy_import import Later

if TYPE_CHECKING:
    import xarray as xr
else:
    xr = Later("xarray")

Definition: TypeAlias = "Callable[[xr.Dataset], xr.DataArray | xr.Dataset]"


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
    eighth is the inner half of the radius, which the region `core` is rounded to whole shells. What blur took out of
    the core where states were brought to be as blurry as each other is given back (`blur_loss`).

    The standard error counts noise, what else differs between scans, rings, the error of each scan's grey scale, what
    is the particle's own in all scans, the error of G_ref, and the share of the damage that optics may have moved.
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
    void = (level - core.layer_grey - _regained(table)) / contrast
    noise = np.hypot(core.layer_grey_error, table.get("blur_gain_error", 0.0)) / np.abs(contrast)
    drifted = np.hypot((1 - void) * table.solid_error, void * table.background_error) / np.abs(contrast)
    rings, of_all = (table.get(name, xr.zeros_like(noise)) / contrast for name in ("ring_error", "ring_own_error"))
    scan = np.sqrt(noise**2 + (scan_spread(table) / contrast) ** 2 + drifted**2 + rings**2)
    own = np.sqrt((np.hypot(own_spread(table), doubt) / contrast) ** 2 + of_all**2)
    scale = np.hypot(leak(table), table.attrs["void_grey_error"] / np.abs(contrast))
    error = np.sqrt(scan**2 + own**2 + (scale * void) ** 2)
    errors = {"noise_error": noise, "scan_error": scan, "scale_error": scale, "standard_error": error}
    return xr.Dataset({"damage": void, **errors})


def _regained(table: xr.Dataset) -> xr.DataArray | float:
    """Return what blur took from the core, beyond what it takes in a typical pristine particle of that size."""
    if "blur_gain" not in table:
        return 0.0
    radius, gain = table.radius_um.values, table.blur_gain
    typical, _, _ = robust_band(radius, gain.sel(state=table.attrs["reference"], drop=True).values, radius)
    return gain - xr.DataArray(typical, dims="particle")


@define_damage("core_darkening", "1", "the core's mean grey level in the reference state minus that in the state")
def core_darkening(table: xr.Dataset) -> xr.Dataset:
    """Return the loss of grey level since the reference state, in grey levels; 0 in the reference itself.

    The core is the innermost eighth of the volume.
    """
    core = table.sel(layer="inner", drop=True)
    change = core.layer_grey.sel(state=table.attrs["reference"], drop=True) - core.layer_grey
    noise, scale = core.layer_grey_error, leak(table)
    rings = table.get("ring_error", xr.zeros_like(noise))
    scan = np.sqrt(noise**2 + scan_spread(table) ** 2 + table.solid_error**2 + rings**2)
    error = np.sqrt(scan**2 + scan.sel(state=table.attrs["reference"], drop=True) ** 2 + (scale * change) ** 2)
    there = core.state == table.attrs["reference"]
    errors = {"noise_error": noise, "scan_error": scan, "scale_error": scale}
    return xr.Dataset({"damage": change, **errors, "standard_error": error.where(~there, 0.0)})
