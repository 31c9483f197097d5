"""What a run makes of grey levels as a whole: each scan's scale against the reference's, and the levels of phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil, floor
from typing import Any

import numpy as np

from crackdask.analysis import findings, grey_findings
from crackdask.analysis.findings import Finding
from crackdask.blocks.passes import Array
from crackdask.engine.context import RunContext
from crackdask.engine.flattening import Flattening
from crackdask.engine.work_units import Unit
from crackdask.grid import Box
from crackdask.kernels.grey_drift import SURE, Drift, drift, onto, shift
from crackdask.kernels.histogram_peaks import Peak, peaks_of, shoulder
from crackdask.schema import GREY_LEVELS
from crackdask.steps.grey import peaks
from crackdask.steps.grey_pairs import Places, Scale, boxes, drift_of_pairs, pair_counts, whole_shift
from crackdask.steps.histograms import commonest
from crackdask.steps.registration_result import StoredField

#: By which share of the contrast blur or noise that differ between states may draw the peaks of a histogram together:
#: the doubt in a drift that peaks alone tell.
DRAWN_TOGETHER = 0.01


def onto_reference(
    context: RunContext, unit: Unit, scan: Callable[[int], Flattening]
) -> tuple[float, float, dict[str, Array]]:
    """Return gain and offset that bring a scan onto the reference's grey scale, and tables to be kept with them.

    `peak_error` is how far off background and solid may be then, in the reference's raw values; NaN where that cannot
    be told. `paired` says whether the same places of both scans told it, `findings` what was corrected, or what was
    not, and what differs across the scan.

    Parameters
    ----------
    scan
        Returns a state's scan as it is to be measured: flat, where that is asked for.
    """
    normalise, name = context.recipe.grey.normalise, context.recipe.states[unit.state].name
    here, there = scan(unit.state), scan(context.recipe.reference)
    flat, tables = here.told()
    if unit.state == context.recipe.reference:
        told = [*flat, *grey_findings.of_trend(name, here.trend, None)]
        return 1.0, 0.0, {"peak_error": np.zeros(2), "paired": np.array(True), **tables, **findings.packed(told)}
    uneven = [*flat, *grey_findings.of_trend(name, here.trend, there.trend)]
    own, reference = here.counted(), there.counted()
    seen, paired = _drift(context, unit, (here, peaks_of(*own)), (there, peaks_of(*reference)))
    tables["paired"] = np.array(paired)
    gain, offset = 1.0, 0.0
    if normalise == "peaks":
        gain, offset = onto(peaks(*own), peaks(*reference))
    elif normalise == "auto" and seen is not None and seen.sure:
        gain, offset = seen.gain, seen.offset
    if seen is None:
        return gain, offset, {"peak_error": np.full(2, np.nan), **tables, **findings.packed(uneven)}
    error = np.array([seen.background_error, seen.solid_error])
    if normalise == "none" and seen.sure:
        error = np.hypot(error, [seen.background, seen.solid])
    told = [*grey_findings.of_drift(name, seen, normalise), *uneven]
    return gain, offset, {"peak_error": error, **tables, **findings.packed(told)}


def _drift(
    context: RunContext,
    unit: Unit,
    scan: tuple[Flattening, Sequence[Peak]],
    reference_scan: tuple[Flattening, Sequence[Peak]],
) -> tuple[Drift | None, bool]:
    """Return the drift that the same places of both scans tell, or where they are too few the peaks; and if places."""
    (here, own), (there, reference) = scan, reference_scan
    if len(own) < 2 or len(reference) < 2:
        return None, False
    wanted = (reference[0].level, reference[-1].level)
    scale = Scale(*onto((own[0].level, own[-1].level), wanted), *wanted)
    registered, crop = context.result("register", unit.state), context.scans.crop
    looked_at = boxes(context.grid.shape)
    lattice = StoredField.of(registered).lattice(Box.whole(context.grid.shape))
    places = Places(
        there.reader,
        here.reader,
        crop.start,
        {box: whole_shift(box, registered["matrix"], lattice) for box in looked_at},
        context.scans.sources[unit.state].shape,
        context.recipe.experiment.fill,
    )
    counts = context.engine.in_order(unit.key, "levels", partial(pair_counts, places, scale), looked_at)
    seen = drift_of_pairs(np.sum(counts, axis=0), scale)
    if seen is not None:
        return seen, True
    of_peaks = drift(own, reference)
    if of_peaks is None:
        return None, False
    doubt = DRAWN_TOGETHER * abs(of_peaks.contrast)
    errors = np.hypot([of_peaks.background_error, of_peaks.solid_error], doubt).tolist()
    return replace(of_peaks, background_error=errors[0], solid_error=errors[1]), False


def grey_scales(
    context: RunContext, greys: Array, levels: Mapping[str, Any], told: Sequence[Finding]
) -> tuple[dict[str, dict[str, float]], list[Finding]]:
    """Return each state's grey scale, by name, and where the particles themselves say that it is off.

    Where too few places of both scans could be compared, the commonest level of the solid of all tracked particles
    together is held against the reference's: cracks leave it where it is, a scale that is off moves it.

    Parameters
    ----------
    greys
        Voxels of all tracked particles, (state, grey).
    levels
        `window`, and `background` and `solid` of the reference, grey levels.
    told
        What is found already; a drift is told once.
    """
    recipe, values = context.recipe, np.arange(1.0, GREY_LEVELS)
    low, high = levels["window"]
    contrast = None if None in (levels["background"], levels["solid"]) else levels["solid"] - levels["background"]
    end = -1 if recipe.mask.phase == "bright" else 0
    solids = [peaks_of(values, counts[1:])[end:][:1] for counts in greys]
    (reference,) = solids[recipe.reference : recipe.reference + 1]
    scales, found = {}, []
    for s, state in enumerate(recipe.states):
        tables = context.result("grey", s)
        errors = tables["peak_error"] * (GREY_LEVELS - 2) / (high - low)
        background, solid = errors.tolist() if recipe.mask.phase == "bright" else errors[::-1].tolist()
        moved = 0.0
        if solids[s] and reference and not tables["paired"]:
            moved, error = shift(solids[s][0], reference[0])
            solid = error if np.isnan(solid) else solid
            limit = max(SURE * float(np.hypot(error, solid)), grey_findings.SOLID_DRIFT * abs(contrast or 0))
            known = any(each.code == "grey-drift" and each.state == state.name for each in told)
            if contrast and abs(moved) > limit and not known:
                solid = float(np.hypot(solid, moved))
                found.append(grey_findings.of_particles(state.name, moved / contrast, limit / abs(contrast)))
        gain, offset = tables["normalised"].tolist()
        scales[state.name] = {
            "gain": gain,
            "offset": offset,
            "solid_shift": moved,
            "solid_error": 0.0 if np.isnan(solid) else solid,
            "background_error": 0.0 if np.isnan(background) else background,
        }
    return scales, found


def phases(context: RunContext) -> tuple[dict[str, Any], list[Finding]]:
    """Return the levels of the reference's phases, grey levels, and what they tell.

    `solid` is the commonest level of the phase that is sought, `background` that of voids: of the phase farthest from
    the sought one, which with two phases is the other. Either is None where it cannot be told. `background_error` is by
    how much it may lie beside, where another phase hides in its peak; `phases` are all levels, the darkest first.
    """
    counts = context.result("denoise")["denoised_histogram"]
    bright = context.recipe.mask.phase == "bright"
    parted = floor(float(context.result("mask")["threshold"])) + 1
    found = peaks_of(np.arange(1.0, GREY_LEVELS), counts[1:])
    dark = (1, ceil(found[0].high)) if bright and len(found) > 2 else (1, parted)
    light = (ceil(found[-1].low), GREY_LEVELS) if not bright and len(found) > 2 else (parted, GREY_LEVELS)
    both = [commonest(counts, *ends) for ends in (dark, light)]
    background, solid = both if bright else both[::-1]
    levels = [peak.level for peak in found]
    ratio = off = 0.0
    if context.recipe.denoise.keeps_edges:  # where they are blurred, all mixed voxels look like a phase
        ratio, off = shoulder(np.arange(1.0, GREY_LEVELS), counts[1:] if bright else counts[:0:-1])
    told = [*grey_findings.of_phases(levels, background, solid), *grey_findings.of_shoulder(ratio, off, levels)]
    numbers = {
        "background": background,
        "background_error": off if ratio > grey_findings.SHOULDER else 0.0,
        "solid": solid,
        "phases": [round(level, 3) for level in levels],
    }
    return numbers, told
