"""How each step is done: what it reads, the passes it makes of its blocks, what it finds, and what cannot be right.

Reading `PERFORM` is reading the method section of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil, floor

import numpy as np

from crackdask.analysis import findings, scan_findings
from crackdask.blocks.passes import Array
from crackdask.engine import sharpness
from crackdask.engine.checkpoints import Work
from crackdask.engine.context import ResultError, RunContext
from crackdask.engine.cycler_runner import recorded
from crackdask.engine.flattening import flattenings
from crackdask.engine.grey_levels import onto_reference
from crackdask.engine.kept_tomograms import kept
from crackdask.engine.particle_shifts import shifts
from crackdask.engine.reconstruct_runner import reconstructed
from crackdask.engine.table_writer import WORK_TABLES, flat, ranges
from crackdask.engine.track_runner import tracked
from crackdask.engine.work_units import Unit
from crackdask.grid import Box
from crackdask.kernels.thresholds import ThresholdError
from crackdask.recipe.recipe import Recipe
from crackdask.steps.carried_seeds import CARRIED
from crackdask.steps.coarse_registration import Level
from crackdask.steps.denoise import passes as denoise_passes
from crackdask.steps.grey import Resampling, auto_window
from crackdask.steps.grey import passes as grey_passes
from crackdask.steps.labels import passes as labels_passes
from crackdask.steps.levels import passes as levels_passes
from crackdask.steps.local_motion import Scans
from crackdask.steps.mask import passes as mask_passes
from crackdask.steps.mask import threshold_of
from crackdask.steps.measure import TooDeepError
from crackdask.steps.measure import passes_in_ranges as measure_passes
from crackdask.steps.noise import noise_passes
from crackdask.steps.read import ODD_SLICES, histogram_of, levels
from crackdask.steps.read import passes as read_passes
from crackdask.steps.register import register
from crackdask.steps.registration_parameters import RegistrationError
from crackdask.steps.registration_result import StoredField, registration_tables
from crackdask.steps.transfer import passes as transfer_passes
from crackdask.storage.locations import Prefix


def _read(context: RunContext, unit: Unit) -> dict[str, Array]:
    source, state = context.scans.sources[unit.state], context.recipe.states[unit.state]
    planned = read_passes(state.name, source.dtype, source.shape, context.recipe.experiment.fill, context.scans.crop)
    scan = source if context.scans.projections(unit.state) is None else context.volume("tomogram", unit.state)
    tables = context.passes(unit, planned, {"source": scan}, grid=context.plan.slabs)
    return {**tables, **findings.packed(scan_findings.of_slices(state.name, tables[ODD_SLICES].tolist()))}


def _register(context: RunContext, unit: Unit) -> dict[str, Array]:
    ref, params = context.recipe.reference, context.recipe.register_
    cropped = np.eye(4)
    cropped[:3, 3] = context.scans.crop.start
    if unit.state == ref or (params.transform == "none" and params.local is not True):
        return registration_tables(None, cropped, context.scans.crop)
    shape = context.scans.sources[unit.state].shape
    context.progress.begin(unit.key, "register", 0, 1)
    scans = Scans(
        context.volume("raw", ref).read,
        context.volume("raw", unit.state).read,
        shape,
        context.recipe.experiment.fill,
        context.scans.crop,
    )
    try:
        found = register(
            _pyramid(context, ref),
            _pyramid(context, unit.state),
            scans,
            shape,
            params,
            spacing=context.recipe.experiment.voxel_um,
            apply=partial(context.engine.in_order, unit.key, "register"),
        )
    except RegistrationError as error:
        states = context.recipe.states
        raise RegistrationError(f"state {states[unit.state].name!r} onto {states[ref].name!r}: {error}") from error
    return registration_tables(found, cropped, context.scans.crop)


def _pyramid(context: RunContext, state: int) -> list[Level]:
    read, fill = context.result("read", state), context.recipe.experiment.fill
    pyramid = []
    for factor in levels(context.scans.sources[state].shape):
        voxels = read[f"level_{factor}"]
        valid = None if fill is None else (~np.isnan(voxels) if np.isnan(fill) else voxels != fill)
        pyramid.append(Level(factor, voxels, valid))
    return pyramid


def _grey(context: RunContext, unit: Unit) -> dict[str, Array]:
    params = context.recipe.grey
    reference = histogram_of(context.result("read"))
    if params.window == "auto":
        low, high = auto_window(reference.percentile(0.1), reference.percentile(99.9))
    else:
        low, high = params.window
    scan = flattenings(context, lambda state: _pyramid(context, state)[0])
    gain, offset, scale = onto_reference(context, unit, scan)
    registered = context.result("register", unit.state)
    resampling = Resampling(
        tuple(tuple(row) for row in registered["matrix"].tolist()),
        context.scans.sources[unit.state].shape,
        low,
        high,
        gain,
        offset,
        context.recipe.experiment.fill,
        StoredField.of(registered).lattice(Box.whole(context.grid.shape)),
        scan(unit.state).field,
    )
    tables = context.passes(unit, grey_passes(params, resampling), {"raw": context.volume("raw", unit.state)})
    if not tables["grey_voxels"][0]:
        raise ResultError(
            f"state {context.recipe.states[unit.state].name!r} has no voxel inside the crop: "
            "check [crop], fill and [register]"
        )
    return tables | scale | {"window": np.array([low, high]), "normalised": np.array([gain, offset])}


def _denoise(context: RunContext, unit: Unit) -> dict[str, Array]:
    passes, known = denoise_passes(context.recipe.denoise), {}
    if unit.state == context.recipe.reference:
        passes = (*noise_passes(), *passes)
    else:
        known = {"noise": context.result("denoise")["noise"]}
    return context.passes(unit, passes, {"grey": context.volume("grey", unit.state)}, known)


def _mask(context: RunContext, unit: Unit) -> dict[str, Array]:
    params = context.recipe.mask
    decides = unit.state if params.per_state else context.recipe.reference
    try:
        threshold = threshold_of(params, context.result("denoise", decides)["denoised_histogram"])
    except ThresholdError as error:
        name = context.recipe.states[decides].name
        raise ResultError(f"state {name!r}: {error}: lower [mask] classes, or choose another threshold") from error
    tables = context.passes(
        unit,
        mask_passes(params),
        {"denoised": context.volume("denoised", unit.state)},
        {"threshold": np.array(threshold)},
    )
    inside, total = int(tables["mask_voxels"]), int(tables["scan_voxels"])
    if inside in (0, total):
        seen = context.result("denoise", unit.state)["denoised_histogram"]
        raise ResultError(_one_phase(context.recipe, unit.state, threshold, seen, inside, total))
    kept = ("mask_voxels", "scan_voxels", "threshold")
    return {name: tables[name] for name in kept}


def _one_phase(recipe: Recipe, state: int, threshold: float, seen: Array, inside: int, total: int) -> str:
    """Say that all voxels are of one phase, and why: the threshold alone, or what came after it."""
    params, name = recipe.mask, recipe.states[state].name
    what = "nothing" if inside == 0 else "everything"
    bright = int(seen[floor(threshold) + 1 :].sum())
    alone = bright if params.phase == "bright" else total - bright
    if alone in (0, total):
        return (
            f"the threshold {threshold:g} leaves {what} of state {name!r} as particles ({inside} of {total} "
            f"voxels); the denoised grey levels are {_spread(seen)}: set [mask] threshold between background "
            "and particles, or phase"
        )
    left = f"the threshold {threshold:g} leaves {alone} of {total} voxels of state {name!r}"
    if inside == 0:
        removers = f"opening = {params.opening} and min_island = {params.min_island}"
        return f"no particle was found: {left}, and {removers} remove them all; lower them under [mask]"
    fillers = f"closing = {params.closing} and max_hole = {params.max_hole}"
    return f"no background is left: {left}, and {fillers} fill the rest; lower them under [mask]"


def _spread(counts: Array) -> str:
    below = np.cumsum(counts[1:])
    low, middle, high = (int(np.searchsorted(below, q * below[-1])) + 1 for q in (0.01, 0.5, 0.99))
    return f"{low} to {high} (1 to 99 per cent, median {middle})"


def _labels(context: RunContext, unit: Unit) -> dict[str, Array]:
    passes = labels_passes(context.recipe.labels, context.recipe.experiment.voxel_um)
    tables = context.passes(unit, passes, {"mask": context.volume("mask", unit.state)})
    if not int(tables["particles"][0]):
        raise ResultError(
            "no particle was found in the reference: check [mask] threshold, phase and min_island, "
            "or keep_intermediate and look at `mask`"
        )
    _warn_of_caps(context, unit, tables)
    return {name: tables[name] for name in (*CARRIED, "deepest", "particles", "capped_voxels")}


def _warn_of_caps(context: RunContext, unit: Unit, tables: Mapping[str, Array]) -> None:
    capped, cap = int(tables["capped_voxels"][0]), context.recipe.labels.max_radius
    if capped:
        context.progress.warn(
            unit.key,
            f"{capped} voxels are at least {cap} voxels deep, where depth is capped; "
            f"raise [labels] max_radius above {cap} if particles are that large",
        )


def _transfer(context: RunContext, unit: Unit) -> dict[str, Array]:
    name, source = next(key for key in unit.reads if key[0] == "label")
    before = context.labels_of(source)
    passes = transfer_passes(context.recipe.transfer, context.recipe.labels, context.recipe.experiment.voxel_um)
    inputs = {
        "mask": context.volume("mask", unit.state),
        "previous_label": context.volume(name, source),
        "previous_depth": context.volume("depth", source),
    }
    tables = context.passes(unit, passes, inputs, {name: before[name] for name in CARRIED})
    _warn_of_caps(context, unit, tables)
    return {name: tables[name] for name in (*CARRIED, "deepest", "capped_voxels")}


def _levels(context: RunContext, unit: Unit) -> dict[str, Array]:
    copied = isinstance(context.path, Prefix)
    inputs = {name: context.volume(name, unit.state) for name in ("grey", "label")}
    context.passes(unit, levels_passes(context.plan.levels, context.grid, copied=copied), inputs)
    return {}


def _measure(context: RunContext, unit: Unit) -> dict[str, Array]:
    recipe, state = context.recipe, unit.state
    deepest = max(1, int(context.labels_of(state)["deepest"][0]))

    voxel_um, blur = recipe.experiment.voxel_um, sharpness.matched(context).blur[state]
    put = partial(_put_tables, context.work, state)
    apply = partial(context.engine.in_order, unit.key, "tables")
    compared = state != recipe.reference
    particles = ranges(context.particles)
    passes = measure_passes(recipe.measure, voxel_um, deepest, particles, put, blur, apply, compared=compared)
    context.work.drop_volume(WORK_TABLES, state)
    inputs = {"grey": context.volume("grey", state), "label": context.volume("label", state)}
    if compared:
        inputs["reference_grey"] = context.volume("grey", recipe.reference)
    try:
        tables = context.passes(unit, passes, inputs)
    except TooDeepError as error:
        wanted = _depth_bound(context, state, error.particle)
        raise ResultError(
            f"particle {error.particle} is deeper in state {recipe.states[state].name!r} than [labels] "
            f"max_radius = {recipe.labels.max_radius} voxels: raise max_radius to {wanted}, or correct [mask] "
            "if no particle is that large"
        ) from error
    kept = {name: tables[name] for name in passes[-1].makes if name not in ("corners", "shift_sums")}
    if not compared:
        return kept
    return kept | {"shifts": shifts(context, unit, inputs, tables["shift_sums"], tables["corners"])}


def _put_tables(work: Work, state: int, ids: range, groups: Mapping[str, Mapping[str, Array]]) -> None:
    work.put_part(WORK_TABLES, state, ids.start, flat(groups))


def _depth_bound(context: RunContext, state: int, particle: int) -> int:
    """Return a depth, in voxels of the smallest edge, that a particle cannot exceed: half its narrowest side."""
    label, edges = context.volume("label", state), context.recipe.experiment.voxel_um
    low, high = np.array(context.grid.shape), np.zeros(3, int)
    for box in context.grid:
        for axis, there in enumerate(np.nonzero(label.read(box) == particle)):
            if there.size:
                low[axis] = min(low[axis], box.start[axis] + int(there.min()))
                high[axis] = max(high[axis], box.start[axis] + int(there.max()) + 1)
    return ceil(min((high - low + 1) / 2 * edges) / min(edges)) + 1


PERFORM: Mapping[str, Callable[[RunContext, Unit], dict[str, Array]]] = {
    "reconstruct": reconstructed,
    "read": _read,
    "tomograms": kept,
    "register": _register,
    "grey": _grey,
    "denoise": _denoise,
    "mask": _mask,
    "labels": _labels,
    "transfer": _transfer,
    "sharpness": sharpness.measured,
    "levels": _levels,
    "measure": _measure,
    "electrochemistry": recorded,
    "track": tracked,
}
