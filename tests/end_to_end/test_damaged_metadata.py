"""Stores whose metadata were damaged after their run: it is told in one line, or mended to the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import crackdask
from crackdask.store.root import StoreError
from tests.support.damaged import (
    assert_mended,
    bytes_of,
    follow,
    line,
    read_all,
    to_folder,
)
from tests.support.store_files import work_folder
from tests.support.tiny import Tiny
from tests.support.tiny import crackdask as command


def gone(path: Path) -> None:
    path.unlink()


def nothing(path: Path) -> None:
    path.write_text("")


def no_json(path: Path) -> None:
    path.write_text("not JSON")


def no_object(path: Path) -> None:
    path.write_text("[1, 2]")


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def another_thing(path: Path) -> None:
    path.write_text('{"name": "a package", "version": 1}')


def another_group(path: Path) -> None:
    path.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def without_recipe(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["attributes"]["recipe"]
    path.write_text(json.dumps(content))


def other_recipe(path: Path) -> None:
    content = json.loads(path.read_text())
    content["attributes"]["recipe"] = {"experiment": 3}
    path.write_text(json.dumps(content))


def without_contents(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["consolidated_metadata"]
    path.write_text(json.dumps(content))


ROOTS = (
    gone, nothing, no_json, no_object, no_text, to_folder, another_thing, another_group, without_recipe,
    without_contents,
)  # fmt: skip


def every_reader(tiny: Tiny) -> Iterator[str]:
    """Yield the line of each command that reads, and of a notebook."""
    for words in (["status"], ["status", "--verify"], ["export"], ["export", "--labels"], ["report"], ["cracks"]):
        yield line(command(words[0], tiny.store, *words[1:]))
    with pytest.raises(StoreError) as caught:
        crackdask.open(tiny.store)
    assert "\n" not in str(caught.value)
    yield f"error: {caught.value}"


@pytest.mark.parametrize("damage", ROOTS)
def test_a_broken_root_is_restored(copy: Tiny, two_blocks: Tiny, damage: Callable[[Path], None]) -> None:
    damage(copy.store / "zarr.json")
    (said,) = set(every_reader(copy))
    assert f"{copy.store}/zarr.json " in said
    assert said.endswith(f"`crackdask run RECIPE --store {copy.store}` restores it")
    assert "it is restored" in assert_mended(copy, two_blocks).out


@pytest.mark.parametrize("damage", ROOTS)
def test_a_broken_root_without_a_copy(copy: Tiny, two_blocks: Tiny, damage: Callable[[Path], None]) -> None:
    (work_folder(copy.store) / "root").unlink()
    damage(copy.store / "zarr.json")
    before, kept = bytes_of(copy.store), bytes_of(work_folder(copy.store))
    lines = {*every_reader(copy), line(copy.run())}
    assert len(lines) == 1, lines
    (said,) = lines
    assert f"{copy.store}/zarr.json " in said
    assert f"put its zarr.json back from a copy, or remove {copy.store}, and `crackdask run" in said
    assert bytes_of(copy.store) == before
    assert bytes_of(work_folder(copy.store)) == kept
    follow(said, copy)
    assert not copy.store.exists()
    if damage is gone:  # after the others the same is left: no store, and the work folder as it was
        assert_mended(copy, two_blocks)


def test_a_recipe_of_a_root_that_is_none(copy: Tiny, two_blocks: Tiny) -> None:
    other_recipe(copy.store / "zarr.json")
    assert "zarr.json is damaged: its recipe is none" in line(command("status", copy.store))
    assert_mended(copy, two_blocks)


def set_key(*keys: str, value: Any) -> Callable[[Path], None]:
    """Return what sets a value in a JSON file."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        at = content
        for key in keys[:-1]:
            at = at[key]
        assert at[keys[-1]] != value
        at[keys[-1]] = value
        path.write_text(json.dumps(content))

    damage.__name__ = keys[-1]
    return damage


ARRAYS = (
    gone, nothing, no_json, no_object, no_text, to_folder, another_thing, another_group,
    set_key("shape", value=[2, 24, 28, 32]), set_key("data_type", value="int16"),
    set_key("chunk_grid", "configuration", "chunk_shape", value=[1, 16, 16, 8]),
    set_key("codecs", value=[{"name": "bytes", "configuration": {"endian": "little"}}]),
    set_key("dimension_names", value=["state", "x", "y", "z"]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "array"),
    [
        *((damage, "volumes/label") for damage in ARRAYS),
        *((damage, "particles/voxels") for damage in ARRAYS[-5:-2]),
        (no_json, "volumes/grey"), (no_json, "particles/voxels"), (no_json, "volumes/z"), (ARRAYS[-5], "volumes/z"),
    ],
)  # fmt: skip
def test_broken_metadata_is_made_anew(copy: Tiny, two_blocks: Tiny, damage: Callable[[Path], None], array: str) -> None:
    damage(copy.store / array / "zarr.json")
    *status, export, labels, report, cracks, notebook = every_reading(copy)
    for said in (export, labels, report, cracks, notebook):
        assert f"{copy.store}/{array}/zarr.json " in said
        follow(said, copy)
    for told in status:
        assert "not complete" in told
        assert f"damaged: {copy.store}/{array}" in told
    said = assert_mended(copy, two_blocks).out
    assert "it is made anew" in said


def every_reading(tiny: Tiny) -> Iterator[str]:
    """Yield what status says, and the line of each other command that reads, and of a notebook."""
    yield command("status", tiny.store).out
    for words in (["export"], ["export", "--labels"], ["report"], ["cracks"]):
        yield line(command(words[0], tiny.store, *words[1:]))
    with pytest.raises(StoreError) as caught:
        crackdask.open(tiny.store)
    yield f"error: {caught.value}"


@pytest.mark.parametrize("group", ["volumes", "particles", "transforms"])
@pytest.mark.parametrize("damage", [gone, nothing, another_thing, to_folder])
def test_broken_groups(copy: Tiny, two_blocks: Tiny, damage: Callable[[Path], None], group: str) -> None:
    damage(copy.store / group / "zarr.json")
    assert f"{copy.store}/{group}/zarr.json " in line(command("export", copy.store))
    assert "not complete" in command("status", copy.store).out
    assert_mended(copy, two_blocks)


@pytest.mark.parametrize("place", ["volumes/label", "particles"])
@pytest.mark.parametrize("how", ["file", "link"])
def test_a_file_or_link_for_a_folder(copy: Tiny, two_blocks: Tiny, place: str, how: str) -> None:
    shutil.rmtree(copy.store / place)
    if how == "file":
        (copy.store / place).touch()
    else:
        (copy.store / place).symlink_to("nothing")
    assert f"{copy.store}/{place}" in line(command("export", copy.store))
    assert_mended(copy, two_blocks)


def test_attributes_and_arrays_of_ones_own_are_no_damage(copy: Tiny) -> None:
    root = zarr.open_group(str(copy.store), mode="r+", use_consolidated=False)
    root["volumes/grey"].attrs["beamline"] = "I13-2"
    root.create_array("mine/notes", data=np.arange(6))
    assert "nothing to do" in copy.run().out
    assert "(tiny): complete" in command("status", copy.store, "--verify").out
    read_all(copy.store)
