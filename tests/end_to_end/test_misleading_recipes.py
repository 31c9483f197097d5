"""Recipes that are valid and yet mistaken: one scan for two states, voxels of another size, states out of order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from tests.support.tiny import Tiny, scan


def one_line(text: str) -> str:
    return " ".join(text.split())


def twice(folder: Path) -> str:
    return "scans/a"


def linked(folder: Path) -> str:
    (folder / "again").symlink_to("scans/a", target_is_directory=True)
    return "again"


def in_a_file(folder: Path) -> str:
    os.link(folder / "a.h5", folder / "b.h5")
    return "b.h5::scan"


@pytest.mark.parametrize("again", [twice, linked, in_a_file])
def test_one_scan_for_two_states(tiny: Tiny, again: Callable[[Path], str]) -> None:
    with h5py.File(tiny.folder / "a.h5", "w") as file:
        file["scan"], file["other"] = scan(0), scan(1)
    first, second = tiny.content["states"]
    first["source"] = "a.h5::scan" if again is in_a_file else "scans/a"
    second["source"] = again(tiny.folder)
    for said in (tiny.crackdask("check", tiny.recipe), tiny.run()):
        assert said.code == 2
        assert "states[1].source (4.2 V): the same scan as that of state 'pristine'" in one_line(said.err)
    assert not tiny.store.exists()
    second["source"] = "b.h5::other" if again is in_a_file else "scans/b"
    assert tiny.crackdask("check", tiny.recipe).code == 0


def test_voxels_of_another_size_than_the_recipe_says(tiny: Tiny) -> None:
    for name, edge in (("a", 0.502), ("b", 1.0)):
        with h5py.File(tiny.folder / f"{name}.h5", "w") as file:
            file["scan"] = scan(ord(name))
            file["scan"].attrs["element_size_um"] = [edge] * 3
    for state, name in zip(tiny.content["states"], "ab", strict=True):
        state["source"] = f"{name}.h5::scan"
    for said in (tiny.crackdask("check", tiny.recipe), tiny.run("--until", "read")):
        assert said.code == 0
        told = one_line(said.out)
        assert "note 4.2 V: its file says that a voxel is 1 x 1 x 1 um, the recipe 0.5 x 0.5 x 0.5 um" in told
        assert told.count("its file says") == 1, "within a hundredth it is the same"
    drafted = tiny.folder / "drafted.toml"
    assert tiny.crackdask("init", tiny.folder / "a.h5", tiny.folder / "b.h5", "-o", drafted).code == 0
    assert "others say otherwise: 0.502, 1.0" in drafted.read_text()


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"voltage": 4.2}, {"voltage": 3.0}, "4.2 V: a charge, yet its voltage, 3 V, is below the 4.2 V of pristine"),
        ({}, {"step": "discharge"}, "4.2 V: a discharge, yet its voltage, 4.2 V, is above the 3 V of pristine"),
        ({"cycle": 2}, {"cycle": 1}, "4.2 V: of cycle 1, after pristine of cycle 2"),
        ({}, {}, ""),
    ],
)
def test_states_out_of_order(tiny: Tiny, first: dict[str, object], second: dict[str, object], words: str) -> None:
    for state, values in zip(tiny.content["states"], (first, second), strict=True):
        state.update(values)
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 0
    assert words in one_line(said.out)
    assert ("note" in said.out) == bool(words)
