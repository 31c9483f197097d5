"""Tomograms that are kept: what was reconstructed, as attenuations per voxel edge, before it becomes grey levels.

Each voxel is made of the one voxel of the raw scan at its place, in one fixed expression, so blocks cannot matter.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from crackdask.blocks.passes import Block, Pass, Result
from crackdask.kernels.quantisation import LAST
from crackdask.schema import KEPT_TOMOGRAMS, TOMOGRAMS
from crackdask.steps.declaration import Of, Setting, Stage, Step, Volume
from crackdask.steps.reconstruct_parameters import ReconstructParams

Window = tuple[float, float] | None


def passes(params: ReconstructParams, window: Window, *, made: bool) -> tuple[Pass, ...]:
    """Return the step as passes: `raw` to the array of kept tomograms.

    Parameters
    ----------
    params
        The recipe's section.
    window
        Attenuation of the first and last level where `raw` holds levels; None where it holds attenuations.
    made
        Whether the state was reconstructed; what was a tomogram already has a scale of its own, and is kept as NaN.
    """
    kind = str(params.keep)
    kernel = partial(_attenuations, window, kind) if made else partial(_nothing, kind)
    return (Pass(TOMOGRAMS, kernel, {"raw": 0} if made else {}, {KEPT_TOMOGRAMS: kind}),)


def _attenuations(window: Window, kind: str, block: Block) -> Result:
    """Return attenuations; none is beyond what float16 can be, for a whole ray takes less than a hundred of them."""
    raw = block.read("raw")
    if window is not None:
        low, high = window
        raw = low + raw * ((high - low) / LAST)
    return Result({KEPT_TOMOGRAMS: raw.astype(kind)})


def _nothing(kind: str, block: Block) -> Result:
    return Result({KEPT_TOMOGRAMS: np.full(block.grid.box(block.number).shape, np.nan, kind)})


def _asked(parameters: Any, is_reference: bool) -> bool:
    params = parameters["reconstruct"]
    return params is not None and params.keep is not None


def _planned(setting: Setting) -> tuple[Pass, ...]:
    return passes(setting.parameters["reconstruct"], None, made=True) if _asked(setting.parameters, True) else ()


STEP = Step(
    name=TOMOGRAMS,
    stage=Stage.SCANS,
    sections=("reconstruct.keep",),
    needs=(("read", Of.ITSELF),),
    reads=(("raw", Of.ITSELF),),
    writes={TOMOGRAMS: Volume(dtype=None, kept="always")},
    asked=_asked,
    passes=_planned,
    walks="scan",
    seconds_per_megavoxel=0.02,
)
