"""Stores whose chunks were damaged after their run: it is told in one line, or mended to the same bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

import crackdask
from crackdask.store.root import StoreError
from tests.support.damaged import (
    GREY,
    LABEL,
    VOXELS,
    Z,
    assert_mended,
    assert_read_by_nobody,
    cut,
    empty,
    flip,
    folder_to_file,
    folder_to_link,
    follow,
    line,
    link_to_another,
    link_to_nothing,
    lost,
    read_all,
    to_folder,
)
from tests.support.store_files import copied, unlike, work_folder
from tests.support.tiny import Tiny
from tests.support.tiny import crackdask as command

SEEN = (to_folder, lost, cut, empty, link_to_nothing, link_to_another, folder_to_file)


@pytest.mark.parametrize(
    ("damage", "place"),
    [*((damage, LABEL) for damage in SEEN), (to_folder, GREY), (to_folder, VOXELS)],
)
def test_a_damaged_chunk_is_read_by_nobody_and_made_anew(
    copy: Tiny, two_blocks: Tiny, damage: Callable[[Path], None], place: str
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
    said = assert_mended(copy, two_blocks)
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
def test_what_an_error_says_to_do_helps(
    copy: Tiny, two_blocks: Tiny, damage: Callable[[Path], None], place: str
) -> None:
    damage(copy.store / place)
    with pytest.raises(StoreError) as caught:
        read_all(copy.store)
    assert str(copy.store / place.partition("/c/")[0]) in str(caught.value)
    follow(str(caught.value), copy)
    assert_mended(copy, two_blocks)


def test_a_folder_of_chunks_that_is_a_link_is_not_written_through(copy: Tiny, two_blocks: Tiny) -> None:
    folder_to_link(copy.store / LABEL)
    read_all(copy.store)  # all of it is there
    assert copy.run().code == 0
    assert not (copy.store / LABEL).parent.is_symlink()
    shutil.rmtree((copy.store / LABEL).parent.with_name("kept"))
    assert unlike(copy.store, two_blocks.store) == []


@pytest.mark.parametrize("place", [LABEL, VOXELS])
def test_a_chunk_with_another_content_is_found_by_who_reads_it(copy: Tiny, two_blocks: Tiny, place: str) -> None:
    flip(copy.store / place)
    assert "nothing to do" in copy.run().out, "which does not read chunks"
    assert "(tiny): complete" in command("status", copy.store).out
    said = command("status", copy.store, "--verify")
    (told,) = [words for words in said.out.splitlines() if words.startswith("damaged: ")]
    assert f"{copy.store / place.partition('/c/')[0]}: damaged on the disk or by a copy" in told
    assert "its checksum does not fit" in told
    assert said.code == 2
    follow(told, copy)
    assert_mended(copy, two_blocks)


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
def test_swapped_chunks_are_noticed(copy: Tiny, two_blocks: Tiny, one: str, other: str) -> None:
    swap(copy.store / one, copy.store / other)
    plain = zarr.open_array(str(copy.store / one.partition("/c/")[0]), mode="r")
    assert np.asarray(plain[...]).any(), "who reads it without crackdask cannot notice"
    with pytest.raises(StoreError, match="it was written at another place, or at another time") as caught:
        read_all(copy.store)
    assert "damaged: " in command("status", copy.store).out
    assert command("status", copy.store, "--verify").out.count("damaged: ")
    kept = copied(copy.store, copy.store.with_name("kept.zarr"))
    assert_mended(copy, two_blocks)
    shutil.rmtree(copy.store)
    shutil.rmtree(work_folder(copy.store))
    kept.rename(copy.store)
    work_folder(kept).rename(work_folder(copy.store))
    follow(str(caught.value), copy)
    assert_mended(copy, two_blocks)


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


def test_a_chunk_where_there_was_none(copy: Tiny, two_blocks: Tiny) -> None:
    """A column of nothing but zeros has no chunk; one that is copied there would be read."""
    there, none = copy.store / "particles/tracked/c/0/0", copy.store / "particles/lost/c/0/0"
    assert not none.exists()
    none.parent.mkdir(parents=True)
    shutil.copy(there, none)
    assert_read_by_nobody(copy, "particles/lost")
    assert_mended(copy, two_blocks)


def test_a_store_without_its_records(copy: Tiny, two_blocks: Tiny) -> None:
    """Chunks that are lost are noticed by their absence alone; that two were swapped cannot be."""
    shutil.rmtree(work_folder(copy.store))
    assert "(tiny): complete" in command("status", copy.store).out
    to_folder(copy.store / LABEL)
    said = assert_read_by_nobody(copy, "volumes/label", labels=True)
    assert "it is a folder, not a file" in said
    assert "not complete" in command("status", copy.store).out
    assert_mended(copy, two_blocks)


def test_copies_that_do_not_keep_times_are_sound(copy: Tiny) -> None:
    for path in copy.store.rglob("*"):
        os.utime(path, (1, 1))
    assert "nothing to do" in copy.run().out
    assert "(tiny): complete" in command("status", copy.store, "--verify").out
