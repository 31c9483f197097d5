"""Labels as images: those of the store, a slab at a time, under names that files may have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from crackdask.export import ExportError, export_labels, slices
from tests.support.tiny import Tiny, crackdask


def test_labels_are_those_of_the_store(finished: Tiny, tmp_path: Path) -> None:
    said = crackdask("export", finished.store, "--labels", "--to", tmp_path)
    assert said.code == 0, said.err
    folders = [tmp_path / "labels" / "pristine", tmp_path / "labels" / "4.2_V"]
    assert said.out.splitlines() == [str(folder) for folder in folders]
    label = np.asarray(zarr.open_array(finished.store / "volumes/label", mode="r"))
    assert label.any()
    for state, folder in enumerate(folders):
        pages = sorted(folder.iterdir())
        assert [path.name for path in pages[:2]] == ["slice_00000.tif", "slice_00001.tif"]
        found = np.stack([tifffile.imread(path) for path in pages])
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, label[state])
    assert not (tmp_path / "particles.csv").exists()


def test_a_slab_at_a_time_says_how_far_it_is(finished: Tiny, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    export_labels(finished.store, tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(16, 40), (20, 40), (36, 40), (40, 40)]


def test_more_labels_than_16_bits(finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SIXTEEN_BITS", 2)
    with pytest.raises(ExportError, match=r"3 labels do not fit into 16 bits \(at most 2\).* `label` from the store"):
        export_labels(finished.store, tmp_path)
    said = crackdask("export", finished.store, "--labels", "--table", "particles", "--to", tmp_path / "all")
    assert said.code == 2
    assert "3 labels do not fit into 16 bits" in said.err
    assert not (tmp_path / "all").exists()


def test_names_of_states_that_are_no_names_of_folders(tiny: Tiny, tmp_path: Path) -> None:
    for state, name in zip(tiny.content["states"], ("../a b", "../a/b"), strict=True):
        state["name"] = name
    assert tiny.run().code == 0
    folders = export_labels(tiny.store, tmp_path / "made")
    assert len(set(folders)) == 2
    assert {folder.parent for folder in folders} == {tmp_path / "made" / "labels"}
    assert all(len(list(folder.iterdir())) == 20 for folder in folders)
