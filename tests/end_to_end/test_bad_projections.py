"""Projections of which no tomogram can be made, and recipes that cannot be, told with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from crackdask.engine.context import ResultError
from crackdask.engine.scans import Scans
from crackdask.phantom.projected_scans import REFERENCES, write_projections
from crackdask.recipe.recipe import RecipeError, check
from crackdask.sources import SourceError
from tests.support.projected import PROJECTED, altered, content, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projected")
    write_projections(PROJECTED, folder)
    return folder


def frames_of(folder: Path) -> h5py.Dataset:
    return h5py.File(folder / "scans" / "pristine.nxs", "r+")["entry/instrument/detector/data"]


def test_flats_without_beam_are_refused(folder: Path, tmp_path: Path) -> None:
    there = altered(folder, tmp_path)
    frames = frames_of(there)
    frames[REFERENCES : 2 * REFERENCES] = 0
    frames.file.close()
    with pytest.raises(SourceError, match="not brighter than the darks"):
        run(there, tmp_path / "s.zarr", until="reconstruct")


def test_a_center_that_is_not_found_is_told_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    there = altered(folder, tmp_path)
    frames = frames_of(there)
    noise = np.random.default_rng(0).poisson(30000, (121, *frames.shape[1:]))
    frames[2 * REFERENCES : 2 * REFERENCES + 121] = noise
    frames.file.close()
    with pytest.raises(ResultError, match=r"'pristine'.*center"):
        run(there, tmp_path / "s.zarr", until="reconstruct")


def test_a_dead_row_and_full_frames_leave_finite_slices(folder: Path, tmp_path: Path) -> None:
    there = altered(folder, tmp_path)
    frames = frames_of(there)
    frames[:, 5] = 100
    frames[2 * REFERENCES + 30] = 65535
    frames.file.close()
    assert not run(there, tmp_path / "s.zarr", until="read").failures


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rows": [0, 400]}, "reaches outside"),
        ({"angles": [200.0, 300.0]}, "angles"),
        ({"center": [1.0, 2.0, 3.0]}, "entries"),
        ({"filter": "box"}, "reconstruct.filter"),
    ],
)
def test_a_recipe_that_cannot_be(folder: Path, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Scans.of(check(content(folder, reconstruct=wrong)), folder)


def test_projections_without_a_section_are_told(folder: Path) -> None:
    recipe = content(folder)
    del recipe["reconstruct"]
    with pytest.raises(RecipeError, match=r"\[reconstruct\]"):
        Scans.of(check(recipe), folder)
