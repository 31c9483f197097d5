"""Results that hang on all states together, and need not be made anew when a state is added that changes nothing.

A step that compares states has the others among what decides its result, so a new state makes all its results count as
undone. What it takes of the others may be little: the blur of one state. It is kept with the result as its basis, and
where the basis is what it was, so is the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from crackdask.blocks.passes import Array
from crackdask.engine import sharpness
from crackdask.engine.context import RunContext
from crackdask.engine.fingerprints import decided_alone
from crackdask.engine.table_writer import WORK_TABLES, ranges
from crackdask.engine.work_units import Unit
from crackdask.storage.locations import names

_BASIS = "basis"


def _blur(context: RunContext, unit: Unit) -> float:
    return sharpness.matched(context).blur[unit.state]


#: All that a step takes of the other states, by the step's name.
_TAKEN: Mapping[str, Callable[[RunContext, Unit], Any]] = {"measure": _blur}


def basis(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Return what is kept with a unit's result to tell whether it still holds; nothing of most steps."""
    if unit.step not in _TAKEN:
        return {}
    alone = decided_alone(context.recipe, unit, context.scans.fingerprints)
    facts = json.dumps([alone, _TAKEN[unit.step](context, unit)])
    return {_BASIS: np.array(hashlib.sha256(facts.encode()).hexdigest())}


def unchanged(context: RunContext, unit: Unit, now: Mapping[str, Array]) -> dict[str, Array] | None:
    """Return a unit's result of before, if it was made on the same basis and lies there whole; else None."""
    result = context.work.result(unit.key) if now else None
    if result is None or not np.array_equal(result[1].get(_BASIS, ""), now[_BASIS]):
        return None
    parts = {str(ids.start) for ids in ranges(context.particles)}
    return result[1] if parts <= set(names(context.work.volume(WORK_TABLES, unit.state))) else None
