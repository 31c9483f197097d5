"""All steps of the method in order, as each declares itself in the file of its name."""

from __future__ import annotations

from importlib import import_module

from crackdask.schema import STEPS
from crackdask.steps.declaration import Stage, Step, Volume

REGISTRY: dict[str, Step] = {name: import_module(f"crackdask.steps.{name}").STEP for name in STEPS}

#: Every volume that is made on the way, by name.
VOLUMES: dict[str, Volume] = {
    name: volume for step in REGISTRY.values() for name, volume in {**step.internal, **step.writes}.items()
}
#: Volumes that belong to the store; all others lie in the work folder and go when nobody reads them any more.
STORED = tuple(name for name, volume in VOLUMES.items() if volume.kept == "always")
KEPT_ON_REQUEST = tuple(name for name, volume in VOLUMES.items() if volume.kept == "on request")
#: The tables of a finished store, each a group.
GROUPS = tuple(group for step in REGISTRY.values() for group in step.groups)
#: Those that a store has only where there is something to tell.
GROUPS_IF_ANY = tuple(group for step in REGISTRY.values() for group in step.groups_if_any)


def of_stage(stage: Stage) -> list[Step]:
    """Return the steps of one part of a run, in order."""
    return [step for step in REGISTRY.values() if step.stage is stage]
