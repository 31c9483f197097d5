"""By how much particles lie further in a state than transform and field say, round by round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crackdask.blocks.passes import Array
from crackdask.engine.context import RunContext
from crackdask.engine.pass_runner import Readable
from crackdask.engine.table_writer import WORK_TABLES, nested, over_ranges
from crackdask.engine.work_units import Unit
from crackdask.steps.particle_motion import AGAIN, ParticleShifts, passes_again
from crackdask.steps.registration_result import StoredField
from crackdask.steps.stretches import UNSTRETCHED, is_stretched, may_stretch, stretches


def shifts(context: RunContext, unit: Unit, inputs: Mapping[str, Readable], sums: Array, corners: Array) -> Array:
    """Return the shifts of all particles; those that moved far, or do not follow a stretch, are looked for again.

    The tables of the state must have been put into the work folder.
    """
    registered = context.result("register", unit.state)
    motion = StoredField.of(registered), registered["matrix"], context.recipe.experiment.voxel_um
    # The tables of a state that moved rigidly need not be read.
    stretch = stretches(*motion, places_of(context, unit.state)[0]) if may_stretch(*motion) else UNSTRETCHED
    found = ParticleShifts.first(sums, is_stretched(stretch, context.particles))
    for turn in range(AGAIN):
        if found.is_settled:
            break
        tables = found.tried(corners, stretch)
        rest = context.passes(unit, passes_again(context.particles, turn), inputs, tables)
        found = found.again(rest["shift_rest"])
    return found.found


def places_of(context: RunContext, state: int) -> tuple[Array, Array]:
    """Return where all particles lie in a state, (particle, axis) as voxel indices, and which are whole there."""
    edges = np.array(context.recipe.experiment.voxel_um)
    places, whole = np.empty((context.particles, 3)), np.empty(context.particles, bool)

    def look(ids: range) -> None:
        columns = nested(context.work.part(WORK_TABLES, state, ids.start))["particles"]
        rows = slice(ids.start - 1, ids.stop - 1)
        places[rows] = np.stack([columns[f"centroid_{axis}_um"] for axis in "zyx"], axis=1) / edges - 0.5
        whole[rows] = (columns["touches_border"] == 0) & (columns["touches_invalid"] == 0)

    over_ranges(context.particles, look)
    return places, whole
