"""Stores that were damaged after their run: each damage is told in one line, or mended to the same bytes."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import crackdask
from crackdask.store.root import StoreError
from tests.support.shared import made_once
from tests.support.store_files import copied, unlike, work_folder
from tests.support.tiny import Said, Tiny
from tests.support.tiny import crackdask as command

GREY, LABEL = "volumes/grey/c/0/0/0/0", "volumes/label/c/1/0/0/0"
VOXELS, Z = "particles/voxels/c/0/0", "volumes/z/c/0"


#: Chunks enough to be lost and swapped, in two blocks: their number has nothing to do with what becomes of a chunk.
TWO_BLOCKS = {"block": [32, 32, 16]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return an experiment in two blocks, run to its end; look, do not touch."""

    def make(folder: Path) -> None:
        tiny = Tiny(folder)
        tiny.change("compute", **TWO_BLOCKS)
        said = tiny.run()
        assert said.code == 0, said.err

    return Tiny(made_once(tmp_path_factory, "two-blocks", make))


@pytest.fixture
def copy(finished: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of a finished experiment, to be damaged."""
    shutil.copytree(finished.folder / "scans", tmp_path / "scans")
    tiny = Tiny(tmp_path)
    tiny.change("compute", **TWO_BLOCKS)
    copied(finished.store, tiny.store)
    return tiny


# ---------------------------------------------------------------- what commands say


def line(said: Said) -> str:
    """Return the one line in which a command refused."""
    assert said.code == 2, (said.code, said.out, said.err)
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("error: ")
    return said.err.strip()


def read_all(store: Path) -> None:
    """Read every number of a store as a notebook does."""
    for node in crackdask.open(store).subtree:
        node.to_dataset().load()


def assert_read_by_nobody(tiny: Tiny, where: str, *, labels: bool = False) -> str:
    """Assert that what reads a place of the store says in one line that it is damaged; return the last line."""
    with pytest.raises(StoreError) as caught:
        read_all(tiny.store)
    assert where in str(caught.value)
    words: list[str | Path] = ["export", tiny.store, "--to", tiny.folder / "out", *(["--labels"] if labels else [])]
    said = line(command(*words))
    assert where in said
    return said


def follow(said: str, tiny: Tiny) -> None:
    """Do what an error tells to do."""
    delete = re.search(r"; to have it made anew, remove (\S+) and run again$", said)
    if delete:
        path = Path(delete[1])
        assert path.is_relative_to(tiny.folder)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return
    if remove := re.search(r"or remove (\S+), and `crackdask run", said):
        shutil.rmtree(remove[1])
        return
    assert f"`crackdask run RECIPE --store {tiny.store}` " in said, said


def assert_mended(tiny: Tiny, wanted: Tiny) -> Said:
    """Assert that a run mends the store to the same bytes, after which nobody has anything to say."""
    said = tiny.run()
    assert said.code == 0, said.err
    assert unlike(tiny.store, wanted.store) == []
    assert "nothing to do" in tiny.run().out
    checked = command("status", tiny.store, "--verify")
    assert checked.code == 0, checked.out
    assert "(tiny): complete" in checked.out
    read_all(tiny.store)
    return said


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


# ---------------------------------------------------------------- chunks


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def lost(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nothing")


def link_to_another(path: Path) -> None:
    """Make it a link to another chunk, which is sound."""
    chunks, content = next(folder for folder in path.parents if folder.name == "c"), path.read_bytes()
    other = next(p for p in sorted(chunks.rglob("*")) if p.is_file() and p.read_bytes() != content)
    path.unlink()
    path.symlink_to(other)


def flip(path: Path) -> None:
    """Change content alone, as a disk does: neither the size nor the time tells."""
    seen, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def folder_to_file(path: Path) -> None:
    """Replace the folder of all chunks by an empty file."""
    chunks = next(folder for folder in path.parents if folder.name == "c")
    shutil.rmtree(chunks)
    chunks.touch()


def folder_to_link(path: Path) -> None:
    """Replace the folder of the chunk by a link to a copy of it."""
    path.parent.rename(path.parent.with_name("kept"))
    path.parent.symlink_to("kept")


SEEN = (to_folder, lost, cut, empty, link_to_nothing, link_to_another, folder_to_file)


@pytest.mark.parametrize(
    ("damage", "place"),
    [*((damage, LABEL) for damage in SEEN), (to_folder, GREY), (to_folder, VOXELS)],
)
def test_a_damaged_chunk_is_read_by_nobody_and_made_anew(
    copy: Tiny, finished: Tiny, damage: Callable[[Path], None], place: str
) -> None:
    damage(copy.store / place)
    array = str(copy.store / place.partition("/c/")[0])
    with pytest.raises(StoreError, match="damaged on the disk or by a copy"):
        read_all(copy.store)
    for words in (["report"], ["export"], ["export", "--labels"]):
        reads = {GREY: "report", LABEL: "--labels", VOXELS: "export"}[place]
        if place == VOXELS or reads in words:
            said = command(words[0], copy.store, *words[1:], "--to", copy.folder / "out")
            if not (place == VOXELS and "--labels" in words):
                assert f"{array}: damaged on the disk or by a copy" in line(said)
    told = command("status", copy.store)
    assert "not complete" in told.out
    assert "damaged: " in told.out
    assert "a rerun would do" in told.out
    said = assert_mended(copy, finished)
    assert "damaged on the disk or by a copy" in said.out
    assert "it is made anew" in said.out


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        *((damage, LABEL) for damage in (*SEEN, flip)),
        (flip, GREY),
        (lost, VOXELS),
        (flip, VOXELS),
        (flip, Z),
        (lost, Z),
    ],
)
def test_what_an_error_says_to_do_helps(copy: Tiny, finished: Tiny, damage: Callable[[Path], None], place: str) -> None:
    damage(copy.store / place)
    with pytest.raises(StoreError) as caught:
        read_all(copy.store)
    assert str(copy.store / place.partition("/c/")[0]) in str(caught.value)
    follow(str(caught.value), copy)
    assert_mended(copy, finished)


def test_a_folder_of_chunks_that_is_a_link_is_not_written_through(copy: Tiny, finished: Tiny) -> None:
    folder_to_link(copy.store / LABEL)
    read_all(copy.store)  # all of it is there
    assert copy.run().code == 0
    assert not (copy.store / LABEL).parent.is_symlink()
    shutil.rmtree((copy.store / LABEL).parent.with_name("kept"))
    assert unlike(copy.store, finished.store) == []


@pytest.mark.parametrize("place", [LABEL, VOXELS])
def test_a_chunk_with_another_content_is_found_by_who_reads_it(copy: Tiny, finished: Tiny, place: str) -> None:
    flip(copy.store / place)
    assert "nothing to do" in copy.run().out, "which does not read chunks"
    assert "(tiny): complete" in command("status", copy.store).out
    said = command("status", copy.store, "--verify")
    (told,) = [words for words in said.out.splitlines() if words.startswith("damaged: ")]
    assert f"{copy.store / place.partition('/c/')[0]}: damaged on the disk or by a copy" in told
    assert "its checksum does not fit" in told
    assert said.code == 2
    follow(told, copy)
    assert_mended(copy, finished)


# ---------------------------------------------------------------- chunks in each other's place


def swap(one: Path, other: Path) -> None:
    assert one.read_bytes() != other.read_bytes()
    kept = one.rename(one.with_name("kept"))
    other.rename(one)
    kept.rename(other)


SWAPS = [
    (GREY, "volumes/grey/c/0/0/0/1"),  # two places
    (GREY, "volumes/grey/c/1/0/0/0"),  # two states
    (LABEL, "volumes/label/c/1/0/0/1"),
    ("particles/grey_mean/c/0/0", "particles/grey_mean/c/1/0"),
    (VOXELS, "particles/bbox_z1/c/0/0"),  # two columns
]


@pytest.mark.parametrize(("one", "other"), SWAPS)
def test_swapped_chunks_are_noticed(copy: Tiny, finished: Tiny, one: str, other: str) -> None:
    swap(copy.store / one, copy.store / other)
    plain = zarr.open_array(str(copy.store / one.partition("/c/")[0]), mode="r")
    assert np.asarray(plain[...]).any(), "who reads it without crackdask cannot notice"
    with pytest.raises(StoreError, match="it was written at another place, or at another time") as caught:
        read_all(copy.store)
    assert "damaged: " in command("status", copy.store).out
    assert command("status", copy.store, "--verify").out.count("damaged: ")
    kept = copied(copy.store, copy.store.with_name("kept.zarr"))
    assert_mended(copy, finished)
    shutil.rmtree(copy.store)
    shutil.rmtree(work_folder(copy.store))
    kept.rename(copy.store)
    work_folder(kept).rename(work_folder(copy.store))
    follow(str(caught.value), copy)
    assert_mended(copy, finished)


def test_swapped_chunks_of_the_same_size_and_uncompressed(tiny: Tiny) -> None:
    """Nothing but the checksum at their ends tells them apart, and it is looked at where a file was changed."""
    tiny.change("compute", compression="none")
    assert tiny.run().code == 0
    whole = copied(tiny.store, tiny.store.with_name("whole.zarr"))
    one, other = tiny.store / GREY, tiny.store / "volumes/grey/c/1/0/0/0"
    assert one.stat().st_size == other.stat().st_size
    swap(one, other)
    assert "is not the chunk that was written there" in tiny.run().out
    assert unlike(tiny.store, whole) == []
    content = one.read_bytes()
    one.write_bytes(content)
    assert "nothing to do" in tiny.run().out, "it was written anew, and is the same"


def test_shards_in_each_others_place(tiny: Tiny) -> None:
    tiny.change("compute", chunk=8, shard=16, compression="none")
    assert tiny.run().code == 0
    read_all(tiny.store)
    assert command("status", tiny.store, "--verify").code == 0
    whole = copied(tiny.store, tiny.store.with_name("whole.zarr"))
    one, other = tiny.store / GREY, tiny.store / "volumes/grey/c/1/0/0/0"
    assert one.stat().st_size == other.stat().st_size
    swap(one, other)
    with pytest.raises(StoreError, match="it was written at another place"):
        crackdask.open(tiny.store)["volumes"].grey[0, 3, 3, 3].load()
    with pytest.raises(StoreError, match="it was written at another place"):
        read_all(tiny.store)
    assert "is not the chunk that was written there" in tiny.run().out
    assert unlike(tiny.store, whole) == []
    flip(one)
    with pytest.raises(StoreError, match="damaged on the disk or by a copy") as caught:
        read_all(tiny.store)
    assert command("status", tiny.store, "--verify").code == 2
    follow(str(caught.value), tiny)
    assert tiny.run().code == 0
    assert unlike(tiny.store, whole) == []


def test_a_chunk_where_there_was_none(copy: Tiny, finished: Tiny) -> None:
    """A column of nothing but zeros has no chunk; one that is copied there would be read."""
    there, none = copy.store / "particles/tracked/c/0/0", copy.store / "particles/lost/c/0/0"
    assert not none.exists()
    none.parent.mkdir(parents=True)
    shutil.copy(there, none)
    assert_read_by_nobody(copy, "particles/lost")
    assert_mended(copy, finished)


def test_a_store_without_its_records(copy: Tiny, finished: Tiny) -> None:
    """Chunks that are lost are noticed by their absence alone; that two were swapped cannot be."""
    shutil.rmtree(work_folder(copy.store))
    assert "(tiny): complete" in command("status", copy.store).out
    to_folder(copy.store / LABEL)
    said = assert_read_by_nobody(copy, "volumes/label", labels=True)
    assert "it is a folder, not a file" in said
    assert "not complete" in command("status", copy.store).out
    assert_mended(copy, finished)


def test_copies_that_do_not_keep_times_are_sound(copy: Tiny) -> None:
    for path in copy.store.rglob("*"):
        os.utime(path, (1, 1))
    assert "nothing to do" in copy.run().out
    assert "(tiny): complete" in command("status", copy.store, "--verify").out


# ---------------------------------------------------------------- metadata


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
def test_a_broken_root_is_restored(copy: Tiny, finished: Tiny, damage: Callable[[Path], None]) -> None:
    damage(copy.store / "zarr.json")
    (said,) = set(every_reader(copy))
    assert f"{copy.store}/zarr.json " in said
    assert said.endswith(f"`crackdask run RECIPE --store {copy.store}` restores it")
    assert "it is restored" in assert_mended(copy, finished).out


@pytest.mark.parametrize("damage", ROOTS)
def test_a_broken_root_without_a_copy(copy: Tiny, finished: Tiny, damage: Callable[[Path], None]) -> None:
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
        assert_mended(copy, finished)


def test_a_recipe_of_a_root_that_is_none(copy: Tiny, finished: Tiny) -> None:
    other_recipe(copy.store / "zarr.json")
    assert "zarr.json is damaged: its recipe is none" in line(command("status", copy.store))
    assert_mended(copy, finished)


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
def test_broken_metadata_is_made_anew(copy: Tiny, finished: Tiny, damage: Callable[[Path], None], array: str) -> None:
    damage(copy.store / array / "zarr.json")
    *status, export, labels, report, cracks, notebook = every_reading(copy)
    for said in (export, labels, report, cracks, notebook):
        assert f"{copy.store}/{array}/zarr.json " in said
        follow(said, copy)
    for told in status:
        assert "not complete" in told
        assert f"damaged: {copy.store}/{array}" in told
    said = assert_mended(copy, finished).out
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
def test_broken_groups(copy: Tiny, finished: Tiny, damage: Callable[[Path], None], group: str) -> None:
    damage(copy.store / group / "zarr.json")
    assert f"{copy.store}/{group}/zarr.json " in line(command("export", copy.store))
    assert "not complete" in command("status", copy.store).out
    assert_mended(copy, finished)


@pytest.mark.parametrize("place", ["volumes/label", "particles"])
@pytest.mark.parametrize("how", ["file", "link"])
def test_a_file_or_link_for_a_folder(copy: Tiny, finished: Tiny, place: str, how: str) -> None:
    shutil.rmtree(copy.store / place)
    if how == "file":
        (copy.store / place).touch()
    else:
        (copy.store / place).symlink_to("nothing")
    assert f"{copy.store}/{place}" in line(command("export", copy.store))
    assert_mended(copy, finished)


def test_attributes_and_arrays_of_ones_own_are_no_damage(copy: Tiny) -> None:
    root = zarr.open_group(str(copy.store), mode="r+", use_consolidated=False)
    root["volumes/grey"].attrs["beamline"] = "I13-2"
    root.create_array("mine/notes", data=np.arange(6))
    assert "nothing to do" in copy.run().out
    assert "(tiny): complete" in command("status", copy.store, "--verify").out
    read_all(copy.store)
