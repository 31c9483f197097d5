"""The recipe of the first states of an experiment: what may be run while others are yet to be scanned."""

from __future__ import annotations

from typing import Any

from crackdask.recipe.recipe import Recipe


def first_states(recipe: Recipe, count: int) -> Recipe:
    """Return a recipe with its first states alone; what names others, or has an entry for each, is shortened alike.

    Raises
    ------
    ValueError
        If the reference, which all others are registered to, is not among them.
    """
    if count >= len(recipe.states):
        return recipe
    if not recipe.reference < count:
        raise ValueError(f"the reference is state {recipe.reference}, which the first {count} are without")
    states = recipe.states[:count]
    changed: dict[str, Any] = {"states": states, "analyse": _analyse(recipe, {state.name for state in states})}
    center = recipe.reconstruct.center if recipe.reconstruct else None
    if recipe.reconstruct and isinstance(center, tuple):
        axes = recipe.reconstruct.axes(len(recipe.states))[:count]
        # Top and bottom of an axis that all states have stay so; for two states they could be two centers.
        if recipe.reconstruct.lists_centers(len(recipe.states)) or count == len(center):
            changed["reconstruct"] = recipe.reconstruct.model_copy(update={"center": axes})
    return recipe.model_copy(update=changed)


def _analyse(recipe: Recipe, names: set[str]) -> Any:
    """Return the parameters of the analysis without states that are not there: they change no table."""
    analyse, changed = recipe.analyse, dict[str, Any]()
    if analyse.reference not in names:
        changed["reference"] = None
    if analyse.path_states is not None:
        path = tuple(name for name in analyse.path_states if name in names)
        changed["path_states"] = path if len(path) > 1 else None
    return analyse.model_copy(update=changed)
