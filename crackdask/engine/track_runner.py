"""The last step of a run: the tables of all states, the motion of particles, and the findings of the whole run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from crackdask import schema
from crackdask.analysis import findings, scan_findings
from crackdask.analysis.findings import Finding
from crackdask.blocks.passes import Array
from crackdask.engine import sharpness
from crackdask.engine.context import RunContext
from crackdask.engine.cycler_runner import as_stored as record_as_stored
from crackdask.engine.flattening import across_scans
from crackdask.engine.grey_levels import grey_scales, phases
from crackdask.engine.particle_shifts import places_of
from crackdask.engine.reconstruct_runner import as_stored
from crackdask.engine.table_writer import WORK_TABLES, TableWriter, nested, over_ranges, write_electrochemistry
from crackdask.engine.work_units import Unit, units
from crackdask.steps.particle_motion import likely, own_displacement, strain, whole_strain_error
from crackdask.steps.read import histogram_of
from crackdask.steps.reconstruct import COUNTED
from crackdask.steps.registration_result import KINDS, StoredField, stored_transforms
from crackdask.steps.track import track
from crackdask.store.root import set_attributes

#: Columns of the particle table that decide which particles can be followed.
_FOLLOWED = ("voxels", "touches_border", "touches_invalid")


def tracked(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Write the tables of all states, and tell which particles can be followed."""
    states = range(len(context.recipe.states))
    particles = context.particles
    # One state's at a time: contacts of all of them are gigabytes.
    measured = _OneByOne(lambda s: context.result("measure", s), len(states))
    transforms = [context.result("register", s) for s in states]
    widest = max(int(each["shells"]) for each in measured)
    context.progress.begin(unit.key, "tables", 0, len(states))
    writer = TableWriter(context.path, context.axes, particles, widest)
    seen = {name: np.zeros((len(states), particles), schema.PARTICLES[name].dtype) for name in _FOLLOWED}
    start = places_of(context, context.recipe.reference)
    for s in states:
        motion = _motion(context, unit, s, start, transforms[s], measured[s])
        _write_state(context, writer, s, motion, seen)
    flags = track(
        seen["voxels"],
        seen["touches_border"],
        seen["touches_invalid"],
        _OneByOne(lambda s: (measured[s]["particle_a"], measured[s]["particle_b"]), len(states)),
    )
    writer.write_flags(flags)
    writer.write_contacts(measured)
    writer.write_transforms(
        *stored_transforms(
            transforms,
            context.grid.shape,
            context.recipe.register_.local_spacing,
            context.recipe.experiment.voxel_um,
        )
    )
    writer.write_reconstruction(as_stored(_reconstructed(context)), COUNTED)
    params = context.recipe.electrochemistry
    record = context.result("electrochemistry") if params else {}
    stored = record_as_stored(record, params.active_mass_mg) if params else ({}, {})
    write_electrochemistry(context.path, context.axes, *stored)
    told = _findings(context, transforms, _radii(seen["voxels"][context.recipe.reference][flags["tracked"]]))
    levels, of_phases = phases(context)
    numbers = _whole_volume_numbers(context, levels)
    numbers["grey_scale"], off = grey_scales(context, _tracked_greys(context, flags["tracked"]), numbers, told)
    told += findings.of_tracking(particles, int(np.count_nonzero(flags["tracked"])))
    told += [*of_phases, *off, *findings.of_window(numbers["clipped_share"])]
    told += findings.unpacked(record)  # last: they are written anew without the others (`cell_renewal`)
    set_attributes(context.path, {"found": numbers, "findings": findings.as_attribute(told)})
    writer.close()
    return {name: np.array(np.count_nonzero(flag)) for name, flag in flags.items()}


def _write_state(
    context: RunContext, writer: TableWriter, state: int, motion: Mapping[str, Array], seen: Mapping[str, Array]
) -> None:
    """Write the tables of a state, with how its particles moved; what is `seen` of them is kept beside."""

    def write(ids: range) -> None:
        rows = slice(ids.start - 1, ids.stop - 1)
        groups = nested(context.work.part(WORK_TABLES, state, ids.start))
        for name, column in seen.items():
            column[state, rows] = groups["particles"][name]
        groups["particles"] |= {name: values[rows] for name, values in motion.items()}
        writer.write(state, ids, groups)

    over_ranges(context.particles, write)


@dataclass(frozen=True)
class _OneByOne(Sequence[Any]):
    """Something of every state, which is asked for when it is looked at, and not kept."""

    of: Callable[[int], Any]
    states: int

    def __len__(self) -> int:
        """Return the number of states."""
        return self.states

    def __getitem__(self, state: Any) -> Any:
        """Ask for that of one state."""
        if not 0 <= state < self.states:
            raise IndexError(state)
        return self.of(state)


def _reconstructed(context: RunContext) -> list[dict[str, Array]]:
    """Return what was found when each state was reconstructed; nothing of one that was a tomogram already."""
    if context.recipe.reconstruct is None:
        return []
    return [context.result("reconstruct", s) for s in range(len(context.recipe.states))]


def _motion(
    context: RunContext,
    unit: Unit,
    state: int,
    start: tuple[Array, Array],
    registered: Mapping[str, Array],
    measured: Mapping[str, Array],
) -> dict[str, Array]:
    """Return how all particles moved from where they were at the start, and the strain around them.

    That is told by what two steps left of the state.
    """
    edges, reference = np.array(context.recipe.experiment.voxel_um), context.recipe.reference
    (before, whole), (after, still_whole) = start, start if state == reference else places_of(context, state)
    field, doubt = StoredField.of(registered), 0.0
    if state != reference:
        after = likely(before, after, measured["shifts"])
        used = int(registered["matched"][0])
        doubt = whole_strain_error(float(registered["residual_voxels"]), used, context.grid.shape)
    moved = own_displacement(field, before, after)
    apply = partial(context.engine.in_order, unit.key, "strain")
    gained, error = strain(field, registered["matrix"], before, moved, whole & still_whole, doubt, apply)
    along = {f"displacement_{axis}_um": moved[:, k] * edges[k] for k, axis in enumerate("zyx")}
    return {**along, "volumetric_strain": gained, "volumetric_strain_error": error}


def _tracked_greys(context: RunContext, tracked: Array) -> Array:
    """Return the grey levels of the voxels of all tracked particles, (state, grey)."""
    counts = np.zeros((len(context.recipe.states), schema.GREY_LEVELS), np.int64)
    for s in range(len(counts)):

        def counted(ids: range, s: int = s) -> Array:
            voxels = context.work.part(WORK_TABLES, s, ids.start)["histograms.voxels"]
            held: Array = voxels[tracked[ids.start - 1 : ids.stop - 1]].sum(axis=0, dtype=np.int64)
            return held

        counts[s] = sum(over_ranges(context.particles, counted))
    return counts


def _radii(voxels: Array) -> list[float]:
    """Return the radius of the smallest tenth of particles, and that of the median one, in voxels."""
    radii = np.cbrt(3 * voxels[voxels > 0] / (4 * np.pi))
    return np.quantile(radii, [0.1, 0.5]).tolist() if radii.size else []


def _findings(context: RunContext, transforms: Sequence[Mapping[str, Array]], radii: Sequence[float]) -> list[Finding]:
    """Return what the steps found in the order of the steps, then what registration and sharpness tell as a whole."""
    names = [state.name for state in context.recipe.states]
    residuals = [float(each["residual_voxels"]) for each in transforms]
    return [
        *(
            each
            for unit in units(context.recipe)
            if unit.step not in ("levels", "electrochemistry", "track")
            for each in _kept(context, unit)
        ),
        *(
            each
            for s, name in enumerate(names)
            for counted in [histogram_of(context.result("read", s))]
            for each in scan_findings.of_ends(
                name, list(zip(counted.ends, counted.piled, strict=True)), exact=counted.exact
            )
        ),
        *scan_findings.of_copies(names, [_digest(context.result("read", s)) for s in range(len(names))]),
        *findings.of_motion(
            names,
            [KINDS[int(each["transform"])] for each in transforms],
            [each["chain_residual_voxels"].tolist() for each in transforms],
        ),
        *findings.of_registration(names, residuals, context.recipe.register_.transform),
        *sharpness.found(context, radii),
    ]


def _digest(read: Mapping[str, Array]) -> str:
    """Return what stands for the voxels of a scan: a hash of its counts of grey levels and its coarser copies."""
    told = hashlib.sha256()
    for name in sorted(name for name in read if name.startswith(("level_", "histogram_"))):
        told.update(np.ascontiguousarray(read[name]).tobytes())
    return told.hexdigest()


def _kept(context: RunContext, unit: Unit) -> list[Finding]:
    return findings.unpacked(context.result_of(unit.key))


def _whole_volume_numbers(context: RunContext, levels: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole-volume numbers of a run, for people: window, noise, threshold, share of clipped voxels."""
    ref, names = context.recipe.reference, [state.name for state in context.recipe.states]
    greys = [context.result("grey", s) for s in range(len(names))]
    return {
        "window": greys[ref]["window"].tolist(),
        "noise": float(context.result("denoise")["noise"]),
        **levels,
        **sharpness.numbers(context),
        **across_scans(context),
        "threshold": {name: float(context.result("mask", s)["threshold"]) for s, name in enumerate(names)},
        "clipped_share": {
            name: (grey["grey_voxels"][1:] / grey["grey_voxels"][0]).tolist()
            for name, grey in zip(names, greys, strict=True)
        },
        "capped_voxels": {name: int(context.labels_of(s)["capped_voxels"][0]) for s, name in enumerate(names)},
    }
