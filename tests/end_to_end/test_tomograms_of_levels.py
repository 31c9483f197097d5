"""Tomograms that are kept as 16-bit levels: half the disk, the same bits however they are made, next to no error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import crackdask
from crackdask.analysis.findings import unpacked
from crackdask.engine.checkpoints import Work
from crackdask.engine.scans import Scans
from crackdask.engine.work_units import units
from crackdask.kernels.quantisation import LAST, quantised
from crackdask.phantom.projected_scans import write_projections
from crackdask.recipe.recipe import check
from crackdask.schema import UnitKey
from crackdask.steps import projection_slabs
from crackdask.steps.reconstruct_parameters import ReconstructParams
from tests.support.projected import PROJECTED, content, run

WINDOW = [-0.02, 0.05]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("levels")
    write_projections(PROJECTED, folder)
    return folder


def tomogram(folder: Path, store: Path, window: list[float] | str | None) -> np.ndarray:
    """Return the first state's tomogram as a run leaves it in its work folder."""
    keys: dict[str, Any] = {"center": PROJECTED.axis} | ({"window": window} if window else {})  # auto, if not given
    assert not run(folder, store, until="reconstruct", reconstruct=keys).failures
    return np.asarray(zarr.open_array(str(Work.beside(store).volume("tomogram", 0)))[...])


def test_levels_are_those_of_the_real_numbers_for_any_slab_and_in_a_notebook(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tomogram(folder, tmp_path / "real.zarr", "none")
    wanted, _ = quantised(real, *WINDOW)
    np.testing.assert_array_equal(tomogram(folder, tmp_path / "levels.zarr", WINDOW), wanted)
    keys = content(folder)["reconstruct"] | {"center": PROJECTED.axis, "window": WINDOW}
    found = crackdask.reconstruct(folder / "scans" / "pristine.nxs", **keys)
    assert found.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(found[3:9].values, wanted[3:9])
    attenuation = found[5].values * found.attrs["scale_factor"] + found.attrs["add_offset"]
    assert np.abs(attenuation - real[5]).max() < 0.51 * (WINDOW[1] - WINDOW[0]) / LAST
    monkeypatch.setattr(projection_slabs, "MOST_ROWS", 7)
    np.testing.assert_array_equal(tomogram(folder, tmp_path / "cut.zarr", WINDOW), wanted)


def test_grey_levels_are_those_of_real_numbers_and_half_the_disk_is_planned(folder: Path, tmp_path: Path) -> None:
    grey, disk = {}, {}
    for name, keys in (("real", {"window": "none"}), ("levels", {})):
        recipe = check(content(folder, reconstruct=keys))
        disk[name] = Scans.of(recipe, folder).projected[0].tomogram_bytes
        assert not run(folder, tmp_path / f"{name}.zarr", until="grey", reconstruct=keys).failures
        grey[name] = xr.open_zarr(tmp_path / f"{name}.zarr", group="volumes").grey.values.astype(int)
    assert disk["real"] == 2 * disk["levels"]
    off = np.abs(grey["levels"] - grey["real"])
    assert off.max() <= 2
    assert off.mean() < 0.1
    _, kept = Work.beside(tmp_path / "levels.zarr").result(UnitKey("reconstruct", 0)) or ("", {})
    assert not [each for each in unpacked(kept) if each.code == "beyond-window"]


def test_a_window_that_is_too_narrow_is_told(folder: Path, tmp_path: Path) -> None:
    levels = tomogram(folder, tmp_path / "narrow.zarr", [0.0, 0.01])
    assert levels.max() == LAST
    _, kept = Work.beside(tmp_path / "narrow.zarr").result(UnitKey("reconstruct", 0)) or ("", {})
    (found,) = [each for each in unpacked(kept) if each.code == "beyond-window"]
    beyond = int(kept["beyond"].sum())
    assert beyond >= np.isin(levels, (0, LAST)).sum() / 2
    assert found.figure == pytest.approx(beyond / levels.size)


def test_real_numbers_are_the_tomograms_of_recipes_that_knew_no_window(folder: Path) -> None:
    real, given, open_ = (
        Scans.of(check(content(folder, reconstruct=keys)), folder)
        for keys in ({"window": "none"}, {"window": WINDOW}, {})
    )
    assert "window" not in real.recipe.reconstruct.deciding()  # type: ignore[union-attr]
    assert len({each.fingerprints[UnitKey("reconstruct", 0)] for each in (real, given, open_)}) == 3
    assert ReconstructParams.model_validate({"window": None}).window == "none"  # as an older store tells its recipe
    said = Scans.of(check(content(folder, reconstruct={"window": "auto"})), folder)
    assert said.fingerprints == open_.fingerprints


def test_an_open_window_is_made_of_the_reference_for_all_states(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels, real = tomogram(folder, tmp_path / "auto.zarr", None), tomogram(folder, tmp_path / "real.zarr", "none")
    (_, first), (_, second) = (
        Work.beside(tmp_path / "auto.zarr").result(UnitKey("reconstruct", state)) or ("", {}) for state in (0, 1)
    )
    low, high = first["window"].tolist()
    np.testing.assert_array_equal(second["window"], first["window"])
    np.testing.assert_array_equal(levels, quantised(real, low, high)[0])
    other = np.asarray(zarr.open_array(str(Work.beside(tmp_path / "auto.zarr").volume("tomogram", 1)))[...])
    real_other = np.asarray(zarr.open_array(str(Work.beside(tmp_path / "real.zarr").volume("tomogram", 1)))[...])
    np.testing.assert_array_equal(other, quantised(real_other, low, high)[0])
    common = np.percentile(real, (0.1, 99.9))
    assert low < common[0] < common[1] < high < common[1] + 1.5 * np.ptp(common)
    assert first["beyond"].sum() < 1e-5 * real.size
    monkeypatch.setattr(projection_slabs, "MOST_ROWS", 7)
    np.testing.assert_array_equal(tomogram(folder, tmp_path / "cut.zarr", "auto"), levels)
    keys = content(folder)["reconstruct"] | {"center": PROJECTED.axis, "window": "auto"}
    found = crackdask.reconstruct(folder / "scans" / "pristine.nxs", **keys)
    np.testing.assert_array_equal(found[3:9].values, levels[3:9])
    assert (found.attrs["add_offset"], found.attrs["scale_factor"]) == (low, (high - low) / LAST)


def test_what_is_kept_on_an_open_window_is_attenuation(folder: Path, tmp_path: Path) -> None:
    keys = {"center": PROJECTED.axis, "window": "auto", "keep": "float32"}
    assert not run(folder, tmp_path / "kept.zarr", until="tomograms", reconstruct=keys).failures
    found = xr.open_zarr(tmp_path / "kept.zarr", group="tomograms").attenuation.values
    for state in (0, 1):
        _, told = Work.beside(tmp_path / "kept.zarr").result(UnitKey("reconstruct", state)) or ("", {})
        low, high = told["window"].tolist()
        keys = content(folder)["reconstruct"] | {"center": PROJECTED.axis}
        real = crackdask.reconstruct(folder / content(folder)["states"][state]["source"], **keys).values
        assert np.abs(found[state] - real).max() < 0.51 * (high - low) / LAST + 1e-8


def test_only_an_open_window_makes_states_wait_for_the_reference(folder: Path) -> None:
    for window, needs in (("auto", ("reconstruct-0",)), (WINDOW, ())):
        plan = units(check(content(folder, reconstruct={"window": window})))
        (second,) = [unit for unit in plan if unit.name == "reconstruct-1"]
        assert tuple(map(str, second.needs)) == needs


def test_a_state_that_was_a_tomogram_leaves_no_open_window(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "made.npy", np.zeros((20, PROJECTED.width, PROJECTED.width), np.float32))
    opened = []
    for window in ("auto", "none", WINDOW):
        recipe = content(folder, reconstruct={"window": window})
        recipe["states"][1]["source"] = str(tmp_path / "made.npy")
        opened.append(Scans.of(check(recipe), folder))
    auto, none, given = opened
    assert [each.sources[0].dtype.name for each in opened] == ["float32", "float32", "uint16"]
    assert auto.recipe == none.recipe
    assert auto.fingerprints == none.fingerprints != given.fingerprints


def test_a_grey_window_of_attenuations_leaves_no_open_window(folder: Path) -> None:
    """A person cannot know the levels before the run."""
    for window, stored in (("auto", "float32"), ("none", "float32"), (WINDOW, "uint16")):
        recipe = content(folder, reconstruct={"window": window}, grey={"window": [0.0, 0.03]})
        assert {each.dtype.name for each in Scans.of(check(recipe), folder).sources} == {stored}
