"""Non-local means in three dimensions (paper, 4.5: "smoothed using a non-local means filter").

The result does not depend on the blocks: a voxel is a function of the grey levels within the search and patch radius,
which every block reads as its halo, reflected at the image edge and nowhere else; the noise level is one number for all
states, from an exact histogram over the whole reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, inner, padded, total
from crackdask.grid import Grid
from crackdask.kernels.nlm import margin, nlm
from crackdask.schema import GREY_LEVELS, OUTSIDE

_DIFFERENCES = 4 * GREY_LEVELS
# |2b - a - c| of white noise of standard deviation s has standard deviation sqrt(6) s; 0.6745 is the median
# of the absolute value of a standard normal variable.
_MEDIAN_OF_DIFFERENCE = 0.6744897501960817 * 6**0.5


class DenoiseParams(BaseModel):
    """Parameters of the non-local means filter, named as in scikit-image."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: Literal["nlm", "none"] = Field("nlm", description="non-local means, or no filter at all")
    patch_size: int = Field(3, ge=1, le=9, description="edge of the compared patches, voxels, odd")
    patch_distance: int = Field(5, ge=1, le=15, description="reach of the search cube, voxels")
    h: float | Literal["auto"] = Field("auto", description="cut-off in grey levels; auto: 0.8 noise")
    sigma: float | Literal["auto"] = Field("auto", description="noise, grey levels; auto: measured")

    @field_validator("patch_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"a patch is centred, so its size is odd: {size - 1} or {size + 1}, not {size}")
        return size

    @field_validator("h", "sigma")
    @classmethod
    def _positive(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0 < value < GREY_LEVELS:
            raise ValueError(f"must be above 0 and below {GREY_LEVELS} grey levels, not {value}")
        return value

    @property
    def halo(self) -> int:
        """Voxels that a block needs around its own."""
        return margin(self.patch_size, self.patch_distance) if self.method == "nlm" else 0


def noise_passes() -> tuple[Pass, ...]:
    """Return the pass that measures the noise of a state: `grey` to the table `noise` (grey levels).

    The estimate is the median absolute second difference along x over all voxels inside the scan, from an
    exact histogram (Immerkaer's idea with a robust scale): edges and cracks are few, noise is everywhere.
    """
    return (
        Pass(
            name="noise",
            kernel=_differences,
            reads={"grey": 1},
            makes=("noise",),
            reduce=_noise,
            scratch=12,
        ),
    )


def passes(params: DenoiseParams) -> tuple[Pass, ...]:
    """Return the filter as a pass: `grey` to `denoised` and the table `denoised_histogram`."""
    return (
        Pass(
            name="denoise",
            kernel=partial(_denoise, params),
            reads={"grey": params.halo},
            writes={"denoised": "uint8"},
            tables=("noise",),
            makes=("denoised_histogram",),
            reduce=_sum_histograms,
            scratch=14,
        ),
    )


def _differences(block: Block) -> Result:
    halo = (0, 0, 1)
    grey = block.read("grey", halo).astype(np.int16)
    left, middle, right = grey[..., :-2], grey[..., 1:-1], grey[..., 2:]
    inside = (left != OUTSIDE) & (middle != OUTSIDE) & (right != OUTSIDE)
    differences = np.abs(2 * middle - left - right)[inside]
    return Result(tally={"counts": np.bincount(differences, minlength=_DIFFERENCES)})


def _noise(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    counts = total(tallies, "counts")
    below = np.cumsum(counts)
    half = below[-1] / 2
    level = int(np.searchsorted(below, half))
    inside = counts[level]
    # The counts of one level are spread evenly over [level - 1/2, level + 1/2].
    share = (half - (below[level] - inside)) / inside if inside else 0.5
    median = max(level - 0.5 + share, 0.0)
    return {"noise": np.array(median / _MEDIAN_OF_DIFFERENCE)}


def _denoise(params: DenoiseParams, block: Block) -> Result:
    grey = padded(block, "grey", params.halo, mode="reflect")
    own = inner(grey, params.halo).copy()
    noise = float(block.table("noise")) if params.sigma == "auto" else float(params.sigma)
    if params.method == "none" or noise == 0.0 or not own.any():
        denoised = own
    else:
        h = 0.8 * noise if params.h == "auto" else float(params.h)
        denoised = nlm(
            grey,
            patch_size=params.patch_size,
            patch_distance=params.patch_distance,
            h=h,
            sigma=noise,
        )
        denoised[own == OUTSIDE] = OUTSIDE
        np.maximum(denoised, own != OUTSIDE, out=denoised, casting="unsafe")
    return Result({"denoised": denoised}, {"counts": histogram(denoised)})


def histogram(grey: Array) -> Array:
    """Return the counts of the 256 grey levels.

    >>> int(histogram(np.array([3, 3, 0], np.uint8))[3])
    2
    """
    return np.bincount(grey.ravel(), minlength=GREY_LEVELS)


def _sum_histograms(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    return {"denoised_histogram": total(tallies, "counts")}


# ---------------------------------------------------------------- what the step declares of itself

from crackdask.steps.declaration import Of, Setting, Stage, Step, Volume  # noqa: E402


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return (*noise_passes(), *passes(setting.parameters["denoise"]))


STEP = Step(
    name="denoise",
    stage=Stage.STATES,
    parameters=DenoiseParams,
    sections=("denoise",),
    facts=("fill",),
    needs=(("denoise", Of.REFERENCE), ("grey", Of.ITSELF)),
    reads=(("grey", Of.ITSELF),),
    writes={"denoised": Volume("uint8", 0.6, kept="on request")},
    passes=_planned,
    seconds_per_megavoxel=0.21,
)
