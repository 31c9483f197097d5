"""States of projections and states of tomograms in one recipe: which is which, and what is said where that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask.engine.scans import Scans
from crackdask.engine.work_units import units
from crackdask.phantom.projected_scans import write_projections
from crackdask.recipe.recipe import RecipeError, check
from crackdask.schema import UnitKey
from tests.support.projected import PROJECTED, content, run_recipe
from tests.support.tiny import as_toml
from tests.support.tiny import crackdask as crackdask_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the scans of both states as NXtomo, frames of the first as arrays, and a tomogram of the second."""
    folder = tmp_path_factory.mktemp("mixed")
    write_projections(PROJECTED, folder)
    with h5py.File(folder / "scans" / "pristine.nxs") as file:
        detector = file["entry/instrument/detector"]
        frames, key = detector["data"][...], detector["image_key"][...]
        moments = np.flatnonzero(key == 0)
        for name, kind in (("flats", 1), ("darks", 2)):
            for when, some in (("before", frames[: moments[0]]), ("after", frames[moments[-1] + 1 :])):
                keys = key[: moments[0]] if when == "before" else key[moments[-1] + 1 :]
                np.save(folder / f"{name}-{when}.npy", some[keys == kind])
        np.save(folder / "frames.npy", frames[key == 0])
    keys = content(folder)["reconstruct"]
    (second,) = [s["source"] for s in content(folder)["states"][1:]]
    np.save(folder / "tomogram.npy", crackdask.reconstruct(folder / second, **keys).values)
    return folder


#: Where angles, flats and darks of frames without a header are.
PARTS: dict[str, Any] = {
    "rotation_angle": [0.0, 180.0],
    "flats": ["flats-before.npy", "flats-after.npy"],
    "darks": ["darks-before.npy", "darks-after.npy"],
}


def mixed(folder: Path, kinds: tuple[str, str] = ("auto", "tomogram"), **keys: Any) -> dict[str, Any]:
    """Return the recipe with the first state's frames and the second's tomogram, both .npy."""
    recipe = content(folder, reconstruct={**PARTS, **keys})
    for state, source, kind in zip(recipe["states"], ("frames.npy", "tomogram.npy"), kinds, strict=True):
        state |= {"source": source, "kind": kind}
    return recipe


def grey_of(recipe: dict[str, Any], folder: Path, store: Path) -> np.ndarray:
    assert not run_recipe(recipe, folder, store, until="grey").failures
    grey: np.ndarray = xr.open_zarr(store, group="volumes").grey.values
    return grey


def test_a_state_of_frames_beside_a_state_of_slices_has_the_bits_of_two_of_slices(folder: Path, tmp_path: Path) -> None:
    scans = Scans.of(check(mixed(folder)), folder)
    assert scans.projections(0) is not None
    assert scans.projections(1) is None
    found = grey_of(mixed(folder), folder, tmp_path / "mixed.zarr")
    keys = content(folder)["reconstruct"] | PARTS
    keys |= {name: [str(folder / part) for part in PARTS[name]] for name in ("flats", "darks")}
    np.save(tmp_path / "first.npy", crackdask.reconstruct(folder / "frames.npy", **keys).values)
    slices = mixed(folder, ("tomogram", "tomogram"))
    slices["states"][0]["source"] = str(tmp_path / "first.npy")
    wanted = grey_of(slices, folder, tmp_path / "slices.zarr")
    assert len(np.unique(found[1])) > 20
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kinds", [("projections", "tomogram"), ("auto", "auto")])
def test_a_header_or_the_recipe_says_which_is_which(folder: Path, kinds: tuple[str, str]) -> None:
    recipe = mixed(folder, kinds)
    if kinds[1] == "auto":  # NXtomo says of itself what it is, and needs no angles
        recipe["states"][0]["source"] = "scans/pristine.nxs"
        recipe["reconstruct"] = {}
    scans = Scans.of(check(recipe), folder)
    assert [scans.projections(state) is not None for state in (0, 1)] == [True, False]


def test_saying_what_is_known_changes_no_result(folder: Path) -> None:
    said, unsaid = (Scans.of(check(mixed(folder, kinds)), folder) for kinds in (("projections", "tomogram"),) * 2)
    assert "kind" not in check(content(folder)).as_dict()["states"][0]
    recipe = content(folder)
    plain = Scans.of(check(recipe), folder).fingerprints
    for state in recipe["states"]:
        state["kind"] = "projections"
    assert Scans.of(check(recipe), folder).fingerprints == plain
    assert said.fingerprints == unsaid.fingerprints
    assert UnitKey("reconstruct", 1) in [unit.key for unit in units(said.recipe)]


def refused(recipe: dict[str, Any], folder: Path) -> str:
    path = folder / "wrong.toml"
    path.write_text(as_toml(recipe))
    said = crackdask_command("check", path)
    assert said.code == 2, said.out
    return " ".join(said.err.split())


def test_slices_that_are_taken_for_frames_are_told_with_the_way_out(folder: Path) -> None:
    words = refused(mixed(folder, ("auto", "auto")), folder)
    assert "states[1].source" in words
    assert "flats have 20 x" in words
    assert 'if this state\'s source is a tomogram, say kind = "tomogram"' in words
    assert "states[0]" not in words


@pytest.mark.parametrize(
    ("state", "change", "words"),
    [
        (0, {"source": "scans/pristine.nxs", "kind": "tomogram"}, "the file says that these are projections"),
        (1, {"kind": "projections"}, "flats have 20 x"),
        (0, {"kind": "frames"}, "states[0].kind"),
        (0, {"kind": "tomogram"}, "the scans have different shapes"),
    ],
)
def test_a_state_that_is_not_what_the_recipe_says(folder: Path, state: int, change: dict[str, Any], words: str) -> None:
    recipe = mixed(folder)
    recipe["states"][state] |= change
    assert words in refused(recipe, folder)


def test_frames_without_a_section_are_refused_by_name(folder: Path) -> None:
    recipe = mixed(folder, ("projections", "tomogram"))
    del recipe["reconstruct"]
    with pytest.raises(RecipeError, match=r"states\[0\].*frames\.npy.*add a section \[reconstruct\]"):
        Scans.of(check(recipe), folder)


def test_a_section_without_projections_is_told(folder: Path) -> None:
    recipe = mixed(folder, ("tomogram", "tomogram"))
    recipe["states"] = recipe["states"][1:]
    path = folder / "slices.toml"
    path.write_text(as_toml(json.loads(json.dumps(recipe))))
    said = crackdask_command("check", path)
    assert said.code == 0, said.err
    assert "no state's source is projections, so nothing is reconstructed" in " ".join((said.out + said.err).split())
