"""A first recipe for scans: what `init` writes, `check` accepts."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from crackdask.sources.state_hints import hints_of_name
from tests.support.drafted import fill_in
from tests.support.tiny import crackdask, scan, write_slices


def as_slices(place: Path, seed: int) -> Path:
    write_slices(place / f"scan_{seed}", scan(seed))
    return place / f"scan_{seed}"


def as_stack(place: Path, seed: int) -> Path:
    tifffile.imwrite(place / f"scan_{seed}.tif", scan(seed), imagej=True, metadata={"axes": "ZYX"})
    return place / f"scan_{seed}.tif"


def as_hdf5(place: Path, seed: int) -> Path:
    with h5py.File(place / f"scan_{seed}.h5", "w") as file:
        file["/entry/data/data"] = scan(seed)
        file["/entry/dark"] = np.zeros((3, 28, 32), np.uint16)
    return place / f"scan_{seed}.h5"


def as_npy(place: Path, seed: int) -> Path:
    np.save(place / f"scan_{seed}.npy", scan(seed))
    return place / f"scan_{seed}.npy"


def as_zarr(place: Path, seed: int) -> Path:
    zarr.create_array(place / f"scan_{seed}.zarr", data=scan(seed))
    return place / f"scan_{seed}.zarr"


FORMS = [as_slices, as_stack, as_hdf5, as_npy, as_zarr]


def assert_checked(recipe: Path) -> dict[str, Any]:
    fill_in(recipe)
    said = crackdask("check", recipe)
    assert said.code == 0, said.err
    assert "20 x 28 x 32 voxels, uint16 scans" in said.out
    assert "the recipe is valid" in said.out
    return tomllib.loads(recipe.read_text())


@pytest.mark.parametrize("form", FORMS)
def test_scans_by_name(tmp_path: Path, form: Any) -> None:
    scans = [form(tmp_path, seed) for seed in (0, 1)]
    said = crackdask("init", *scans, "-o", tmp_path / "recipe.toml")
    assert said.code == 0, said.err
    recipe = tmp_path / "recipe.toml"
    words = " ".join(said.out.split())
    assert words == f"wrote {recipe}: fill in voltage (2), step (2), voxel_um, then: crackdask check {recipe}"
    content = assert_checked(tmp_path / "recipe.toml")
    assert [state["name"] for state in content["states"]] == ["scan_0", "scan_1"]
    inner = "::/entry/data/data" if form is as_hdf5 else ""
    assert [state["source"].removesuffix("::/") for state in content["states"]] == [s.name + inner for s in scans]


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_of_scans_in_natural_order(tmp_path: Path, form: Any) -> None:
    (tmp_path / "beamtime").mkdir()
    for seed in (10, 9, 1):
        form(tmp_path / "beamtime", seed)
    recipe = tmp_path / "elsewhere" / "recipe.toml"
    assert crackdask("init", tmp_path / "beamtime", "-o", recipe).code == 0
    content = assert_checked(recipe)
    assert [state["name"] for state in content["states"]] == ["scan_1", "scan_9", "scan_10"]
    assert all(state["source"].startswith("../beamtime/scan_") for state in content["states"])


def test_the_voxel_size_where_the_file_tells_it(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        scan(0),
        imagej=True,
        resolution=(4, 4),
        metadata={"spacing": 0.25, "unit": "um", "axes": "ZYX"},
    )
    assert crackdask("init", tmp_path / "a.tif", "-o", tmp_path / "r.toml").code == 0
    content = assert_checked(tmp_path / "r.toml")
    assert content["experiment"]["voxel_um"] == pytest.approx(0.25)
    assert "from the scan's metadata" in (tmp_path / "r.toml").read_text()


def test_voltages_in_names_of_files(tmp_path: Path) -> None:
    for name in ("pristine.npy", "4.2V.npy", "2.5V_DC.npy"):
        np.save(tmp_path / name, scan(0))
    scans = [tmp_path / name for name in ("pristine.npy", "4.2V.npy", "2.5V_DC.npy")]
    assert crackdask("init", *scans, "-o", tmp_path / "r.toml").code == 0
    text = (tmp_path / "r.toml").read_text()
    assert "voltage = 2.5  # from the name; V vs Li/Li+" in text
    content = assert_checked(tmp_path / "r.toml")
    assert [state["name"] for state in content["states"]] == ["pristine", "4.2V", "2.5V_DC"]
    assert [state["voltage"] for state in content["states"][1:]] == [4.2, 2.5]
    assert [content["states"][k]["step"] for k in (0, 2)] == ["pristine", "discharge"]


def test_what_is_not_known_is_left_open_and_check_names_it(tmp_path: Path) -> None:
    as_npy(tmp_path, 0)
    assert crackdask("init", tmp_path / "scan_0.npy", "-o", tmp_path / "r.toml").code == 0
    said = crackdask("check", tmp_path / "r.toml")
    assert said.code == 2
    for key in ("experiment.voxel_um", "states[0].voltage", "states[0].step"):
        assert f"{key}: missing" in said.err


def test_a_nexus_file_tells_its_sample_and_its_time(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "12345.nxs", "w") as file:
        file["entry/data/data"] = scan(0)
        file["entry/start_time"] = "2026-03-14T09:26:53+01:00"
        file["entry/sample/description"] = "NMC811, discharged after 10 cycles"
        file["entry/sample/voltage"] = 2501.0
        file["entry/sample/voltage"].attrs["units"] = "mV"
    assert crackdask("init", tmp_path / "12345.nxs", "-o", tmp_path / "r.toml").code == 0
    state = assert_checked(tmp_path / "r.toml")["states"][0]
    assert (state["voltage"], state["step"], state["cycle"]) == (2.501, "aged", 10)
    assert state["time"].isoformat() == "2026-03-14T09:26:53+01:00"
    text = (tmp_path / "r.toml").read_text()
    assert "from entry/sample/voltage in the file" in text
    assert "from entry/sample/description in the file" in text


@pytest.mark.parametrize(
    ("name", "voltage"),
    [
        ("4.2V", 4.2), ("4_2V_charge", 4.2), ("4p35 V", 4.35), ("s12_4V2", 4.2), ("300mV", 0.3), ("V4", None),
        ("scan_v2", None), ("3.0V_to_4.2V", None), ("14.2V", None), ("4.2Volume", None), ("2V4_b", 2.4),
        ("4.2v-dc", 4.2), ("scan3_4V", 4.0), ("scan_3_4V", 3.4), ("s1_3.7V", 3.7), ("5mV", None), ("4V", 4.0),
    ],
)  # fmt: skip
def test_voltages_that_names_tell(name: str, voltage: float | None) -> None:
    found = hints_of_name(name).get("voltage")
    assert (found.value if found else None) == voltage


@pytest.mark.parametrize(
    ("name", "step", "cycle"),
    [
        ("pristine_25C", "pristine", None), ("4.2V_25C", None, None), ("C20_4.2V", None, None),
        ("4.2V_C", "charge", None), ("C_20_3V", None, None), ("4.2V_OCV", None, None), ("ocv", "pristine", None),
        ("scan3_cycle2", None, 2),
        ("charge_cycle1", "charge", 1), ("DC_cyc02", "discharge", 2), ("10cycles", "aged", 10),
        ("charged_100_cycles", "aged", 100), ("scan3_cycles", None, None), ("aged_cycle10", "aged", 10),
        ("charge_discharge", None, None), ("cell7_4.2V_charging", "charge", None), ("s2_dc_2.5V", "discharge", None),
    ],
)  # fmt: skip
def test_steps_and_cycles_that_names_tell(name: str, step: str | None, cycle: int | None) -> None:
    found = hints_of_name(name)
    assert [found[key].value if key in found else None for key in ("step", "cycle")] == [step, cycle]


def test_scans_of_one_name_get_several(tmp_path: Path) -> None:
    for cell in ("x", "y"):
        write_slices(tmp_path / cell / "scan", scan(0))
    said = crackdask("init", tmp_path / "x/scan", tmp_path / "y/scan", "-o", tmp_path / "r.toml")
    assert said.code == 0
    content = assert_checked(tmp_path / "r.toml")
    assert [state["name"] for state in content["states"]] == ["scan", "scan 2"]


def test_names_that_toml_would_misread(tmp_path: Path) -> None:
    place = tmp_path / 'a "quoted" \\ näme'
    write_slices(place, scan(0))
    assert crackdask("init", place, "-o", tmp_path / "r.toml").code == 0
    assert assert_checked(tmp_path / "r.toml")["states"][0]["name"] == place.name


@pytest.mark.parametrize(
    ("name", "shown"), [("a\x01b\x7f", "a_b_"), ("one\nline\ttab", "one_line_tab"), ("\x01", "_"), ("  a ", "a")]
)
def test_letters_that_cannot_be_seen_stay_out_of_names(name: str, shown: str, tmp_path: Path) -> None:
    write_slices(tmp_path / name, scan(0))
    assert crackdask("init", tmp_path / name, "-o", tmp_path / "r.toml").code == 0
    state = assert_checked(tmp_path / "r.toml")["states"][0]
    assert (state["name"], state["source"]) == (shown, name)


def test_a_name_that_no_recipe_can_hold_is_told(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xffb"))
    write_slices(place, scan(0))
    said = crackdask("init", place, "-o", tmp_path / "r.toml")
    assert said.code == 2
    assert "is not UTF-8, in which recipes are written; rename it" in " ".join(said.err.split())
    assert not (tmp_path / "r.toml").exists()


def test_a_recipe_is_not_overwritten_by_chance(tmp_path: Path) -> None:
    place, recipe = as_slices(tmp_path, 0), tmp_path / "recipe.toml"
    recipe.write_text("mine")
    said = crackdask("init", place, "-o", recipe)
    assert said.code == 2
    assert f"{recipe} exists; give another --output, or --force" in said.err
    assert recipe.read_text() == "mine"
    assert crackdask("init", place, "-o", recipe, "--force").code == 0
    assert_checked(recipe)


def test_no_scan_there(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    for place, words in ((tmp_path / "none", "no such file or folder"), (tmp_path / "void", "the folder is empty")):
        said = crackdask("init", place, "-o", tmp_path / "r.toml")
        assert said.code == 2
        assert str(place) in said.err
        assert words in said.err
        assert not (tmp_path / "r.toml").exists()
