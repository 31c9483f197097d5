"""How the volumes of a store and their levels lie on the disk, and what is told of them to other programs."""

from __future__ import annotations

import json
import shutil
from math import prod
from pathlib import Path

import numpy as np
import pytest
import zarr

import crackdask
from crackdask.store.arrays import VolumeLayout
from crackdask.store.levels import amiss, mend_link
from tests.support.tiny import Tiny, assert_same_store, contents

LINK = "labels/particle/0/label"


@pytest.mark.parametrize(
    ("chunk", "shard"), [(16, 16), (64, 128), ([8, 16, 16], [16, 16, 32]), ([64, 16, 16], [64, 32, 32])]
)
def test_shards_hold_what_chunks_hold(
    tiny: Tiny, finished: Tiny, chunk: int | list[int], shard: int | list[int]
) -> None:
    """Also where a chunk is larger than the volume, and where a shard is no more than one chunk."""
    tiny.change("compute", chunk=chunk, shard=shard, block="auto", memory="4 GiB")
    said = tiny.run()
    assert said.code == 0, said.err
    assert_same_store(tiny.store, finished.store)
    assert tiny.crackdask("status", tiny.store, "--verify").code == 0
    assert "nothing to do" in tiny.run().out


def test_a_chunk_alone_needs_no_shard() -> None:
    assert VolumeLayout((8, 8, 8), (8, 8, 8)).fitted((20, 20, 20)).shard is None
    assert VolumeLayout((64, 8, 8), (64, 8, 8)).fitted((20, 20, 20)) == VolumeLayout((20, 8, 8))


def test_the_link_is_relative_and_leads_to_the_labels(finished: Tiny) -> None:
    link = finished.store / LINK
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == (finished.store / "volumes" / "label").resolve()
    assert amiss(finished.store) is None


def test_what_the_root_tells_places_the_voxels_where_they_are(finished: Tiny) -> None:
    """The centre of every voxel of every level, in um, as the coordinates of the volumes and the levels' makers say."""
    root = zarr.open_group(str(finished.store), mode="r")
    fine = [np.asarray(root[f"volumes/{axis}"][:]) for axis in "zyx"]  # type: ignore[index]
    for group, mean in (("", True), ("labels/particle", False)):
        told = json.loads((finished.store / group / "zarr.json").read_text())
        (image,) = told["attributes"]["ome"]["multiscales"]
        for level, dataset in enumerate(image["datasets"]):
            shape = root[f"{group}/{dataset['path']}".strip("/")].shape  # type: ignore[union-attr]
            scale, translation = (each[each["type"]] for each in dataset["coordinateTransformations"])
            for axis in range(3):
                found = translation[1 + axis] + scale[1 + axis] * np.arange(shape[1 + axis])
                below = fine[axis][:: 2**level]
                wanted = below + (2**level - 1) * 0.5 / 2 if mean else below
                np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert level == 1


def test_a_store_whose_link_became_a_copy_is_the_same_store(finished: Tiny, tmp_path: Path) -> None:
    """As where a store is copied to a disk that has no links; a run makes the link again."""
    store = tmp_path / "out.zarr"
    shutil.copytree(finished.store, store)
    assert not (store / LINK).is_symlink()
    assert amiss(store) is None
    assert_same_store(store, finished.store)
    crackdask.open(store)["labels/particle/0"].label.load()
    mend_link(store)
    assert (store / LINK).is_symlink()
    assert contents(store)[LINK].any()


@pytest.mark.parametrize("how", ["lost", "leads nowhere", "leads elsewhere", "a file", "another array"])
def test_a_link_that_is_none_is_told_and_made_anew(ran: Tiny, finished: Tiny, how: str) -> None:
    link = ran.store / LINK
    link.unlink()
    if how == "leads nowhere":
        link.symlink_to("gone")
    elif how == "leads elsewhere":
        link.symlink_to("../../../volumes/grey")
    elif how == "a file":
        link.write_text("volumes/label")
    elif how == "another array":
        shutil.copytree(ran.store / "volumes" / "grey", link)
    said = ran.crackdask("status", ran.store)
    assert f"{LINK} is not the link to the labels that it was; a run makes it anew" in said.out
    crackdask.open(ran.store)["volumes"].label.load()  # of which nothing is lost
    assert "nothing to do" in ran.run().out
    assert ran.crackdask("status", ran.store, "--verify").code == 0
    assert_same_store(ran.store, finished.store)


def test_a_level_that_leads_out_of_the_store_is_not_written_to(ran: Tiny, tmp_path: Path) -> None:
    level, outside = ran.store / "labels" / "particle" / "1" / "label", tmp_path / "outside"
    shutil.move(level, outside)
    level.symlink_to(outside)
    for words in (("run", ran.recipe, "--store", ran.store), ("levels", ran.store)):
        said = ran.crackdask(*words)
        assert said.code == 2
        assert f"{level} is a link to {outside}, outside of out.zarr, and a run would write there" in said.err


def test_files_of_levels_are_those_of_the_volumes(tiny: Tiny) -> None:
    tiny.change("compute", chunk=8, shard=16, block=16)
    assert tiny.run("--until", "read").code == 0
    for name in ("volumes/grey", "levels/1/grey", "labels/particle/1/label"):
        told = json.loads((tiny.store / name / "zarr.json").read_text())
        assert told["codecs"][0]["name"] == "sharding_indexed"
        assert prod(told["chunk_grid"]["configuration"]["chunk_shape"]) == 16**3
        assert told["codecs"][0]["configuration"]["chunk_shape"] == [1, 8, 8, 8]


def test_a_store_that_takes_the_place_of_one_with_other_shards_is_sound(tiny: Tiny) -> None:
    tiny.change("compute", chunk=16, block=32, shard=32)
    assert tiny.run("--until", "grey").code == 0
    assert tiny.crackdask("status", tiny.store, "--verify").code == 0
    for path in (tiny.store, tiny.store.with_name(f"{tiny.store.name}.work")):
        shutil.rmtree(path)
    tiny.change("compute", chunk=16)
    del tiny.content["compute"]["shard"]
    said = tiny.run("--until", "grey")
    assert said.code == 0, said.err
    assert tiny.crackdask("status", tiny.store, "--verify").code == 0
