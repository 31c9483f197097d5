"""From projections to tracked particles: one result however it is cut and stopped, and what cannot be reconstructed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

import crackdask
from crackdask.analysis.findings import unpacked
from crackdask.blocks.passes import Block, Result
from crackdask.cli import demonstration
from crackdask.cluster.launch import connect
from crackdask.engine.checkpoints import Work
from crackdask.engine.reconstruct_runner import as_stored
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.engine.table_writer import TableWriter
from crackdask.grid import Box
from crackdask.kernels.quantisation import quantised
from crackdask.phantom.projected_scans import write_projections
from crackdask.recipe.recipe import check
from crackdask.recipe.recipe import load as load_recipe
from crackdask.schema import RECONSTRUCTION
from crackdask.sources import SourceError
from crackdask.steps import projection_slabs, reconstruct
from crackdask.store.arrays import Axes
from tests.support.drafted import fill_in
from tests.support.experiment import differences, load
from tests.support.projected import PHANTOM, PROJECTED, altered, content, found, raw_attenuation, run
from tests.support.silence import Silent
from tests.support.store_files import copied, unlike
from tests.support.tiny import crackdask as crackdask_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projected")
    write_projections(PROJECTED, folder)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("whole") / "store.zarr"
    assert not run(folder, store).failures
    return store


@pytest.fixture(scope="module")
def wanted(store: Path) -> dict[str, xr.Dataset]:
    return load(store)


def grey_of(store: Path) -> np.ndarray:
    """Return the grey levels of all states."""
    return np.asarray(xr.open_zarr(store, group="volumes").grey.values)


def test_slices_are_those_of_the_sample(wanted: dict[str, xr.Dataset]) -> None:
    truth, grey = PHANTOM.clean(0, Box.whole(PHANTOM.shape)), wanted["volumes"].grey.values[0]
    assert np.corrcoef(truth.ravel(), grey.ravel())[0, 1] > 0.88
    label = wanted["volumes"].label.values[0] > 0
    true = PHANTOM.labels(Box.whole(PHANTOM.shape)) > 0
    assert 2 * np.count_nonzero(label & true) / (np.count_nonzero(label) + np.count_nonzero(true)) > 0.9


def test_the_center_is_found_where_it_is(store: Path) -> None:
    for state in range(2):
        told = found(store, state)
        np.testing.assert_allclose(told["centers"], PROJECTED.axis, atol=0.1)
        assert told["flaws"].shape == (PHANTOM.shape[0], len(reconstruct.COUNTED))
        assert (told["flaws"][:, reconstruct.COUNTED.index("dead")] >= 1).all()


def test_a_sample_without_air_around_it_needs_no_center_of_the_recipe(tmp_path: Path) -> None:
    embedded = replace(PROJECTED, embedded=True, center=39.4)
    write_projections(embedded, tmp_path)
    assert content(tmp_path)["reconstruct"] == {"angles": [30.0, 177.0]}
    outcome = run(tmp_path, tmp_path / "store.zarr", until="labels")
    assert not outcome.failures
    told = found(tmp_path / "store.zarr")
    np.testing.assert_allclose(told["centers"], embedded.axis, atol=0.1)
    assert np.median(told["center_opposite"]) == pytest.approx(embedded.axis, abs=0.2)
    volumes = xr.open_zarr(tmp_path / "store.zarr", group="volumes")
    label, true = volumes.label.values[0] > 0, PHANTOM.labels(Box.whole(PHANTOM.shape)) > 0
    assert 2 * np.count_nonzero(label & true) / (np.count_nonzero(label) + np.count_nonzero(true)) > 0.9


@pytest.mark.parametrize(("rows", "frames"), [(1, 3), (7, 64), (32, 17)])
def test_slabs_do_not_show(
    folder: Path, wanted: dict[str, xr.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, frames: int
) -> None:
    monkeypatch.setattr(projection_slabs, "MOST_ROWS", rows)
    monkeypatch.setattr(projection_slabs, "MOST_FRAMES", frames)
    assert not run(folder, tmp_path / "cut.zarr", until="grey").failures
    np.testing.assert_array_equal(grey_of(tmp_path / "cut.zarr"), wanted["volumes"].grey)


def test_workers_do_not_show(folder: Path, wanted: dict[str, xr.Dataset], tmp_path: Path) -> None:
    local = tmp_path / "local.zarr"
    assert not run(folder, local, "local", reconstruct={"keep": "float16"}).failures
    assert differences(load(local), wanted) == []
    attenuation = raw_attenuation(local).astype("float16")
    np.testing.assert_array_equal(xr.open_zarr(local, group="tomograms").attenuation[0], attenuation)


class PowerCutError(BaseException):
    """What no retry catches."""


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stop the run at a late block of each pass in turn; what is left of the list was not reached."""
    left = ["_sorted", "_attenuated", "_ranged", "_slices", "_compared"]
    for name in tuple(left):
        kernel = getattr(reconstruct, name)

        def stopped(*given: Any, name: str = name, kernel: Any = kernel) -> Result:
            block: Block = given[-1]
            if name in left and block.number == len(block.grid) - 1:
                left.remove(name)
                raise PowerCutError
            result: Result = kernel(*given)
            return result

        monkeypatch.setattr(reconstruct, name, stopped)
    return left


def test_a_run_that_is_stopped_in_every_pass_goes_on(
    folder: Path, wanted: dict[str, xr.Dataset], tmp_path: Path, cuts: list[str]
) -> None:
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(PowerCutError):
            run(folder, tmp_path / "cut.zarr", until="grey")
        assert len(cuts) == left
    assert not run(folder, tmp_path / "cut.zarr", until="grey").failures
    np.testing.assert_array_equal(grey_of(tmp_path / "cut.zarr"), wanted["volumes"].grey)


def test_what_is_not_asked_for_is_not_done(folder: Path, store: Path, tmp_path: Path) -> None:
    again = copied(store, tmp_path / store.name)  # which will tell of other limits
    assert run(folder, again).done == ()
    assert not run(folder, again, analyse={"class_limits": [0.02, 0.05]}).failures


@pytest.mark.parametrize("center", ["auto", [[43.0, 43.5]]])
def test_a_notebook_has_the_bits_of_a_run(folder: Path, tmp_path: Path, center: Any) -> None:
    keys = {"rows": [3, 20], "center": center}
    recipe = content(folder, reconstruct=keys)
    recipe["states"] = recipe["states"][:1]
    scans = Scans.of(check(recipe | {"crop": {}}), folder)
    with connect("synchronous", None, scans.recipe.compute.memory) as executor:
        assert not Run(scans, tmp_path / "s.zarr", executor, Silent())("reconstruct").failures
    wanted = np.asarray(zarr.open_array(str(Work.beside(tmp_path / "s.zarr").volume("tomogram", 0)))[...])
    real = crackdask.reconstruct(folder / "scans" / "pristine.nxs", **recipe["reconstruct"])
    assert real.dims == ("z", "y", "x")
    assert real.dtype == np.dtype(np.float32)
    window = found(tmp_path / "s.zarr")["window"].tolist()
    np.testing.assert_array_equal(quantised(real[5:17].values, *window)[0], wanted[5:17])
    levels = crackdask.reconstruct(folder / "scans" / "pristine.nxs", window=window, **recipe["reconstruct"])
    np.testing.assert_array_equal(levels[5:17].values, wanted[5:17])
    assert len(np.unique(wanted[5:17])) > 1000


def test_another_center_is_another_tomogram(folder: Path, wanted: dict[str, xr.Dataset], tmp_path: Path) -> None:
    exact = PROJECTED.axis
    outcome = run(folder, tmp_path / "given.zarr", until="grey", reconstruct={"center": [[exact], [exact, exact]]})
    assert not outcome.failures
    given = xr.open_zarr(tmp_path / "given.zarr", group="volumes").grey.values
    searched = wanted["volumes"].grey.values
    assert np.abs(given.astype(int) - searched).mean() < 2
    off = run(folder, tmp_path / "off.zarr", until="grey", reconstruct={"center": exact + 6})
    assert not off.failures
    assert np.abs(xr.open_zarr(tmp_path / "off.zarr", group="volumes").grey.values.astype(int) - searched).mean() > 5


def test_a_state_is_added_without_reconstructing_the_reference_again(folder: Path, store: Path, tmp_path: Path) -> None:
    both, grown = content(folder), tmp_path / "grown.zarr"
    for states_ in (both["states"][:1], both["states"]):
        scans = Scans.of(check(both | {"states": states_}), folder)
        with connect("synchronous", None, scans.recipe.compute.memory) as executor:
            outcome = Run(scans, grown, executor, Silent())()
        assert not outcome.failures
    assert not {"reconstruct-0", "read-0"} & set(outcome.done)
    assert unlike(grown, store) == []


def test_a_tomogram_beside_projections_is_read_as_it_is(folder: Path, tmp_path: Path) -> None:
    """States of one recipe may come from either."""
    recipe = content(folder)
    np.save(tmp_path / "made.npy", np.ones((20, PROJECTED.width, PROJECTED.width), np.float32))
    recipe["states"][1]["source"] = str(tmp_path / "made.npy")
    scans = Scans.of(check(recipe), folder)
    assert scans.projections(0) is not None
    assert scans.projections(1) is None
    with (
        connect("synchronous", None, scans.recipe.compute.memory) as executor,
        pytest.raises(SourceError, match="every voxel is 1"),
    ):
        Run(scans, tmp_path / "both.zarr", executor, Silent())("read")


def test_the_store_tells_how_it_was_made(folder: Path, store: Path) -> None:
    told = xr.open_zarr(store, group="reconstruction").load()
    assert set(RECONSTRUCTION) == set(told.data_vars)
    for name, variable in RECONSTRUCTION.items():
        assert (told[name].dims, told[name].dtype) == (variable.dims, np.dtype(variable.dtype)), name
        assert told[name].attrs == variable.attributes
    assert np.abs(told.center.values - PROJECTED.axis).max() < 0.1
    for state in range(2):
        np.testing.assert_array_equal(told.window[state], found(store)["window"])
    assert told.level.values.tolist() == [0, 65535]
    assert (told.beyond.fillna(-1) >= 0).all()
    assert (told.flaws.sel(flaw="dead") >= 1).all()
    assert np.nanargmin(np.abs(told.strip_center - told.center[:, 0]).values, axis=1).tolist() == [4, 4]
    first = told.isel(state=0)
    keys: dict[str, Any] = {"angles": [30.0, 177.0], "center": float(first.center[0])}
    for rings, removed in (("before", "none"), ("after", "column")):
        wanted = crackdask.reconstruct(folder / "scans" / "pristine.nxs", rings=removed, **keys)
        np.testing.assert_array_equal(first.slice.sel(rings=rings), wanted[int(first.example_row)])
    assert not np.array_equal(first.sinogram.sel(rings="before"), first.sinogram.sel(rings="after"))
    assert {each["code"] for each in crackdask.open(store).attrs["findings"]} >= {"lost-columns"}


def test_what_is_known_of_projections_is_told(folder: Path, tmp_path: Path) -> None:
    there = altered(folder, tmp_path)
    with h5py.File(there / "scans" / "pristine.nxs", "r+") as file:
        keys = file["entry/instrument/detector/image_key"]
        keys[...] = np.where(keys[...] == 2, 3, keys[...])  # no darks
    keys = {"angles": [30.0, 177.0], "center": PROJECTED.axis}
    assert not run(there, tmp_path / "s.zarr", until="reconstruct", reconstruct=keys).failures
    told = [each for each in unpacked(found(tmp_path / "s.zarr")) if each.code == "projection-notes"]
    assert len(told) == 2
    assert "found no darks" in told[0].text
    said = crackdask_command("check", there / "recipe.toml")
    assert said.code == 0, said.err
    words = " ".join(said.out.split())
    assert "4.2 V: 99 of 121 kept, 30 to 177 degrees; 20 flats, 20 darks; rows 0 to 20 of 20" in words
    assert "pristine: 99 of 121 kept, 30 to 177 degrees; 20 flats, 0 darks" in words
    assert "pristine: found no darks" in words
    assert "sinograms, tomogram" in words


def test_a_drafted_recipe_reconstructs(folder: Path, tmp_path: Path) -> None:
    said = crackdask_command("init", folder / "scans", "-o", tmp_path / "recipe.toml")
    assert said.code == 0, said.err
    text = (tmp_path / "recipe.toml").read_text()
    assert "\n[reconstruct]\n" in text
    assert "\n# angles = [0.0, 180.0]" in text
    assert "from 121 projections" in text
    fill_in(tmp_path / "recipe.toml")
    checked = crackdask_command("check", tmp_path / "recipe.toml")
    assert checked.code == 0, checked.err
    assert "121 of 121 kept, 0 to 180 degrees" in " ".join(checked.out.split())


def test_the_demo_projects_its_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstration, "PROJECTED", PROJECTED)
    said: list[str] = []
    slabs: list[tuple[int, int]] = []

    def show(done: int, total: int) -> None:
        slabs.append((done, total))

    recipe = demonstration.prepare(tmp_path / "demo.zarr", 1, said.append, "projections", show)
    assert recipe.parent.name == "demo-projections-scans"
    assert slabs == [(k + 1, 4) for k in range(4)]
    assert "2 scans of 121 projections of 20 x" in said[0]
    assert Scans.of(load_recipe(recipe), recipe.parent).projections(0) is not None
    refused = crackdask_command("demo", "--hard", "--projections", "--store", tmp_path / "s.zarr")
    assert refused.code == 2
    assert "choose one of --hard and --projections" in refused.err


def test_states_that_differ_are_filled_up_with_nan(store: Path) -> None:
    kept = found(store)
    given = {"centers": kept["centers"] + 1, "flaws": kept["flaws"]}  # the recipe gave its center, and left rings
    assert as_stored([]) == as_stored([{}, {}]) == {}
    made = as_stored([kept, {}, given])
    for name, variable in RECONSTRUCTION.items():
        assert made[name].ndim == len(variable.dims)
        assert np.isfinite(made[name][0]).all(), name
        assert np.isnan(made[name][1]).all(), name
        assert np.isnan(made[name][2]).all() == (name not in ("center", "flaws")), name
    np.testing.assert_array_equal(made["center"][2], made["center"][0] + 1)


def test_nothing_of_before_is_left_where_nothing_is_reconstructed(folder: Path, store: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(store, tmp_path / "again.zarr"))
    axes = Axes(("a", "b"), (3.0, 4.2), ("pristine", "charge"), (0, 0), PHANTOM.shape, (1.0, 1.0, 1.0))
    writer = TableWriter(again, axes, 1, 1)
    assert (again / "reconstruction").is_dir()
    writer.write_reconstruction({}, reconstruct.COUNTED)
    writer.close()
    assert not (again / "reconstruction").exists()
    assert "reconstruction" not in zarr.open_group(again, mode="r")


def test_what_was_not_looked_for_leaves_tables_that_can_be_opened(store: Path, tmp_path: Path) -> None:
    """A center of the recipe, rings left as they are, real numbers: each leaves variables without a value."""
    kept = found(store)
    axes = Axes(("a", "b"), (3.0, 4.2), ("pristine", "charge"), (0, 0), PHANTOM.shape, (1.0, 1.0, 1.0))
    again = Path(shutil.copytree(store, tmp_path / "again.zarr"))
    writer = TableWriter(again, axes, 1, 1)
    writer.write_reconstruction(
        as_stored([{name: kept[name] for name in ("centers", "flaws")}, {}]), reconstruct.COUNTED
    )
    writer.close()
    told = xr.open_zarr(again, group="reconstruction").load()
    np.testing.assert_array_equal(told.center[0], kept["centers"])
    for name in ("sinogram", "slice", "window", "beyond"):
        assert told[name].isnull().all(), name


def test_a_lost_table_of_reconstruction_is_made_anew(folder: Path, store: Path, tmp_path: Path) -> None:
    for name in (store.name, f"{store.name}.work"):
        shutil.copytree(store.with_name(name), tmp_path / name)
    again = tmp_path / store.name
    shutil.rmtree(again / "reconstruction" / "center")
    assert "track-0" in map(str, run(folder, again).done)
    assert xr.open_zarr(again, group="reconstruction").center.notnull().all()


def test_the_recipe_of_the_store_says_how(store: Path) -> None:
    assert json.loads(json.dumps(crackdask.open(store).attrs["recipe"]))["reconstruct"]["angles"] == [30.0, 177.0]
