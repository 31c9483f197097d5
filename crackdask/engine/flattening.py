"""The slow trend of a scan's grey levels taken off, where the recipe asks for it, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crackdask.analysis.findings import Finding
from crackdask.analysis.grey_findings import has_rings, of_flattening
from crackdask.blocks.passes import Array
from crackdask.engine.context import RunContext
from crackdask.grid import Box
from crackdask.kernels.flat_field import EVEN, TERMS, FlatField, flat_field, flatten, histogram
from crackdask.kernels.slow_trends import Trend, along_axes, ring_strength, trend
from crackdask.schema import GREY_LEVELS
from crackdask.steps.coarse_registration import Level
from crackdask.steps.read import histogram_of


@dataclass(frozen=True)
class FlatReader:
    """Reads boxes of a scan without its trend; voxels that were not measured stay what they are."""

    read: Callable[[Box], Array]
    field: FlatField
    fill: float | None

    def __call__(self, box: Box) -> Array:
        """Return the voxels of a box, float64."""
        raw = self.read(box)
        flat = flatten(raw, 1, self.field, box.start)
        return flat if self.fill is None else np.where(raw == self.fill, self.fill, flat)


@dataclass(frozen=True)
class Flattening:
    """One state's scan, its small version as it is and as it is measured.

    Attributes
    ----------
    context
        Of the run.
    state
        Number of the state.
    raw
        Small version of its scan.
    """

    context: RunContext
    state: int
    raw: Level

    @property
    def asked(self) -> bool:
        """Whether the recipe asks for flat scans."""
        return self.context.recipe.grey.flatten

    @cached_property
    def field(self) -> FlatField:
        """The trend that is taken off: of the voxels inside the crop; none where none is asked for or can be told."""
        if not self.asked:
            return EVEN
        inside = np.zeros(self.raw.grey.shape, bool)
        inside[_coarse(self.context.scans.crop, self.raw.factor)] = True
        if self.raw.valid is not None:
            inside &= self.raw.valid
        shape = self.context.scans.sources[self.state].shape
        return flat_field(self.raw.grey, inside, self.raw.factor, shape) or EVEN

    @cached_property
    def small(self) -> Level:
        """The small version as it is measured."""
        if not self.field.bright.size:
            return self.raw
        return Level(self.raw.factor, flatten(self.raw.grey, self.raw.factor, self.field), self.raw.valid)

    @cached_property
    def trend(self) -> Trend | None:
        """What is left across the scan."""
        return trend(self.small.grey, self.small.valid)

    @property
    def reader(self) -> Callable[[Box], Array]:
        """Reads boxes of the scan as it is measured."""
        read = self.context.volume("raw", self.state).read
        return FlatReader(read, self.field, self.context.recipe.experiment.fill) if self.field.bright.size else read

    def counted(self) -> tuple[Array, Array]:
        """Return the histogram that tells the scan's grey scale: of all its voxels, or of the flat small version."""
        if not self.asked:
            counts = histogram_of(self.context.result("read", self.state))
            return counts.centres, counts.counts
        grey, valid = self.small.grey, self.small.valid
        at = _coarse(self.context.scans.crop, self.raw.factor)
        return histogram(grey[at] if valid is None else grey[at][valid[at]])

    def told(self) -> tuple[list[Finding], dict[str, Array]]:
        """Return what was taken off as findings and as tables that are kept with the state's result."""
        left, rings = along_axes(self.trend), self._rings()
        if not self.asked:
            return [], {"across_scan": left[None], **rings}
        before = trend(self.raw.grey, self.raw.valid)
        name = self.context.recipe.states[self.state].name
        found = of_flattening(name, before, self.trend if self.field.bright.size else None)
        tables = {"across_scan": np.stack([along_axes(before), left]), **rings}
        if self.field.bright.size:
            tables["flat_field"] = np.column_stack([self.field.levels, np.stack([self.field.dark, self.field.bright])])
        return found, tables

    def _rings(self) -> dict[str, Array]:
        """Return the strength of rings, raw values squared times a voxel, and the voxel (y, x) of their axis."""
        if self.trend is None or not has_rings(self.trend):
            return {}
        _, y, x = self.context.scans.sources[self.state].shape
        return {"rings": np.array([ring_strength(self.trend.rings, self.raw.factor), (y - 1) / 2, (x - 1) / 2])}


def flattenings(context: RunContext, levels: Callable[[int], Level]) -> Callable[[int], Flattening]:
    """Return what gives each state's flattening, made once; `levels` gives the small version of a state's scan."""
    made: dict[int, Flattening] = {}

    def of(state: int) -> Flattening:
        if state not in made:
            made[state] = Flattening(context, state, levels(state))
        return made[state]

    return of


def across_scans(context: RunContext) -> dict[str, Any]:
    """Return what the root attribute `found` tells of trends and rings, by state (`schema.ACROSS_SCANS`)."""
    told: dict[str, dict[str, Any]] = {"across_scan": {}, "flat_field": {}, "rings": {}}
    for s, state in enumerate(context.recipe.states):
        tables: Mapping[str, Array] = context.result("grey", s)
        (low, high), gain = tables["window"].tolist(), float(tables["normalised"][0])
        if "across_scan" in tables:  # not in results of before it was kept
            rounds = [_plain(each) for each in tables["across_scan"]]
            told["across_scan"][state.name] = dict(zip(("before", "after"), rounds, strict=False))
        if "flat_field" in tables:
            levels, dark, bright = tables["flat_field"][:, 0], *tables["flat_field"][:, 1:]
            surfaces = {"background": dark.tolist(), "solid": bright.tolist(), "to": levels.tolist()}
            told["flat_field"][state.name] = {"terms": list(TERMS), **surfaces}
        if "rings" in tables:
            strength, y, x = tables["rings"].tolist()
            in_grey = strength * (gain * (GREY_LEVELS - 2) / (high - low)) ** 2
            told["rings"][state.name] = {"strength": in_grey, "axis_yx": [y, x]}
    return {name: by_state for name, by_state in told.items() if by_state}


def _plain(levels: Array) -> dict[str, list[float | None]]:
    rows = ([None if np.isnan(each) else round(each, 6) for each in row] for row in levels.tolist())
    return dict(zip("zyx", rows, strict=True))


def _coarse(box: Box, factor: int) -> tuple[slice, ...]:
    """Return the voxels of a small version that lie in a box of the scan, at least in part."""
    return tuple(slice(a // factor, -(-b // factor)) for a, b in zip(box.start, box.stop, strict=True))
