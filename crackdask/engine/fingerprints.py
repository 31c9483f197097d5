"""Fingerprints of what units leave: of all that decides a result, and of nothing else.

They chain along `needs`: a unit's result counts as done only while everything that decided it is unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from crackdask.engine.work_units import Unit, units
from crackdask.recipe.recipe import Recipe
from crackdask.schema import UnitKey
from crackdask.steps.declaration import Of, Step
from crackdask.steps.registry import REGISTRY

#: Keys of a state that say how to read its scan; what was read has a fingerprint of its own.
_OF_SCANS = ("source", "missing", "kind")


def fingerprints(recipe: Recipe, sources: Sequence[str], shape: Sequence[int], cycler: str = "") -> dict[UnitKey, str]:
    """Return the fingerprint of every unit's result.

    Parameters
    ----------
    recipe
        The resolved recipe.
    sources
        Fingerprint of each state's scan.
    shape
        Shape of the stored volume.
    cycler
        Fingerprint of the cycler's files, where there are any.
    """
    content = recipe.as_dict()
    by_unit: dict[UnitKey, str] = {}
    for unit in units(recipe):
        step = REGISTRY[unit.step]
        opened: dict[str, Any] = {"source": sources[unit.state], "shape": list(shape), "cycler": cycler}
        needs = [by_unit[key] for key in unit.needs]
        by_unit[unit.key] = fingerprint(step, _parameters(recipe, content, step, unit.state), needs, opened)
    return by_unit


def fingerprint(
    step: Step, parameters: Mapping[str, Any], needs: Sequence[str | None], opened: Mapping[str, Any]
) -> str:
    """Return the fingerprint of a step's result.

    Parameters
    ----------
    step, parameters
        The step, and what of the recipe decides it.
    needs
        Fingerprints of what it uses, in order.
    opened
        Facts of the opened scans, of which the step takes its own.
    """
    deciding = {"step": step.name, "version": step.version, "parameters": parameters, "needs": needs}
    text = json.dumps(deciding | {name: opened[name] for name in step.opened}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def tables_apart(recipe: Recipe, known: Mapping[UnitKey, str]) -> str:
    """Return the fingerprint of the tables of a store without the cell's record; `known` are fingerprints."""
    return _of_tables(recipe, known, None, timed=False)


def tables_before(recipe: Recipe, known: Mapping[UnitKey, str], record: str | None) -> set[str]:
    """Return the fingerprints that a store's tables may have which are right but, perhaps, for the cell's record.

    Parameters
    ----------
    recipe, known
        What is to be made, and the fingerprint of every unit of it.
    record
        Fingerprint of the record that the store has, if it has one.
    """
    # Once the times of the states decided all tables.
    return {_of_tables(recipe, known, had, timed=timed) for timed in (False, True) for had in (record, None)}


def _of_tables(recipe: Recipe, known: Mapping[UnitKey, str], record: str | None, *, timed: bool) -> str:
    (unit,) = (unit for unit in units(recipe) if unit.step == "track")
    step, content = REGISTRY[unit.step], recipe.as_dict()
    parameters = {**_parameters(recipe, content, step, unit.state), "states": _states(content, timed=timed)}
    needs = [known[key] for key in unit.needs if key.step != "electrochemistry"] + ([record] if record else [])
    return fingerprint(step, parameters, needs, {})


def decided_alone(recipe: Recipe, unit: Unit, known: Mapping[UnitKey, str]) -> str:
    """Return what decides a unit's result, but for what it takes of all states together; `known` are fingerprints."""
    step = REGISTRY[unit.step]
    of_all = {name for name, which in step.needs if which is Of.ALL}
    needs = [known[key] for key in unit.needs if key.step not in of_all]
    parameters = _parameters(recipe, recipe.as_dict(), step, unit.state)
    return json.dumps({"version": step.version, "parameters": parameters, "needs": needs}, sort_keys=True)


def _parameters(recipe: Recipe, content: Mapping[str, Any], step: Step, state: int) -> Mapping[str, Any]:
    """Return what of the recipe decides a step's result for a state (never how the work is cut).

    Parameters with a method `deciding` leave out what the chosen method does not read.
    """
    sections = recipe.sections()
    facts = {
        "voxel_um": content["experiment"]["voxel_um"],
        "fill": content["experiment"]["fill"],
        "crop": content["crop"],
        "states": _states(content, timed="cycler" in step.opened),
    }
    parameters: dict[str, Any] = {name: facts[name] for name in step.facts}
    for wanted in step.sections:
        section, _, key = wanted.partition(".")
        chosen = getattr(sections[section], "deciding", None)
        parameters |= {key: content[section][key]} if key else chosen() if chosen else content[section]
    if "reconstruct" in step.sections and recipe.reconstruct and recipe.reconstruct.lists_centers(len(recipe.states)):
        parameters["center"] = recipe.reconstruct.axes(len(recipe.states))[state]  # of the others' it reads nothing
    return parameters


def _states(content: Mapping[str, Any], *, timed: bool) -> list[dict[str, Any]]:
    """Return what of a recipe's states may decide a result; their times only where they are linked to the record."""
    left_out = _OF_SCANS if timed else (*_OF_SCANS, "time")
    return [{key: value for key, value in state.items() if key not in left_out} for state in content["states"]]
