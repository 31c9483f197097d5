"""Stores and work folders that were edited, or whose places hold other things: nothing of that is believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import crackdask
from crackdask.store.root import StoreError, consolidate
from tests.support.damaged import to_folder
from tests.support.store_files import unlike, work_folder
from tests.support.tiny import Said, Tiny, scan


def one_line(text: str) -> str:
    return " ".join(text.split())


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# ---------------------------------------------------------------- attributes


@pytest.mark.parametrize(
    ("column", "name", "value"),
    [
        ("grey_mean", "scale_factor", 2.0),
        ("voxels", "add_offset", 5.0),
        ("voxels", "_FillValue", 0),
        ("voxels", "units", "days since 2020-01-01"),
    ],
)
def test_no_attribute_changes_a_number(ran: Tiny, column: str, name: str, value: object) -> None:
    before = crackdask.open(ran.store)["particles"].to_dataset().load()
    edited(ran.store / "particles" / column / "zarr.json", lambda own: own["attributes"].update({name: value}))
    consolidate(ran.store)
    after = crackdask.open(ran.store)["particles"].to_dataset().load()
    assert after[column].attrs[name] == value
    np.testing.assert_array_equal(after[column].values, before[column].values)
    assert after[column].dtype == before[column].dtype


def other_voxel(recipe: dict[str, Any]) -> None:
    recipe["experiment"]["voxel_um"] = [0.1, 0.1, 0.1]


def other_order(recipe: dict[str, Any]) -> None:
    recipe["states"].reverse()


def one_more(recipe: dict[str, Any]) -> None:
    recipe["states"].append(recipe["states"][1] | {"name": "third"})


@pytest.mark.parametrize("change", [other_voxel, other_order, one_more])
def test_a_recipe_in_the_store_of_another_experiment(
    ran: Tiny, finished: Tiny, change: Callable[[dict[str, Any]], None]
) -> None:
    edited(ran.store / "zarr.json", lambda root: change(root["attributes"]["recipe"]))
    for words in (["status"], ["export"], ["report"], ["cracks"]):
        said = ran.crackdask(words[0], ran.store)
        assert said.code == 2
        assert "its recipe and its identity tell of different experiments" in one_line(said.err)
    assert "it is restored" in ran.run().out
    assert unlike(ran.store, finished.store) == []


def brighter_void(facts: dict[str, Any]) -> None:
    facts["found"]["background"] += 50


@pytest.mark.parametrize(
    ("change", "name"), [(brighter_void, "found"), (lambda facts: facts.update(findings=[]), "findings")]
)
def test_what_the_run_found_is_not_to_be_edited(
    ran: Tiny, finished: Tiny, change: Callable[[dict[str, Any]], None], name: str
) -> None:
    edited(ran.store / "zarr.json", lambda root: change(root["attributes"]))
    words = f"zarr.json tells another {name} than the run wrote"
    with pytest.raises(StoreError, match=words):
        crackdask.open(ran.store)
    assert "not complete" in ran.crackdask("status", ran.store).out
    said = ran.run()
    assert said.code == 0, said.err
    assert words in one_line(said.out + said.err)
    found, wanted = (crackdask.open(each.store).attrs for each in (ran, finished))
    assert (found["found"], found["findings"]) == (wanted["found"], wanted["findings"])
    assert found["findings"]
    assert "nothing to do" in ran.run().out


# ---------------------------------------------------------------- notes and results


def other_json(path: Path) -> None:
    path.write_text('[3, "x", {"unit": 5}]')


def other_units(path: Path) -> None:
    path.write_text('{"measure": 3, "mask-0": [], "x-y": "z"}')


@pytest.mark.parametrize("damage", [to_folder, other_json, other_units])
def test_damaged_notes_are_no_notes(ran: Tiny, damage: Callable[[Path], None]) -> None:
    for name in ("failed", "planned", "root"):
        damage(work_folder(ran.store) / name)
    said = ran.crackdask("status", ran.store)
    assert said.code == 0, said.err
    assert "(tiny): complete" in said.out
    assert "nothing to do" in ran.run().out
    assert json.loads((work_folder(ran.store) / "planned").read_text())["mask-0"]


def test_units_in_the_root_that_are_none(ran: Tiny) -> None:
    edited(ran.store / "zarr.json", lambda root: root["attributes"].update(steps={"measure": 3, "mask-0": 4}))
    said = ran.crackdask("status", ran.store)
    assert said.code == 0, said.err
    assert "(tiny): complete" in said.out


def test_a_work_volume_that_cannot_be_read(ran: Tiny, finished: Tiny) -> None:
    for path in work_folder(ran.store).rglob("zarr.json"):
        path.write_bytes(path.read_bytes()[:100])
    shutil.rmtree(ran.store / "volumes" / "label" / "c" / "1")
    said = ran.run()
    assert said.code == 0, said.err
    assert unlike(ran.store, finished.store) == []


def test_a_folder_for_a_result(ran: Tiny, finished: Tiny) -> None:
    to_folder(work_folder(ran.store) / "results" / "measure-1")
    assert "not complete" in ran.crackdask("status", ran.store).out
    said = ran.run()
    assert said.code == 0, said.err
    assert unlike(ran.store, finished.store) == []


# ---------------------------------------------------------------- places that hold other things


def assert_kept(said: Said, array: Path) -> None:
    assert said.code == 2
    words = one_line(said.err)
    assert "choose another place" in words
    assert "remove" not in words, "it is a scan of theirs"
    np.testing.assert_array_equal(np.asarray(zarr.open_array(str(array), mode="r")), scan(0))


def test_a_scan_in_the_place_of_the_store_is_not_to_be_removed(tiny: Tiny) -> None:
    zarr.create_array(tiny.folder / "a.zarr", data=scan(0), chunks=(16, 16, 16))
    group = zarr.open_group(tiny.folder / "b.zarr", mode="w")
    group.create_array("scan", data=scan(0), chunks=(16, 16, 16))
    for source, array in (("a.zarr", "a.zarr"), ("b.zarr::scan", "b.zarr/scan")):
        tiny.content["states"][0]["source"] = source
        tiny.store = tiny.folder / source.partition("::")[0]
        for said in (tiny.run(), tiny.crackdask("status", tiny.store), tiny.crackdask("export", tiny.store)):
            assert_kept(said, tiny.folder / array)


def test_a_file_where_a_folder_is_needed(ran: Tiny) -> None:
    (ran.folder / "file").write_text("important")
    other = ran.folder / "other.zarr"
    (ran.folder / "other.zarr.work").write_text("important")
    for said in (
        ran.crackdask("export", ran.store, "--to", ran.folder / "file"),
        ran.crackdask("export", ran.store, "--labels", "--to", ran.folder / "file"),
        ran.crackdask("report", ran.store, "--to", ran.folder / "file"),
        ran.crackdask("run", ran.recipe, "--store", other, "--cluster", "synchronous"),
    ):
        assert said.code == 2
        assert "a file lies where a folder is needed" in one_line(said.err)
    assert (ran.folder / "file").read_text() == (ran.folder / "other.zarr.work").read_text() == "important"


# ---------------------------------------------------------------- states


def test_a_copy_of_a_scan_is_told(tiny: Tiny) -> None:
    shutil.rmtree(tiny.folder / "scans" / "b")
    shutil.copytree(tiny.folder / "scans" / "a", tiny.folder / "scans" / "b")
    said = tiny.run()
    assert said.code == 0, said.err
    words = "One scan for two states: 4.2 V (every voxel as in pristine)."
    assert words in one_line(said.out)
    assert words in one_line(tiny.crackdask("status", tiny.store).out)


def test_scans_of_their_own_are_not_told(finished: Tiny) -> None:
    assert "One scan for two states" not in finished.crackdask("status", finished.store).out


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202edesrever", "\x07"])
def test_names_that_command_a_screen(tiny: Tiny, name: str) -> None:
    tiny.content["states"][1]["name"] = name
    tiny.change("experiment", name=name)
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    for key in ("experiment.name", "states[1].name"):
        assert f"{key}: should have letters that can be seen, found" in one_line(said.err)
    assert name not in said.err
    tiny.content["states"][1]["name"] = "מצב 4.2 V é 充電"
    tiny.change("experiment", name="試料")
    assert tiny.crackdask("check", tiny.recipe).code == 0
