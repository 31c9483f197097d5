"""What is wrong between the parts of a recipe, each of which may be right by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from crackdask.steps.reconstruct_parameters import ReconstructParams


def wrong_centers(reconstruct: ReconstructParams | None, states: int) -> Iterable[str]:
    """Yield what is wrong with a list of centers, one for each of so many states."""
    if reconstruct is not None:
        try:
            reconstruct.axes(states)
        except ValueError as error:
            yield f"reconstruct.center: {error}"


def contradictions(content: Mapping[str, Any]) -> Iterable[str]:
    """Yield what is wrong between states, in whatever part of a recipe is sound."""
    states, register = content.get("states"), content.get("register")
    if not isinstance(states, list | tuple):
        return
    names = [state.get("name") if isinstance(state, Mapping) else None for state in states]
    for number, name in enumerate(names):
        if isinstance(name, str) and name in names[:number]:
            other = f"the other is states[{names.index(name)}]"
            yield f"states[{number}].name: two states of the same name, {name!r} ({other}); rename one"
    known = ", ".join(repr(name) for name in names if isinstance(name, str))
    analyse = content.get("analyse")
    for section, keys in (("register", register), ("analyse", analyse)):
        wanted = keys.get("reference") if isinstance(keys, Mapping) else None
        if isinstance(wanted, str) and wanted not in names:
            yield f"{section}.reference: no state is named {wanted!r}; there are {known}"
    tree = analyse.get("path_states") if isinstance(analyse, Mapping) else None
    for number, wanted in enumerate(tree if isinstance(tree, list | tuple) else ()):
        if isinstance(wanted, str) and wanted not in names:
            yield f"analyse.path_states[{number}]: no state is named {wanted!r}; there are {known}"
