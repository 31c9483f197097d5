"""Stores that are of another format, another recipe, or none; and one that another run writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr
from filelock import FileLock

from tests.support.refusals import assert_mended, assert_said, one_line
from tests.support.tiny import Tiny, crackdask


def test_a_store_of_a_newer_format(tiny: Tiny) -> None:
    assert tiny.run("--until", "read").code == 0
    root = zarr.open_group(str(tiny.store), mode="r+")
    kept = root.attrs["format_version"]
    root.attrs["format_version"] = 99
    words = (f"{tiny.store} has format 99, this crackdask knows formats up to {kept}", "install a newer crackdask")
    for said in (tiny.run(), crackdask("status", tiny.store), crackdask("export", tiny.store)):
        assert_said(said, 2, *words)
    root.attrs["format_version"] = kept
    assert tiny.run("--until", "grey").code == 0


def test_a_store_of_another_recipe(tiny: Tiny, finished: Tiny) -> None:
    assert tiny.run("--until", "read").code == 0
    tiny.change("experiment", voxel_um=0.25)
    tiny.content["states"][1]["name"] = "4.4 V"
    said = tiny.run()
    words = (
        f"{tiny.store} was made by another recipe:",
        "voxel_um: [0.5, 0.5, 0.5] in the store, [0.25, 0.25, 0.25] in the recipe",
        "states: ['pristine', '4.2 V'] in the store, ['pristine', '4.4 V'] in the recipe",
        "choose another --store, or remove this one and out.zarr.work beside it",
    )
    assert_said(said, 2, *words)
    tiny.change("experiment", voxel_um=0.5)
    tiny.content["states"][1]["name"] = "4.2 V"
    assert_mended(tiny, finished.store)


def test_a_folder_that_is_no_store(tiny: Tiny) -> None:
    tiny.store.mkdir()
    (tiny.store / "thesis.docx").write_text("important")
    assert_said(tiny.run(), 2, f"{tiny.store} is not empty and not a store; choose another place with --store")
    assert [path.name for path in tiny.store.iterdir()] == ["thesis.docx"]
    assert not tiny.store.with_name("out.zarr.work").exists()


def test_an_empty_folder_will_do(tiny: Tiny) -> None:
    tiny.store.mkdir()
    assert tiny.run("--until", "read").code == 0


def test_a_file_is_no_store(tiny: Tiny) -> None:
    tiny.store.write_text("important")
    assert_said(tiny.run(), 2, f"{tiny.store} is a file, not a store; choose another place with --store")
    assert tiny.store.read_text() == "important"


def test_another_zarr_group_is_no_store(tiny: Tiny) -> None:
    zarr.create_group(str(tiny.store))
    for said in (tiny.run(), crackdask("status", tiny.store)):
        assert_said(said, 2, f"{tiny.store} is a Zarr group but not a crackdask store")


@pytest.mark.parametrize("command", ["status", "export"])
def test_no_store(tmp_path: Path, command: str) -> None:
    store = tmp_path / "none.zarr"
    assert_said(crackdask(command, store), 2, f"there is no store at {store}; `crackdask run RECIPE --store {store}`")


def test_a_store_that_another_run_writes(tiny: Tiny, finished: Tiny) -> None:
    assert tiny.run("--until", "read").code == 0
    work = tiny.store.with_name("out.zarr.work")
    with FileLock(work / "lock"):
        (work / "owner").write_text("process 77 on node12\n")
        words = ("another run is writing this store (process 77 on node12)", "wait for it or stop it")
        assert_said(tiny.run(), 2, *words)
        assert "being written by process 77 on node12" in one_line(crackdask("status", tiny.store).out)
    assert_mended(tiny, finished.store)
