"""Tomograms that the store keeps: the numbers that were reconstructed, one result however it is cut, mended, let go."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr

import crackdask
from crackdask.blocks.passes import Block, Result
from crackdask.cli.check import planned
from crackdask.engine.block_plan import estimate
from crackdask.engine.checkpoints import Work
from crackdask.engine.scans import Scans
from crackdask.engine.soundness import look, verify
from crackdask.kernels.quantisation import LAST
from crackdask.phantom.projected_scans import write_projections
from crackdask.recipe.recipe import check, load_site
from crackdask.steps import tomograms
from crackdask.store.root import StoreError, consolidate
from tests.support.projected import PROJECTED, content, run, run_recipe
from tests.support.store_files import copied
from tests.support.tiny import as_toml
from tests.support.tiny import crackdask as crackdask_command

KEYS: dict[str, Any] = {"center": PROJECTED.axis, "window": "none"}
SMALL: dict[str, Any] = {"chunk": [8, 16, 16], "block": [8, 32, 16]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    write_projections(PROJECTED, folder)
    return folder


def made(folder: Path, store: Path, until: str = "tomograms", compute: dict[str, Any] = SMALL, **keys: Any) -> set[str]:
    """Run the recipe as far as tomograms are kept, and return the units that were done."""
    outcome = run(folder, store, until=until, reconstruct=KEYS | keys, compute=compute)
    assert not outcome.failures
    return set(outcome.done)


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of float32, as far as grey levels."""
    store = tmp_path_factory.mktemp("float32") / "store.zarr"
    assert {"tomograms-0", "tomograms-1"} <= made(folder, store, "grey", keep="float32")
    return store


def attenuation(store: Path) -> xr.DataArray:
    found: xr.DataArray = xr.open_zarr(store, group="tomograms").attenuation
    return found


@pytest.fixture(scope="module")
def wanted(folder: Path, store: Path) -> np.ndarray:
    """Return the tomograms of both states as a notebook makes them."""
    keys = content(folder, reconstruct=KEYS)["reconstruct"]
    sources = [state["source"] for state in content(folder)["states"]]
    return np.array([crackdask.reconstruct(folder / source, **keys).values for source in sources])


def test_kept_is_what_was_reconstructed(store: Path, wanted: np.ndarray) -> None:
    kept = crackdask.open(store)["tomograms"].attenuation
    assert (kept.dtype, kept.dims) == (np.dtype("float32"), ("state", "z", "y", "x"))
    assert kept.attrs["units"] == "1/voxel"
    assert wanted.shape[1:] != crackdask.open(store)["volumes"].grey.shape[1:], "the crop is smaller than the scan"
    np.testing.assert_array_equal(kept, wanted)
    edges = crackdask.open(store).attrs["recipe"]["experiment"]["voxel_um"]
    for axis, edge in zip("zyx", edges, strict=True):
        np.testing.assert_array_equal(kept[axis], (np.arange(kept.sizes[axis]) + 0.5) * edge)
        assert kept[axis].attrs["units"] == "um"
    assert kept.state.values.tolist() == ["pristine", "4.2 V"]


@pytest.mark.parametrize(
    "compute", [SMALL, {"chunk": [7, 9, 20], "shard": [14, 18, 20], "block": [14, 36, 40]}], ids=["chunks", "shards"]
)
def test_half_the_size_is_the_nearest_number_however_it_is_cut(
    folder: Path, wanted: np.ndarray, tmp_path: Path, compute: dict[str, Any]
) -> None:
    made(folder, tmp_path / "s.zarr", compute=compute, keep="float16")
    found = attenuation(tmp_path / "s.zarr")
    assert found.dtype == np.dtype("float16")
    np.testing.assert_array_equal(found, wanted.astype("float16"))
    assert 0 < np.abs(found.astype(float) - wanted).max() <= 2**-11 * np.abs(wanted).max()


def test_levels_on_a_window_are_kept_as_attenuations(folder: Path, wanted: np.ndarray, tmp_path: Path) -> None:
    low, high = -0.02, 0.05
    made(folder, tmp_path / "s.zarr", keep="float32", window=[low, high])
    off = attenuation(tmp_path / "s.zarr").values - np.clip(wanted, low, high)
    assert np.abs(off).max() < 0.51 * (high - low) / LAST


def test_a_state_that_was_a_tomogram_already_is_not_kept_as_one(
    folder: Path, wanted: np.ndarray, tmp_path: Path
) -> None:
    recipe = content(folder, reconstruct=KEYS | {"keep": "float32"}, compute=SMALL)
    np.save(tmp_path / "made.npy", wanted[1])
    recipe["states"][1]["source"] = str(tmp_path / "made.npy")
    assert not run_recipe(recipe, folder, tmp_path / "s.zarr", until="tomograms").failures
    found = attenuation(tmp_path / "s.zarr").values
    np.testing.assert_array_equal(found[0], wanted[0])
    assert np.isnan(found[1]).all()


def test_what_is_not_asked_for_is_not_kept_and_asking_makes_nothing_else_anew(
    folder: Path, wanted: np.ndarray, tmp_path: Path
) -> None:
    plain, asked = (Scans.of(check(content(folder, reconstruct=keys)), folder) for keys in ({}, {"keep": "float16"}))
    assert plain.fingerprints.items() < asked.fingerprints.items()
    there = tmp_path / "s.zarr"
    made(folder, there, "grey")
    assert not (there / "tomograms").exists()
    needed = {f"{step}-{state}" for step in ("reconstruct", "read", "tomograms") for state in (0, 1)}
    assert "tomograms-1" in made(folder, there, "grey", keep="float16") <= needed
    assert made(folder, there, "grey", keep="float16") == set()
    assert "tomograms-1" in made(folder, there, "grey", keep="float32") <= needed
    np.testing.assert_array_equal(attenuation(there), wanted)
    assert made(folder, there, "grey") == set()
    assert "tomograms" not in crackdask.open(there).children
    assert "tomograms" not in look(there, check(content(folder, reconstruct=KEYS, compute=SMALL))).gone


class PowerCutError(BaseException):
    """What no retry catches."""


def test_a_run_that_is_stopped_goes_on(
    folder: Path, wanted: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = tomograms._attenuations, []

    def stopped(window: Any, kind: str, block: Block) -> Result:
        seen.append(block.number)
        if len(seen) == 5:
            raise PowerCutError
        return whole(window, kind, block)

    monkeypatch.setattr(tomograms, "_attenuations", stopped)
    with pytest.raises(PowerCutError):
        made(folder, tmp_path / "s.zarr", keep="float32")
    assert "tomograms-0" in made(folder, tmp_path / "s.zarr", keep="float32")
    assert sorted(seen) == sorted([*range(max(seen) + 1)] * 2 + [4]), "blocks that were done are not done again"
    np.testing.assert_array_equal(attenuation(tmp_path / "s.zarr"), wanted)


def lose(store: Path) -> None:
    (store / "tomograms/attenuation/c/1/0/0/0").unlink()


def swap(store: Path) -> None:
    a, b = (store / f"tomograms/attenuation/c/1/{k}/0/0" for k in (0, 1))
    shutil.copy2(a, store / "kept")
    shutil.copy2(b, a)
    (store / "kept").replace(b)


def lose_coordinate(store: Path) -> None:
    shutil.rmtree(store / "tomograms/z")


def lose_group(store: Path) -> None:
    shutil.rmtree(store / "tomograms")


@pytest.mark.parametrize(
    ("damage", "units"), [(lose, {1}), (swap, {1}), (lose_coordinate, set()), (lose_group, {0, 1})]
)
def test_what_is_damaged_is_made_anew(
    folder: Path, store: Path, wanted: np.ndarray, tmp_path: Path, damage: Any, units: set[int]
) -> None:
    again = copied(store, tmp_path / store.name)
    damage(again)
    done = made(folder, again, "grey", keep="float32")
    assert {unit for unit in done if unit.startswith("tomograms")} == {f"tomograms-{state}" for state in units}
    assert not {unit for unit in done if unit.startswith(("grey", "register"))}
    np.testing.assert_array_equal(attenuation(again), wanted)
    assert attenuation(again).z.attrs["units"] == "um"
    assert list(verify(again)) == []


def test_a_chunk_that_changed_is_told_where_it_is_read(store: Path, tmp_path: Path) -> None:
    again = copied(store, tmp_path / store.name)
    chunk = again / "tomograms/attenuation/c/1/0/0/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 255
    chunk.write_bytes(data)
    assert [key for key, _ in verify(again)] == ["tomograms/attenuation/c/1/0/0/0"]
    result = Work.beside(again).folder / "results" / "tomograms-1"
    assert result.is_file()
    with pytest.raises(StoreError, match=f"remove {result} and run again"):
        crackdask.open(again)["tomograms"].attenuation[1].load()


def test_a_store_that_grows_keeps_the_tomogram_of_the_new_state(folder: Path, store: Path, tmp_path: Path) -> None:
    both = content(folder, reconstruct=KEYS | {"keep": "float32"}, compute=SMALL)
    for states in (both["states"][:1], both["states"]):
        outcome = run_recipe(both | {"states": states}, folder, tmp_path / "s.zarr", until="tomograms")
    assert set(outcome.done) == {"reconstruct-1", "read-1", "tomograms-1"}
    xr.testing.assert_identical(attenuation(tmp_path / "s.zarr").load(), attenuation(store).load())


def test_export_writes_them_as_slices(store: Path, wanted: np.ndarray, tmp_path: Path) -> None:
    said = crackdask_command("export", store, "--tomograms", "--to", tmp_path)
    assert said.code == 0, said.err
    assert said.out.split() == [str(tmp_path / "tomograms" / name) for name in ("pristine", "4.2_V")]
    for state, folder in enumerate(said.out.split()):
        pages = sorted(Path(folder).iterdir())
        np.testing.assert_array_equal([tifffile.imread(page) for page in pages], wanted[state])
    again = Path(shutil.copytree(store, tmp_path / "without.zarr"))
    shutil.rmtree(again / "tomograms")
    consolidate(again)
    refused = crackdask_command("export", again, "--tomograms")
    assert refused.code == 2
    assert "keeps no tomograms" in refused.err


def test_check_says_what_it_takes(folder: Path, tmp_path: Path) -> None:
    costs = []
    for kept in ({}, {"keep": "float16"}):
        recipe = content(folder, reconstruct=KEYS | kept, compute=SMALL)
        scans = Scans.of(check(recipe), folder)
        plan = planned(scans, load_site(None, scans.recipe.cluster, kind=None, workers=1), 1)
        costs.append(estimate(scans.recipe, plan, scans.sources[0].dtype, 1, scans.projected))
    voxels = np.prod(scans.sources[0].shape)
    assert 2 * 1.5 * voxels < costs[1].store_bytes - costs[0].store_bytes <= 2 * 2 * voxels
    zarr_files = costs[1].files - costs[0].files
    assert zarr_files == -(-scans.sources[0].shape[0] // 8) * (-(-scans.sources[0].shape[1] // 16)) ** 2
    assert costs[1].tasks > costs[0].tasks
    (folder / "kept.toml").write_text(as_toml(recipe))
    said = crackdask_command("check", folder / "kept.toml")
    assert said.code == 0, said.err
    assert "a state, float16, in the store" in " ".join(said.out.split())
