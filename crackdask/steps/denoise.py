"""Non-local means in three dimensions (paper, 4.5: "smoothed using a non-local means filter"), a median or a Gaussian.

The result does not depend on the blocks: a voxel is a function, in whole numbers, of the grey levels within reach of
the filter, which every block reads as its halo, reflected at the image edge and nowhere else; the noise level is one
number for all states, from an exact histogram over the whole reference.

Voxels outside the scan stay outside. Median and Gaussian leave them out of every window; to non-local means they are
patches unlike all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, inner, padded, total
from crackdask.grid import Grid
from crackdask.kernels.gaussian import LARGEST_SIGMA, gaussian, radius
from crackdask.kernels.level_counts import level_counts
from crackdask.kernels.median_filter import median
from crackdask.kernels.nlm import margin, nlm
from crackdask.schema import GREY_LEVELS, OUTSIDE
from crackdask.steps.declaration import Of, Setting, Stage, Step, Volume
from crackdask.steps.noise import noise_passes

#: The parameters that decide the result of each method.
_NLM = {"patch_size", "patch_distance", "h", "sigma"}
_DECIDING = {"nlm": _NLM, "median": {"median_size"}, "gaussian": {"gaussian_sigma"}, "none": _NLM}


class NoiseError(ValueError):
    """The noise that was measured is none that non-local means can take away."""


class DenoiseParams(BaseModel):
    """Parameters of the filters; those of non-local means are named as in scikit-image."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: Literal["nlm", "median", "gaussian", "none"] = Field(
        "nlm", description="non-local means; median or Gaussian where there is little noise; or no filter at all"
    )
    patch_size: int = Field(3, ge=1, le=9, description="edge of the compared patches, voxels, odd")
    patch_distance: int = Field(5, ge=1, le=15, description="reach of the search cube, voxels")
    h: float | Literal["auto"] = Field("auto", description="cut-off in grey levels; auto: 0.8 noise")
    sigma: float | Literal["auto"] = Field("auto", description="noise, grey levels; auto: measured")
    median_size: int = Field(3, ge=3, le=15, description="edge of the median's cube, voxels, odd")
    gaussian_sigma: float = Field(
        1.0, ge=0.2, le=LARGEST_SIGMA, description="standard deviation of the Gaussian, voxels (it reaches 4 of them)"
    )

    @field_validator("patch_size", "median_size")
    @classmethod
    def _odd(cls, size: int, field: ValidationInfo) -> int:
        if size % 2 == 0:
            what = "a patch" if field.field_name == "patch_size" else "the median's cube"
            raise ValueError(f"{what} is centred, so its size is odd: {size - 1} or {size + 1}, not {size}")
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
        match self.method:
            case "nlm":
                return margin(self.patch_size, self.patch_distance)
            case "median":
                return self.median_size // 2
            case "gaussian":
                return radius(self.gaussian_sigma)
            case "none":
                return 0

    @property
    def reads_noise(self) -> bool:
        """Whether the filter looks up the measured noise."""
        return self.method == "nlm" and self.sigma == "auto"

    @property
    def keeps_edges(self) -> bool:
        """Whether edges stay so sharp that a shoulder of the histogram means a third phase, and not mixed voxels."""
        return self.method == "nlm"

    @property
    def costs_as(self) -> str:
        """The method, with those of its parameters that make a voxel dearer: runs alike in it take alike."""
        match self.method:
            case "nlm":
                return f"nlm {self.patch_size} {self.patch_distance}"
            case "median":
                return f"median {self.median_size}"
            case "gaussian" | "none":
                return self.method

    def deciding(self) -> dict[str, Any]:
        """Return the parameters that decide the result, as plain values.

        A filter's own parameters alone, so that those of others may change. (No filter names those of non-local means,
        as stores did from the beginning.)
        """
        return self.model_dump(mode="json", include={"method", *_DECIDING[self.method]})


def passes(params: DenoiseParams) -> tuple[Pass, ...]:
    """Return the filter as a pass: `grey` to `denoised` and the table `denoised_histogram`."""
    return (
        Pass(
            name="denoise",
            kernel=partial(_denoise, params),
            reads={"grey": params.halo},
            writes={"denoised": "uint8"},
            tables=("noise",) if params.reads_noise else (),
            makes=("denoised_histogram",),
            reduce=_sum_histograms,
            scratch=14,
        ),
    )


def _denoise(params: DenoiseParams, block: Block) -> Result:
    grey = padded(block, "grey", params.halo, mode="reflect")
    own = inner(grey, params.halo)
    denoised = _filtered(params, block, grey) if own.any() else own.copy()
    return Result({"denoised": denoised}, {"counts": level_counts(denoised)})


def _filtered(params: DenoiseParams, block: Block, grey: Array) -> Array:
    """Return the block's own voxels of its padded grey levels, smoothed."""
    match params.method:
        case "median":
            return median(grey, params.median_size, OUTSIDE)
        case "gaussian":
            return gaussian(grey, params.gaussian_sigma, OUTSIDE)
        case "nlm":
            return _non_local_means(params, block, grey)
        case "none":
            return inner(grey, params.halo).copy()


def _non_local_means(params: DenoiseParams, block: Block, grey: Array) -> Array:
    own = inner(grey, params.halo)
    noise = float(block.table("noise")) if params.sigma == "auto" else float(params.sigma)
    if noise == 0.0:
        return own.copy()
    if noise >= GREY_LEVELS:
        raise NoiseError(
            f"[denoise] sigma: the reference seems to have a noise of {noise:.0f} grey levels, for every voxel differs "
            f"from the next; wanted below {GREY_LEVELS}: set sigma yourself, or another method, and look at the scan"
        )
    h = 0.8 * noise if params.h == "auto" else float(params.h)
    denoised = nlm(grey, patch_size=params.patch_size, patch_distance=params.patch_distance, h=h, sigma=noise)
    denoised[own == OUTSIDE] = OUTSIDE
    np.maximum(denoised, own != OUTSIDE, out=denoised, casting="unsafe")
    return denoised


def _sum_histograms(grid: Grid, tallies: Sequence[Tally], tables: Tables) -> Tables:
    return {"denoised_histogram": total(tallies, "counts")}


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
    writes={"denoised": Volume("uint8", 0.9, kept="on request")},
    passes=_planned,
    seconds_per_megavoxel=0.1,
)
