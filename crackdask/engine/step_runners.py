"""How each step is done: what it reads, the passes it makes of its blocks, what it finds, and what cannot be right.

Reading `PERFORM` is reading the method section of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil, floor
from typing import Any

import numpy as np

from crackdask.analysis.damage import commonest
from crackdask.blocks.passes import Array
from crackdask.engine.context import Bench, ResultError
from crackdask.engine.table_writer import TableWriter, ranges
from crackdask.engine.work_units import MEASURED, Unit
from crackdask.kernels.thresholds import ThresholdError
from crackdask.steps.denoise import noise_passes
from crackdask.steps.denoise import passes as denoise_passes
from crackdask.steps.grey import Resampling, auto_window, peaks, to_reference
from crackdask.steps.grey import passes as grey_passes
from crackdask.steps.labels import passes as labels_passes
from crackdask.steps.mask import passes as mask_passes
from crackdask.steps.mask import threshold_of
from crackdask.steps.measure import TooDeepError, contacts, deepest_shell, finalise
from crackdask.steps.measure import passes as measure_passes
from crackdask.steps.read import histogram_of, levels
from crackdask.steps.read import passes as read_passes
from crackdask.steps.register import Level, RegistrationError, register
from crackdask.steps.track import track
from crackdask.steps.transfer import CARRIED
from crackdask.steps.transfer import passes as transfer_passes
from crackdask.store.root import set_attributes


def _read(bench: Bench, unit: Unit) -> dict[str, Array]:
    source, state = bench.scans.sources[unit.state], bench.recipe.states[unit.state]
    steps = read_passes(state.name, source.dtype, source.shape, bench.recipe.experiment.fill, bench.scans.crop)
    return bench.passes(unit, steps, {"source": source}, grid=bench.plan.slabs)


def _register(bench: Bench, unit: Unit) -> dict[str, Array]:
    ref, params = bench.recipe.reference, bench.recipe.register_
    shape = bench.scans.sources[unit.state].shape
    if unit.state == ref or params.transform == "none":
        matrix, residual = np.eye(4), 0.0
        used = blocks = 0
    else:
        bench.progress.begin(unit.name, "register", 0, 1)
        try:
            found = register(
                _levels(bench, ref),
                _levels(bench, unit.state),
                bench.volume("raw", ref).read,
                bench.volume("raw", unit.state).read,
                shape,
                shape,
                params,
                spacing=bench.recipe.experiment.voxel_um,
                fill=bench.recipe.experiment.fill,
                apply=partial(bench.engine.in_order, unit.name, "register"),
            )
        except RegistrationError as error:
            states = bench.recipe.states
            raise RegistrationError(f"state {states[unit.state].name!r} onto {states[ref].name!r}: {error}") from error
        matrix, residual, used, blocks = found.matrix, found.residual_voxels, found.n_used, found.n_blocks
    cropped = np.eye(4)
    cropped[:3, 3] = bench.scans.crop.start
    return {
        "matrix": matrix @ cropped,
        "residual_voxels": np.array(residual),
        "matched": np.array([used, blocks]),
    }


def _levels(bench: Bench, state: int) -> list[Level]:
    found, fill = bench.result(f"read-{state}"), bench.recipe.experiment.fill
    made = []
    for factor in levels(bench.scans.sources[state].shape):
        voxels = found[f"level_{factor}"]
        valid = None if fill is None else (~np.isnan(voxels) if np.isnan(fill) else voxels != fill)
        made.append(Level(factor, voxels, valid))
    return made


def _grey(bench: Bench, unit: Unit) -> dict[str, Array]:
    params, ref = bench.recipe.grey, bench.recipe.reference
    reference = histogram_of(bench.result(f"read-{ref}"))
    if params.window == "auto":
        low, high = auto_window(reference.percentile(0.1), reference.percentile(99.9))
    else:
        low, high = params.window
    gain, offset = 1.0, 0.0
    if params.normalise == "peaks":
        own = histogram_of(bench.result(f"read-{unit.state}"))
        gain, offset = to_reference(peaks(own.centres, own.counts), peaks(reference.centres, reference.counts))
    matrix = bench.result(f"register-{unit.state}")["matrix"]
    resampling = Resampling(
        tuple(tuple(row) for row in matrix.tolist()),
        bench.scans.sources[unit.state].shape,
        low,
        high,
        gain,
        offset,
        bench.recipe.experiment.fill,
    )
    steps = grey_passes(params, resampling)
    found = bench.passes(unit, steps, {"raw": bench.volume("raw", unit.state)})
    if not found["grey_voxels"][0]:
        raise ResultError(
            f"state {bench.recipe.states[unit.state].name!r} has no voxel inside the crop: "
            "check [crop], fill and the transform (`crackdask status` shows it)"
        )
    return found | {"window": np.array([low, high]), "normalised": np.array([gain, offset])}


def _denoise(bench: Bench, unit: Unit) -> dict[str, Array]:
    ref = bench.recipe.reference
    steps, known = denoise_passes(bench.recipe.denoise), {}
    if unit.state == ref:
        steps = (*noise_passes(), *steps)
    else:
        known = {"noise": bench.result(f"denoise-{ref}")["noise"]}
    return bench.passes(unit, steps, {"grey": bench.volume("grey", unit.state)}, known)


def _mask(bench: Bench, unit: Unit) -> dict[str, Array]:
    params = bench.recipe.mask
    decides = unit.state if params.per_state else bench.recipe.reference
    counts = bench.result(f"denoise-{decides}")["denoised_histogram"]
    try:
        threshold = threshold_of(params, counts)
    except ThresholdError as error:
        name = bench.recipe.states[decides].name
        raise ResultError(f"state {name!r}: {error}: lower [mask] classes, or choose another threshold") from error
    found = bench.passes(
        unit,
        mask_passes(params),
        {"denoised": bench.volume("denoised", unit.state)},
        {"threshold": np.array(threshold)},
    )
    inside, total = int(found["mask_voxels"]), int(found["scan_voxels"])
    if inside in (0, total):
        name = bench.recipe.states[unit.state].name
        what = "nothing" if inside == 0 else "everything"
        seen = bench.result(f"denoise-{unit.state}")["denoised_histogram"]
        bright = int(seen[floor(threshold) + 1 :].sum())
        alone = bright if params.phase == "bright" else total - bright
        if alone in (0, total):
            raise ResultError(
                f"the threshold {threshold:g} leaves {what} of state {name!r} as particles ({inside} of {total} "
                f"voxels); the denoised grey levels are {_spread(seen)}: set [mask] threshold between background "
                "and particles, or phase"
            )
        left = f"the threshold {threshold:g} leaves {alone} of {total} voxels of state {name!r}"
        if inside == 0:
            removers = f"opening = {params.opening} and min_island = {params.min_island}"
            raise ResultError(f"no particle was found: {left}, and {removers} remove them all; lower them under [mask]")
        fillers = f"closing = {params.closing} and max_hole = {params.max_hole}"
        raise ResultError(f"no background is left: {left}, and {fillers} fill the rest; lower them under [mask]")
    kept = ("mask_voxels", "scan_voxels", "threshold")
    return {name: found[name] for name in kept}


def _spread(counts: Array) -> str:
    below = np.cumsum(counts[1:])
    low, middle, high = (int(np.searchsorted(below, q * below[-1])) + 1 for q in (0.01, 0.5, 0.99))
    return f"{low} to {high} (1 to 99 per cent, median {middle})"


def _labels(bench: Bench, unit: Unit) -> dict[str, Array]:
    steps = labels_passes(bench.recipe.labels, bench.recipe.experiment.voxel_um)
    found = bench.passes(unit, steps, {"mask": bench.volume("mask", unit.state)})
    if not int(found["particles"][0]):
        raise ResultError(
            "no particle was found in the reference: check [mask] threshold, phase and min_island, "
            "or keep_intermediate and look at `mask`"
        )
    _warn_of_caps(bench, unit, found)
    return {name: found[name] for name in (*CARRIED, "deepest", "particles", "capped_voxels")}


def _warn_of_caps(bench: Bench, unit: Unit, found: Mapping[str, Array]) -> None:
    capped, cap = int(found["capped_voxels"][0]), bench.recipe.labels.max_radius
    if capped:
        bench.progress.warn(
            unit.name,
            f"{capped} voxels are at least {cap} voxels deep, where depth is capped; "
            f"raise [labels] max_radius above {cap} if particles are that large",
        )


def _transfer(bench: Bench, unit: Unit) -> dict[str, Array]:
    name, source = next(key for key in unit.reads if key[0] == "label")
    ref = bench.recipe.reference
    before = bench.result(f"labels-{source}" if source == ref else f"transfer-{source}")
    steps = transfer_passes(bench.recipe.transfer, bench.recipe.labels, bench.recipe.experiment.voxel_um)
    inputs = {
        "mask": bench.volume("mask", unit.state),
        "previous_label": bench.volume(name, source),
        "previous_depth": bench.volume("depth", source),
    }
    found = bench.passes(unit, steps, inputs, {name: before[name] for name in CARRIED})
    _warn_of_caps(bench, unit, found)
    return {name: found[name] for name in (*CARRIED, "deepest", "capped_voxels")}


def _measure(bench: Bench, unit: Unit) -> dict[str, Array]:
    ref = bench.recipe.reference
    labelled = bench.result(f"labels-{ref}" if unit.state == ref else f"transfer-{unit.state}")
    voxel_um = bench.recipe.experiment.voxel_um
    steps = measure_passes(bench.recipe.measure, voxel_um, max(1, int(labelled["deepest"][0])))
    inputs = {"grey": bench.volume("grey", unit.state), "label": bench.volume("label", unit.state)}
    try:
        bench.passes(unit, steps, inputs)
    except TooDeepError as error:
        wanted = _depth_bound(bench, unit.state, error.particle)
        raise ResultError(
            f"particle {error.particle} is deeper in state {bench.recipe.states[unit.state].name!r} than [labels] "
            f"max_radius = {bench.recipe.labels.max_radius} voxels: raise max_radius to {wanted}, or correct [mask] "
            "if no particle is that large"
        ) from error
    tallies = bench.engine.records(unit.name, steps[0].name, bench.scans.fingerprints[unit.name], bench.grid, {})
    particles = int(bench.result(f"labels-{ref}")["particles"][0])
    shells = deepest_shell(tallies)
    bench.work.drop_volume(MEASURED, unit.state)
    for ids in ranges(particles):
        groups = finalise(tallies, ids, voxel_um, shells)
        bench.work.put_part(MEASURED, unit.state, ids.start, _flat(groups))
    return {"shells": np.array(shells)} | contacts(tallies, voxel_um)


def _depth_bound(bench: Bench, state: int, particle: int) -> int:
    """Return a depth, in voxels of the smallest edge, that a particle cannot exceed: half its narrowest side."""
    label, edges = bench.volume("label", state), bench.recipe.experiment.voxel_um
    low, high = np.array(bench.grid.shape), np.zeros(3, int)
    for box in bench.grid:
        for axis, there in enumerate(np.nonzero(label.read(box) == particle)):
            if there.size:
                low[axis] = min(low[axis], box.start[axis] + int(there.min()))
                high[axis] = max(high[axis], box.start[axis] + int(there.max()) + 1)
    return ceil(min((high - low + 1) / 2 * edges) / min(edges)) + 1


def _flat(groups: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    return {f"{group}.{name}": v for group, columns in groups.items() for name, v in columns.items()}


def _nested(columns: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    made: dict[str, dict[str, Array]] = {}
    for path, values in columns.items():
        group, name = path.split(".")
        made.setdefault(group, {})[name] = values
    return made


def _track(bench: Bench, unit: Unit) -> dict[str, Array]:
    """Write the tables of all states, and tell which particles can be followed."""
    states = range(len(bench.recipe.states))
    particles = int(bench.result(f"labels-{bench.recipe.reference}")["particles"][0])
    measured = [bench.result(f"measure-{s}") for s in states]
    widest = max(int(found["shells"]) for found in measured)
    bench.progress.begin(unit.name, "tables", 0, len(states))
    writer = TableWriter(bench.path, bench.axes, particles, widest)
    seen = {name: np.zeros((len(states), particles), np.int64) for name in _FOLLOWED}
    for s in states:
        for ids in ranges(particles):
            groups = _nested(bench.work.part(MEASURED, s, ids.start))
            for name, values in groups["shells"].items():
                missing = widest - values.shape[1]
                groups["shells"][name] = np.pad(values, ((0, 0), (0, missing)))
            for name, column in seen.items():
                column[s, ids.start - 1 : ids.stop - 1] = groups["particles"][name]
            writer.write(s, ids, groups)
    flags = track(
        seen["voxels"],
        seen["touches_border"] > 0,
        seen["touches_invalid"] > 0,
        [(found["particle_a"], found["particle_b"]) for found in measured],
    )
    writer.write_flags(flags)
    writer.write_contacts(measured)
    transforms = [bench.result(f"register-{s}") for s in states]
    writer.write_transforms(
        np.array([found["matrix"] for found in transforms]),
        np.array([found["residual_voxels"] for found in transforms]),
    )
    set_attributes(bench.path, {"found": _found(bench)})
    writer.close()
    return {name: np.array(np.count_nonzero(flag)) for name, flag in flags.items()}


def _found(bench: Bench) -> dict[str, Any]:
    """Return the whole-volume numbers of a run, for people: window, noise, threshold, share of clipped voxels."""
    ref, names = bench.recipe.reference, [state.name for state in bench.recipe.states]
    greys = [bench.result(f"grey-{s}") for s in range(len(names))]
    return {
        "window": greys[ref]["window"].tolist(),
        "noise": float(bench.result(f"denoise-{ref}")["noise"]),
        **_phases(bench),
        "threshold": {name: float(bench.result(f"mask-{s}")["threshold"]) for s, name in enumerate(names)},
        "clipped_share": {
            name: (found["grey_voxels"][1:] / found["grey_voxels"][0]).tolist()
            for name, found in zip(names, greys, strict=True)
        },
        "capped_voxels": {
            name: int(bench.result(f"labels-{s}" if s == ref else f"transfer-{s}")["capped_voxels"][0])
            for s, name in enumerate(names)
        },
    }


def _phases(bench: Bench) -> dict[str, float | None]:
    """Return the commonest grey levels of background and solid in the reference, None where they cannot be told."""
    ref = bench.recipe.reference
    counts = bench.result(f"denoise-{ref}")["denoised_histogram"]
    parted = floor(float(bench.result(f"mask-{ref}")["threshold"])) + 1
    both = (commonest(counts, 1, parted), commonest(counts, parted, counts.size))
    background, solid = both if bench.recipe.mask.phase == "bright" else both[::-1]
    return {"background": background, "solid": solid}


_FOLLOWED = ("voxels", "touches_border", "touches_invalid")

PERFORM: Mapping[str, Callable[[Bench, Unit], dict[str, Array]]] = {
    "read": _read,
    "register": _register,
    "grey": _grey,
    "denoise": _denoise,
    "mask": _mask,
    "labels": _labels,
    "transfer": _transfer,
    "measure": _measure,
    "track": _track,
}
