"""Tables and labels for other tools: the same numbers as in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
import xarray as xr
import zarr

from crackdask import export
from crackdask.export import ExportError, export_labels, export_table
from crackdask.schema import PARTICLES
from tests.tiny import Tiny, crackdask

COLUMNS = ["state", "voltage", "step", "cycle", "particle", *PARTICLES]


@pytest.fixture(scope="module")
def tables(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("tables")
    said = crackdask("export", finished.store, "--to", folder)
    assert said.code == 0, said.err
    assert said.out.splitlines() == [str(folder / "particles.csv"), str(folder / "particles.parquet")]
    return {"csv": pd.read_csv(folder / "particles.csv"), "parquet": pd.read_parquet(folder / "particles.parquet")}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_row_for_each_state_and_particle(finished: Tiny, tables: dict[str, pd.DataFrame], kind: str) -> None:
    frame = tables[kind]
    assert list(frame.columns) == COLUMNS
    stored = xr.open_zarr(finished.store, group="particles")
    assert frame[["state", "particle"]].to_numpy().tolist() == [
        [str(state), particle] for state in stored.state.values for particle in stored.particle.values
    ]
    for name in PARTICLES:
        np.testing.assert_array_equal(frame[name].to_numpy(), stored[name].values.ravel(), err_msg=name)
    for name in ("voltage", "cycle", "step"):
        assert frame.drop_duplicates("state")[name].tolist() == stored[name].values.tolist()


def test_parquet_keeps_the_types(finished: Tiny, tables: dict[str, pd.DataFrame]) -> None:
    found = tables["parquet"].dtypes
    for name, variable in PARTICLES.items():
        assert found[name] == np.dtype(variable.dtype), name
    assert (found["particle"], found["voltage"], found["cycle"]) == (np.uint32, np.float64, np.int64)
    assert pd.api.types.is_string_dtype(found["state"])
    assert pd.api.types.is_string_dtype(found["step"])


def test_parquet_needs_no_crackdask_and_no_pandas(finished: Tiny, tmp_path: Path) -> None:
    (path,) = export_table(finished.store, tmp_path, ("parquet",))
    assert pq.read_table(path).column("state").to_pylist()[0] == "pristine"


def test_labels_are_those_of_the_store(finished: Tiny, tmp_path: Path) -> None:
    said = crackdask("export", finished.store, "--labels", "--no-table", "--to", tmp_path)
    assert said.code == 0, said.err
    folders = [tmp_path / "labels" / "pristine", tmp_path / "labels" / "4.2_V"]
    assert said.out.splitlines() == [str(folder) for folder in folders]
    label = zarr.open_array(finished.store / "volumes/label", mode="r")[...]
    assert label.any()
    for state, folder in enumerate(folders):
        slices = sorted(folder.iterdir())
        assert [path.name for path in slices[:2]] == ["slice_00000.tif", "slice_00001.tif"]
        found = np.stack([tifffile.imread(path) for path in slices])
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, label[state])
    assert not (tmp_path / "particles.csv").exists()


def test_a_slab_at_a_time_says_how_far_it_is(finished: Tiny, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    export_labels(finished.store, tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(16, 40), (20, 40), (36, 40), (40, 40)]


def test_the_default_folder_lies_beside_the_store(tiny: Tiny) -> None:
    assert tiny.run().code == 0
    assert crackdask("export", tiny.store).code == 0
    assert sorted(path.name for path in (tiny.folder / "out-export").iterdir()) == [
        "particles.csv",
        "particles.parquet",
    ]


def test_more_labels_than_16_bits(finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "SIXTEEN_BITS", 2)
    with pytest.raises(ExportError, match=r"3 labels do not fit into 16 bits \(at most 2\).* `label` from the store"):
        export_labels(finished.store, tmp_path)
    said = crackdask("export", finished.store, "--labels", "--to", tmp_path / "all")
    assert said.code == 2
    assert "3 labels do not fit into 16 bits" in said.err
    assert not (tmp_path / "all").exists()


def test_a_store_without_tables_yet(tiny: Tiny) -> None:
    assert tiny.run("--until", "read").code == 0
    for words in ([], ["--labels", "--no-table"]):
        said = crackdask("export", tiny.store, *words)
        assert said.code == 2
        assert f"{tiny.store} has no particle table yet; `crackdask run RECIPE --store {tiny.store}`" in said.err


def test_names_of_states_that_are_no_names_of_folders(tiny: Tiny, tmp_path: Path) -> None:
    for state, name in zip(tiny.content["states"], ("../a b", "../a/b"), strict=True):
        state["name"] = name
    assert tiny.run().code == 0
    folders = export_labels(tiny.store, tmp_path / "made")
    assert len(set(folders)) == 2
    assert {folder.parent for folder in folders} == {tmp_path / "made" / "labels"}
    assert all(len(list(folder.iterdir())) == 20 for folder in folders)
