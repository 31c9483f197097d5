"""One grey scale for all states: the window, and resampling into the reference's frame (paper, 4.5).

The result does not depend on the blocks: the window, if not given, comes from a histogram of the reference's cropped
raw voxels, the peaks of `normalise` from that of each state, and a voxel's source position from its index in the whole
volume, by one fixed expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, total
from crackdask.grid import Box, Grid, Triple
from crackdask.kernels.flat_field import EVEN, FlatField
from crackdask.kernels.otsu import otsu_bin
from crackdask.kernels.resample import resample_grey, source_box
from crackdask.kernels.source_positions import STRAIGHT, Lattice
from crackdask.schema import GREY_LEVELS
from crackdask.steps.declaration import Of, Setting, Stage, Step, Volume


def _pair(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"two numbers, [lo, hi], not {value!r}")
    return tuple(value)


Level = Annotated[float, Field(ge=-1e38, le=1e38, allow_inf_nan=False)]
Window = Annotated[tuple[Level, Level], BeforeValidator(_pair)]


class GreyParams(BaseModel):
    """Parameters of the 8-bit grey scale that all states share."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    window: Literal["auto"] | Window = Field("auto", description="raw values mapped to 1 and 255")
    normalise: Literal["auto", "none", "peaks"] = Field(
        "auto",
        description="map each state's background and solid peak to the reference's: auto where they drifted by more "
        "than their error, peaks always, none never",
    )
    flatten: bool = Field(
        False, description="take the slow trend of grey levels across each scan (cupping, the beam's profile) off"
    )
    interpolation: Literal["cubic", "linear"] = Field("cubic", description="between source voxels")
    match_sharpness: Literal["auto", "none"] = Field(
        "auto", description="auto: where states differ, measure the sharper ones as blurry as the blurriest"
    )

    @field_validator("window")
    @classmethod
    def _ordered(cls, window: str | tuple[float, float]) -> str | tuple[float, float]:
        if not isinstance(window, str) and not window[0] < window[1]:
            raise ValueError(f"the window needs lo < hi, not lo = {window[0]:g} and hi = {window[1]:g}")
        return window

    def deciding(self) -> dict[str, Any]:
        """Return the parameters that decide the grey levels, as plain values; `measure` matches sharpness."""
        return self.model_dump(mode="json", exclude={"match_sharpness", *(() if self.flatten else ("flatten",))})


def auto_window(low: float, high: float) -> tuple[float, float]:
    """Return the window for two percentiles of the reference: their range widened by a tenth.

    >>> auto_window(100.0, 300.0)
    (90.0, 310.0)
    """
    margin = (high - low) / 20
    return low - margin, high + margin


def peaks(values: Array, counts: Array) -> tuple[float, float]:
    """Return the commonest raw value of background and of solid.

    The histogram between its 0.1 and 99.9 percentiles is put into 256 bins, parted at Otsu's level, and each
    part's peak is the centre of mass of the bins around its highest smoothed bin.

    Parameters
    ----------
    values, counts
        The histogram: value at the middle of each bin (ascending) and voxels in it.
    """
    below = np.cumsum(counts)
    few = below[-1] // 1000
    low = float(values[np.searchsorted(below, few, side="right")])
    high = float(values[np.searchsorted(below, below[-1] - few)])
    if not low < high:
        raise ValueError("a histogram with a single value has no background and solid peak")
    # A value stands for all that rounds to it: spread over its width, or whole numbers would leave a comb.
    width = float(values[1] - values[0])
    low, high = low - width / 2, high + width / 2
    ends = np.append(values - width / 2, values[-1] + width / 2)
    coarse = np.diff(np.interp(np.linspace(low, high, GREY_LEVELS + 1), ends, np.append(0, below)))
    smooth = np.convolve(coarse, np.ones(9), mode="same")
    parted = otsu_bin(smooth.tolist()) + 1
    tops = []
    for start, stop in ((0, parted), (parted, GREY_LEVELS)):
        top = start + int(np.argmax(smooth[start:stop]))
        near = np.arange(max(start, top - 6), min(stop, top + 7))
        centre = float(np.sum(coarse[near] * (near + 0.5)) / np.sum(coarse[near]))
        tops.append(low + centre * (high - low) / GREY_LEVELS)
    return tops[0], tops[1]


@dataclass(frozen=True)
class Resampling:
    """Everything that turns one state's raw voxels into grey levels: plain numbers.

    Attributes
    ----------
    matrix
        Rows of the 4 x 4 transform, stored voxel index (z, y, x, 1) to voxel index of the scan.
    shape
        Shape of the scan.
    low, high
        The window, raw values of the reference.
    gain, offset
        Map this state's raw values to the reference's.
    fill
        Raw value of voxels the scanner did not measure, or None.
    lattice
        Displacements of stored voxels, before the matrix.
    field
        The slow trend of the scan's grey levels, which is taken off first.
    """

    matrix: tuple[tuple[float, ...], ...]
    shape: Triple
    low: float
    high: float
    gain: float = 1.0
    offset: float = 0.0
    fill: float | None = None
    lattice: Lattice = STRAIGHT
    field: FlatField = EVEN


def passes(params: GreyParams, resampling: Resampling) -> tuple[Pass, ...]:
    """Return the step as a pass: `raw` to `grey`, and the table `grey_voxels` (valid, under, over)."""
    return (
        Pass(
            name="grey",
            kernel=partial(_grey, params, resampling),
            reads={"raw": partial(_source, params, resampling)},
            writes={"grey": "uint8"},
            makes=("grey_voxels",),
            scratch=4,  # the scan's voxels as float32
            reduce=_count,
            narrow=partial(_near, params, resampling) if resampling.lattice.values.size else None,
        ),
    )


def _near(params: GreyParams, resampling: Resampling, box: Box) -> Pass:
    """Return the pass with the part of the lattice that bends a box."""
    return passes(params, replace(resampling, lattice=resampling.lattice.near(box)))[0]


def _source(params: GreyParams, resampling: Resampling, box: Box) -> Box:
    source = source_box(np.array(resampling.matrix), box, resampling.shape, params.interpolation, resampling.lattice)
    return source or Box((0, 0, 0), (0, 0, 0))


def _grey(params: GreyParams, resampling: Resampling, block: Block) -> Result:
    box = block.grid.box(block.number)
    grey, counts = resample_grey(
        block.read("raw"),
        _source(params, resampling, box),
        np.array(resampling.matrix),
        box,
        resampling.shape,
        lo=resampling.low,
        hi=resampling.high,
        fill=resampling.fill,
        interpolation=params.interpolation,
        lattice=resampling.lattice,
        gain=resampling.gain,
        offset=resampling.offset,
        field=resampling.field,
    )
    names = ("valid", "clipped_low", "clipped_high")
    return Result({"grey": grey}, {"counts": np.array([counts[name] for name in names])})


def _count(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    return {"grey_voxels": total(tallies, "counts")}


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return passes(setting.parameters["grey"], Resampling((), setting.scan, 0.0, 1.0))


STEP = Step(
    name="grey",
    stage=Stage.SCANS,
    parameters=GreyParams,
    sections=("grey",),
    facts=("fill",),
    opened=("shape",),
    version=4,  # what blur and noise spread of cracks is no drift
    needs=(("register", Of.ITSELF), ("read", Of.REFERENCE), ("read", Of.ITSELF)),
    reads=(("raw", Of.REFERENCE), ("raw", Of.ITSELF)),
    writes={"grey": Volume("uint8", 0.85, kept="always")},
    passes=_planned,
    seconds_per_megavoxel=0.02,
)
