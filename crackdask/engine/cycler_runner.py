"""How the cycler's files become the store's record of the cell, and each state finds its moment in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from crackdask.analysis import cycler_findings as findings
from crackdask.analysis.findings import packed
from crackdask.blocks.passes import Array
from crackdask.engine.context import RunContext
from crackdask.engine.work_units import Unit


def recorded(context: RunContext, unit: Unit) -> dict[str, Array]:
    """Return the cell's record and the states' links to it."""
    cycler = context.scans.cycler
    if cycler is None:
        return {}
    context.progress.begin(unit.key, "record", 0, 1)
    record, found = cycler.linked()
    names = [state.name for state in context.recipe.states]
    told = [*findings.of_record(record), *findings.of_links(names, found)]
    facts = {"links": [asdict(link) for link in found], "start": record.start.isoformat() if record.start else ""}
    columns = {name: getattr(record, name) for name in ("time", "voltage", "current", "charge")}
    return {**columns, "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8), **packed(told)}


def as_stored(result: Mapping[str, Array], active_mass_mg: float | None) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the variables and the attributes of the store's group from what the step left."""
    facts = json.loads(result["facts"].tobytes())
    columns = {
        name: [link[name] for link in facts["links"]] for name in ("by", "reason", "begin", "end", "voltage", "charge")
    }
    variables = {
        "time": result["time"],
        "cell_voltage": result["voltage"],
        "current": result["current"],
        "charge": result["charge"],
        "linked_by": np.array(columns["by"], dtype=str),
        "link_reason": np.array(columns["reason"], dtype=str),
    }
    numbers = {f"scan_{name}": np.array(columns[name], float) for name in ("begin", "end", "voltage", "charge")}
    return {**variables, **numbers}, {"start": facts["start"], "active_mass_mg": active_mass_mg}
