"""The cell's record of a finished store, written anew where nothing but the store is left of its run.

Of all that a run makes, only the group `electrochemistry` and some findings hang on the cycler's files and on the times
of the states. The other tables need results that lie in the work folder, which may have been deleted: so they stay.

The store is first made that of a recipe without the record, by one write to its root, and then gets the new one. What a
kill leaves of that is told from fingerprints, and the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crackdask.analysis import findings
from crackdask.blocks.passes import Array
from crackdask.engine.context import RunContext
from crackdask.engine.cycler_runner import as_stored, recorded
from crackdask.engine.fingerprints import tables_apart, tables_before
from crackdask.engine.soundness import Damage
from crackdask.engine.table_writer import write_electrochemistry
from crackdask.engine.work_units import Unit
from crackdask.recipe.recipe import Recipe
from crackdask.schema import LEVELS, RECORD_FINDINGS, UnitKey
from crackdask.storage.locations import Place
from crackdask.store import root, seals

#: The group, and the step that reads the cycler's files; the step that writes the tables.
RECORD, _TABLES = STEPS = ("electrochemistry", "track")


def is_all(path: Place, recipe: Recipe, known: Mapping[UnitKey, str], found: Damage, steps: Mapping[str, Any]) -> bool:
    """Tell whether a finished store has all tables of a recipe but, perhaps, the cell's record.

    Parameters
    ----------
    path, recipe
        The store, and what is to be made.
    known
        Fingerprint of every unit of the recipe.
    found
        What the store lacks.
    steps
        What its root tells of the units that were done.
    """
    tables = UnitKey(_TABLES, recipe.reference)
    record, told = (
        steps.get(str(UnitKey(name, recipe.reference)), {}).get("fingerprint") for name in (RECORD, _TABLES)
    )
    if not {*found.gone} <= {LEVELS, RECORD} or told not in tables_before(recipe, known, record):
        return False
    folders = [each for each in seals.table_folders(path) if each.partition("/")[0] != RECORD]
    return tables not in found.spoilt or seals.stray(path, folders, seals.TABLES, but=RECORD) is None


def begin(context: RunContext) -> None:
    """Make a store that of a recipe without the cell's record."""
    path, recipe = context.path, context.recipe
    facts = root.attributes(path)
    record, tables = (str(UnitKey(name, recipe.reference)) for name in (RECORD, _TABLES))
    steps = {name: told for name, told in facts["steps"].items() if name != record}
    steps[tables] = {**steps[tables], "fingerprint": tables_apart(recipe, context.scans.fingerprints)}
    others = [each for each in facts.get("findings", []) if each.get("code") not in RECORD_FINDINGS]
    root.set_attributes(path, {"steps": steps, "findings": others})
    _seal(path, [])
    write_electrochemistry(path, context.axes, {}, {})
    root.consolidate(path)


def _renewed(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Write the record that the recipe asks for, if it does, and what is to be said of it."""
    path, params = context.path, context.recipe.electrochemistry
    if params is not None:
        result = context.result("electrochemistry")
        write_electrochemistry(path, context.axes, *as_stored(result, params.active_mass_mg))
        told = root.attributes(path).get("findings", []) + findings.as_attribute(findings.unpacked(result))
        root.set_attributes(path, {"findings": told})
        root.consolidate(path)
        folders = [each for each in seals.table_folders(path) if each.partition("/")[0] == RECORD]
        _seal(path, [seals.seals_of(path, folders)])
    return {}


def _seal(path: Place, record: Sequence[seals.Seals]) -> None:
    """Seal the record with the other tables; where those have no seals, nothing of them is vouched for."""
    table = seals.load(path, seals.TABLES)
    if table is not None:
        others = table[~np.char.startswith(table["key"], f"{RECORD}/".encode())]
        seals.keep(path, seals.TABLES, [others, *record])


#: What is done in the place of a run's steps.
PERFORM: Mapping[str, Callable[[RunContext, Unit], dict[str, Array]]] = {RECORD: recorded, _TABLES: _renewed}
