"""The recipe of the first states: what it leaves out, and that nothing of these states is decided by the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crackdask.engine.fingerprints import fingerprints
from crackdask.recipe.first_states import first_states
from crackdask.recipe.recipe import Recipe, check
from crackdask.schema import UnitKey
from tests.support.growing import Growing


def recipe(folder: Path, **sections: Any) -> Recipe:
    return check(Growing(folder, 4, **sections).content)


def prints(made: Recipe) -> dict[UnitKey, str]:
    return fingerprints(made, [f"scan {n}" for n in range(len(made.states))], (8, 8, 8))


def test_it_is_a_recipe_of_which_a_store_can_be_read(tmp_path: Path) -> None:
    whole = recipe(tmp_path, analyse={"reference": "3.0 V", "path_states": ["pristine", "4.2 V", "3.6 V"]})
    two = first_states(whole, 2)
    assert check(two.as_dict()) == two
    assert two.analyse.path_states == ("pristine", "4.2 V")
    assert two.analyse.reference is None
    assert first_states(whole, 1).analyse.path_states is None
    assert first_states(whole, 4) is whole


def test_the_reference_must_be_among_them(tmp_path: Path) -> None:
    whole = recipe(tmp_path, register={"transform": "none", "reference": "3.6 V"})
    assert first_states(whole, 3).reference == 2
    with pytest.raises(ValueError, match="the reference is state 2"):
        first_states(whole, 2)


@pytest.mark.parametrize("center", [850.5, [850.0, 851.0], [[850.0], "auto", 851.0, [1.0, 2.0]], [1.0, 2.0, 3.0, 4.0]])
def test_nothing_of_a_state_is_decided_by_those_after_it(tmp_path: Path, center: Any) -> None:
    whole = recipe(tmp_path, reconstruct={"center": center})
    for count in (1, 2, 3):
        some = first_states(whole, count)
        assert check(some.as_dict()) == some
        changed = {key.step for key, found in prints(some).items() if prints(whole)[key] != found}
        assert changed == {"measure", "track"}
