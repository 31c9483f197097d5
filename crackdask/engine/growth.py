"""A store that grows: states that a recipe has at its end, and its store has not yet.

What is there of the old states stays. Volumes get longer along their states, which is a number in their metadata and
touches no chunk; coordinates are written anew. A note in the work folder says that it was begun, so that after a kill
at any moment the next run does all of it again, which changes nothing that was done.

A state that was added and never finished, for its scan turned out to be none, may be taken out of the recipe again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr

from crackdask import schema
from crackdask.engine.checkpoints import Work
from crackdask.schema import UnitKey
from crackdask.storage.locations import Place, flush, forget, remove, zarr_at
from crackdask.store import root, seals
from crackdask.store.arrays import Axes
from crackdask.store.create import add_coordinates
from crackdask.store.metadata import same_but_for_length
from crackdask.store.root import StoreError

_NOTE = "growing"


def is_longer(identity: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Tell whether an experiment is that of a store with states added at the end.

    >>> is_longer({"states": ["a", "b"], "shape": [1]}, {"states": ["a"], "shape": [1]})
    True
    >>> is_longer({"states": ["b", "a"]}, {"states": ["a"]}), is_longer({"states": ["a"]}, {"states": ["a"]})
    (False, False)
    """
    ours, theirs = identity["states"], there.get("states")
    others = all(there.get(key) == value for key, value in identity.items() if key != "states")
    return isinstance(theirs, list) and others and len(ours) > len(theirs) and ours[: len(theirs)] == theirs


def unfinished_from(path: Place, identity: Mapping[str, Any], there: Mapping[str, Any]) -> int | None:
    """Return how many of a store's states an experiment still has if it lacks those after them, none of them finished.

    A state is finished once its particles are measured. None where nothing is lacking, or what is was finished.
    """
    ours, theirs = identity["states"], there.get("states")
    if not isinstance(theirs, list) or any(there.get(key) != identity[key] for key in identity if key != "states"):
        return None
    kept = next((k for k, name in enumerate(theirs) if name not in ours[k : k + 1]), len(theirs))
    lacking = [UnitKey("measure", k) for k in range(kept, len(theirs))]
    done, work = root.attributes(path).get("steps", {}), Work.beside(path)
    was_finished = any(str(unit) in done or work.fingerprint(unit) is not None for unit in lacking)
    return kept if kept and lacking and not was_finished else None


def take_back(path: Place, kept: int) -> None:
    """Take the states after the first ones out of a store, with all that was done of them.

    Whenever it is killed, the next run does the same again, or goes on with the states that the store had.
    """
    facts, work = root.attributes(path), Work.beside(path)
    states, steps = facts["identity"]["states"], facts.get("steps", {})
    gone = range(kept, len(states))
    work.note(_NOTE, states[:kept])
    for state in gone:
        work.forget_state(state)
    for name, told in _volumes(path):
        for state in gone:
            seals.drop(path, seals.of_array(name, state))
            remove(path / name / "c" / str(state))
        _lengthen(path, name, told, kept)
    left = {name: told for name, told in steps.items() if UnitKey.parse(name).state not in gone}
    shorter = {name: {**facts[name], "states": facts[name]["states"][:kept]} for name in ("identity", "recipe")}
    root.set_attributes(path, {**shorter, "steps": left, "complete": False})


def other_states(path: Place, ours: Sequence[str], theirs: Sequence[str]) -> StoreError:
    """Return the error of a recipe whose states are not those of a store with others added at the end."""
    lost = [name for name in theirs if name not in ours]
    added = [name for name in ours if name not in theirs]
    if not lost and [name for name in ours if name in theirs] == list(theirs):
        found = f"has {_named(added)} before states that are there"
    elif not lost:
        found = "has them in another order"
    elif added:
        found = f"lacks {_named(lost)} and has {_named(added)}"
    else:
        found = f"lacks {_named(lost)}"
    return StoreError(
        f"{path} holds the states {_named(theirs)}; the recipe {found}. A store grows by states added at the end, and "
        "keeps those that it has finished: give the recipe the states of the store under their names and in their "
        "order, new ones after them, or choose another --store"
    )


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def is_begun(path: Place) -> bool:
    """Tell whether a store was about to grow when its run was killed, or does so now.

    Where the work folder is gone since, the root tells of more states than its arrays had when it was written whole.
    """
    if Work.beside(path.resolve()).noted(_NOTE) is not None:
        return True
    try:
        states = root.attributes(path)["identity"]["states"]
        return any(told["shape"][0] != len(states) for _, told in _volumes(path))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StoreError):
        return False  # what is wrong with its root is found elsewhere


def begin(path: Place, facts: Mapping[str, Any]) -> None:
    """Let a store tell of a longer experiment, before anything in it is longer."""
    Work.beside(path).note(_NOTE, facts["identity"]["states"])
    root.set_attributes(path, {**facts, "complete": False})


def end(path: Place, axes: Axes) -> None:
    """Make room for all states of a store that was begun to grow."""
    for name, told in _volumes(path):
        _lengthen(path, name, told, len(axes.names))
    add_coordinates(path, axes)
    seals.drop(path, seals.COORDINATES)
    root.consolidate(path)
    Work.beside(path).note("root", root.attributes(path))
    forget(Work.beside(path).folder / _NOTE)


def _volumes(path: Place) -> list[tuple[str, dict[str, Any]]]:
    """Return the arrays along states and space, and what the root of a store says of each."""
    content = json.loads((path / "zarr.json").read_text())
    told = (content.get("consolidated_metadata") or {}).get("metadata", {})
    dims = list(schema.VOLUME)
    return [(name, facts) for name, facts in told.items() if facts.get("dimension_names") == dims]


def _lengthen(path: Place, name: str, told: Mapping[str, Any], states: int) -> None:
    """Give an array room for some states; one that is not what the root says is left to be made anew."""
    where = path / name
    if isinstance(where, Path) and where.is_symlink():
        return  # to an array that has its own turn
    if not same_but_for_length(path, name, told):
        remove(where)
        return
    array = zarr.open_array(zarr_at(where), mode="r+", zarr_format=3)
    if array.shape[0] != states:
        array.resize((states, *array.shape[1:]))
        flush(where / "zarr.json")
