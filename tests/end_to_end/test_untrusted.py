"""Files from others run no code and lead nowhere: scans, stores, recipes."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd

from crackdask.engine.packed_arrays import unpack
from crackdask.grid import Box
from crackdask.phantom import State
from crackdask.recipe.recipe import RecipeError, check, load_site
from crackdask.recipe.site import SITE_ONLY, ClusterParams
from crackdask.sources import SourceError, open_source
from tests.support.tiny import SHAPE, Tiny

WHOLE = Box((0, 0, 0), (8, 8, 8))


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    proof = tmp_path / "proof"
    pickle.loads(pickle.dumps(Bomb(proof)))
    assert proof.exists(), "it goes off where it is unpickled"
    return tmp_path / "mark"


@pytest.mark.parametrize(
    "codecs",
    [
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "pickle", "protocol": 5}]},
        {"filters": [{"id": "shuffle", "elementsize": 2}, {"id": "pickle"}]},
        {"dtype": "|O", "filters": [{"id": "pickle"}], "fill_value": None},
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "fill_value": None},
    ],
)
def test_a_zarr_scan_is_not_unpickled(tmp_path: Path, mark: Path, codecs: dict[str, Any]) -> None:
    root = tmp_path / "scan.zarr"
    root.mkdir()
    head = {"zarr_format": 2, "shape": [8, 8, 8], "chunks": [8, 8, 8], "dtype": "<u2", "order": "C", "fill_value": 0}
    (root / ".zarray").write_text(json.dumps({**head, "compressor": None, "filters": None, **codecs}))
    (root / "0.0.0").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(SourceError):
        open_source(str(root), tmp_path).read(WHOLE)
    assert not mark.exists()


def test_a_numpy_scan_is_not_unpickled(tmp_path: Path, mark: Path) -> None:
    bombs = np.full((2, 2, 2), Bomb(mark), object)
    np.save(tmp_path / "scan.npy", bombs, allow_pickle=True)
    with pytest.raises(SourceError, match="type object"):
        open_source("scan.npy", tmp_path)
    assert not mark.exists()


def test_records_are_not_unpickled(tmp_path: Path, mark: Path) -> None:
    np.savez(tmp_path / "record.npz", tally=np.array([Bomb(mark)], object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        unpack(Zstd().encode((tmp_path / "record.npz").read_bytes()))
    with pytest.raises(ValueError, match="OBJECT array"):
        unpack(Zstd().encode(b'[["tally", "|O", [1]]]\n' + b"\0" * 8))
    assert not mark.exists()


@pytest.mark.parametrize("inner", ["../other.zarr", "/../other.zarr", "a/../../other.zarr"])
def test_a_path_within_a_zarr_store_stays_within(tmp_path: Path, inner: str) -> None:
    for name in ("scan", "other"):
        zarr.create_array(tmp_path / f"{name}.zarr", data=np.ones((8, 8, 8), np.uint16))
    assert open_source("other.zarr", tmp_path).shape == (8, 8, 8)
    with pytest.raises(SourceError):
        open_source(f"scan.zarr::{inner}", tmp_path)


def test_an_hdf5_file_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for place in (tmp_path, tmp_path / "in"):
        (place / "secret").write_bytes(bytes(range(64)) * 8)
    with h5py.File(tmp_path / "in" / "scan.h5", "w") as file:
        file.create_dataset("near", shape=(8, 8, 8), dtype="u1", external=[("secret", 0, 512)])
        file.create_dataset("far", shape=(8, 8, 8), dtype="u1", external=[(str(tmp_path / "secret"), 0, 512)])
        file.create_dataset("up", shape=(8, 8, 8), dtype="u1", external=[("../secret", 0, 512)])
    assert open_source("in/scan.h5::near", tmp_path).shape == (8, 8, 8)
    for name in ("far", "up"):
        with pytest.raises(SourceError, match="outside the folder of the file"):
            open_source(f"in/scan.h5::{name}", tmp_path)


def test_names_of_states_lead_nowhere(tiny: Tiny) -> None:
    assert [State(name, 3.0, "pristine").folder for name in ("..", "../../x", "/etc", "a/b")] == [
        "_", "_.._x", "_etc", "a_b",
    ]  # fmt: skip
    tiny.content["states"][0]["name"] = "../../above"
    tiny.content["states"][1]["name"] = ".."
    assert tiny.run().code == 0
    before = set(tiny.folder.iterdir())
    to = tiny.folder / "a" / "b" / "c"
    said = tiny.crackdask("export", tiny.store, "--to", to, "--labels")
    assert said.code == 0, said.err
    assert set(tiny.folder.iterdir()) - before == {tiny.folder / "a"}
    written = [path for path in (tiny.folder / "a").rglob("*") if path.is_file()]
    assert len(written) == 2 * SHAPE[0]
    assert all(path.resolve().is_relative_to(to) for path in written)


@pytest.mark.parametrize("part", ["out.zarr/volumes/grey", "out.zarr.work/volumes"])
def test_a_store_that_leads_elsewhere_is_not_written(tiny: Tiny, part: str) -> None:
    assert tiny.run("--until", "grey").code == 0
    outside, inside = tiny.folder / "outside", tiny.folder / part
    inside.rename(outside)
    inside.symlink_to(outside, target_is_directory=True)
    before = sorted(path.stat().st_mtime_ns for path in outside.rglob("*"))
    said = tiny.run()
    assert said.code == 2
    assert f"is a link to {outside}" in said.err.replace("\n", "")
    assert sorted(path.stat().st_mtime_ns for path in outside.rglob("*")) == before


@pytest.mark.parametrize("key", SITE_ONLY)
def test_a_recipe_gives_no_words_to_a_shell(tiny: Tiny, key: str) -> None:
    value = ["touch mark"] if key in ("prologue", "directives") else "/tmp/mark"
    site = tiny.folder / "site.toml"
    site.write_text(f"{key} = {json.dumps(value)}")
    found = getattr(load_site(site, ClusterParams()), key)
    assert found in (value, tuple(value)), "a file of one's own does"
    with pytest.raises(RecipeError, match=f"cluster.{key}: stands in a file of your own"):
        check(tiny.content | {"cluster": {key: value}})


@pytest.mark.parametrize(
    "section",
    [
        {"queue": "main\n#SBATCH --wrap=x"}, {"account": "a; touch mark"}, {"interface": "$(touch mark)"},
        {"image": "x y"}, {"namespace": "../x"}, {"mount": "/data/../etc"}, {"kind": "ssh://host"},
        {"dashboard": "127.0.0.1:0 --x"}, {"queue": "-x"}, {"dashboard": "127.0.0.1:99999"}, {"namespace": "Beam"},
        {"namespace": "a.b"}, {"claim": "my_scans"}, {"image": "registry/Crackdask:1"}, {"mount": "/data\n"},
        {"kind": "tcp://host"}, {"kind": "tls://host:99999"},
    ],
)  # fmt: skip
def test_names_in_a_recipe_are_names(tiny: Tiny, section: dict[str, str]) -> None:
    [(key, value)] = section.items()
    with pytest.raises(RecipeError, match=f"cluster.{key}: ") as caught:
        check(tiny.content | {"cluster": section})
    assert "1 mistake" in str(caught.value)
    assert value.splitlines()[0][:10] in str(caught.value)
