"""Volumes that count as large lie in few files, in the store and in the work folder; the voxels are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import crackdask
from crackdask.engine import scans
from crackdask.engine.executors import Serial
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.phantom import Phantom, states, write
from crackdask.recipe.recipe import load
from tests.support.silence import Silent

PHANTOM = Phantom(shape=(40, 48, 48), states=states(2), seed=1)


def run(folder: Path, store: str, until: str | None = None) -> Run:
    done = Run(Scans.of(load(folder / "recipe.toml"), folder), folder / store, Serial(), Silent())
    assert not done(until).failures
    return done


def test_few_files_hold_the_same_and_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write(PHANTOM, tmp_path)
    recipe.write_text(f"{recipe.read_text()}\n[compute]\nchunk = [16, 16, 16]\n")
    run(tmp_path, "small.zarr", "labels")
    monkeypatch.setattr(scans, "LARGE", 40 * 48 * 48)
    run(tmp_path, "large.zarr", "labels")
    work = [tmp_path / f"{name}.zarr.work" / "volumes" / "depth-0" for name in ("small", "large")]
    assert [sum(1 for _ in folder.glob("c*")) for folder in work] == [27, 1]
    run(tmp_path, "small.zarr")  # which was begun with a file for each chunk
    monkeypatch.undo()
    assert run(tmp_path, "large.zarr").context.recipe.compute.shard == (256, 256, 256)
    few, many = (crackdask.open(tmp_path / name) for name in ("large.zarr", "small.zarr"))
    files = [
        sum(path.is_file() for path in (tmp_path / f"{name}.zarr" / "volumes" / "label" / "c").rglob("*"))
        for name in ("small", "large")
    ]
    assert files == [2 * 27, 2]
    assert few["volumes"].to_dataset().label.values.max() > 5
    for group in ("volumes", "particles", "shells"):
        for name, values in few[group].to_dataset().data_vars.items():
            np.testing.assert_array_equal(values.values, many[group].to_dataset()[name].values, err_msg=str(name))
