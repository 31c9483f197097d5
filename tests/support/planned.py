"""Recipes to plan by: nothing of them is there."""

from __future__ import annotations

from crackdask.recipe.recipe import check


def recipe(states=3, reference=0, **sections):
    """Return a recipe; sections as in the file, `states` as a number."""
    content = {
        "experiment": {"name": "test", "voxel_um": 0.5},
        "states": [{"name": f"s{i}", "source": f"s{i}.npy", "voltage": 3.0, "step": "charge"} for i in range(states)],
        "register": {"reference": f"s{reference}"},
    }
    for name, section in sections.items():
        content[name] = content.get(name, {}) | section
    return check(content)
