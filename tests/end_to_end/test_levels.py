"""Coarser levels in whole stores: exact, mended, made of stores of old, after kills, in buckets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import crackdask
from crackdask.engine import pass_runner as engine
from crackdask.engine.progress import BlockReport
from crackdask.kernels.halving import halved_grey
from crackdask.storage.bucket import Prefix
from crackdask.storage.locations import Place, zarr_at
from crackdask.store.root import attributes, consolidate
from tests.support.bucket import copied_within, run_into
from tests.support.shared import made_once
from tests.support.store_files import copied, unlike, work_folder
from tests.support.tiny import Tiny, assert_same_store, contents

#: Long enough for three coarser levels.
LONG = (20, 28, 1030)


def make(folder: Path) -> None:
    """Run the small experiment with a long tail of background."""
    for number, name in enumerate("ab"):
        Tiny.write_slices(folder / "scans" / name, Tiny.scan(number, LONG))
    said = tiny_of(folder).run()
    assert said.code == 0, said.err


def tiny_of(folder: Path) -> Tiny:
    tiny = Tiny(folder)
    tiny.change("compute", chunk=16, block=[32, 32, 256])
    return tiny


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return an experiment with several levels, run to its end; look, do not touch."""
    return tiny_of(made_once(tmp_path_factory, "long", make))


def as_of_old(store: Path, work: str) -> None:
    """Make a store what versions without levels left, with its work folder or without."""
    for group in ("levels", "labels"):
        shutil.rmtree(store / group)
    root, steps = zarr.open_group(str(store), mode="r+"), attributes(store)["steps"]
    root.attrs["steps"] = {name: told for name, told in steps.items() if not name.startswith("levels")}
    del root.attrs["ome"]
    consolidate(store)
    folder = work_folder(store)
    if work == "deleted":
        shutil.rmtree(folder)
        return
    for left in [*(folder / "results").glob("levels-*"), *(folder / "chunks").glob("*.*")]:
        left.unlink()
    planned = json.loads((folder / "planned").read_text())
    kept = {name: told for name, told in planned.items() if not name.startswith("levels")}
    (folder / "planned").write_text(json.dumps(kept))


def test_all_levels_of_a_run_are_those_of_numpy(long: Tiny) -> None:
    found = contents(long.store)
    for state in range(2):
        grey, label = found["volumes/grey"][state], found["volumes/label"][state]
        assert label.any()
        for number in range(1, 4):
            grey, label = halved_grey(grey), label[::2, ::2, ::2]
            np.testing.assert_array_equal(found[f"levels/{number}/grey"][state], grey)
            np.testing.assert_array_equal(found[f"labels/particle/{number}/label"][state], label)
    assert "levels/4/grey" not in found
    assert len(attributes(long.store)["ome"]["multiscales"][0]["datasets"]) == 4


@pytest.mark.parametrize("work", ["there", "deleted"])
@pytest.mark.parametrize("how", ["run", "levels"])
def test_a_store_of_old_gets_its_levels(ran: Tiny, finished: Tiny, how: str, work: str) -> None:
    """And nothing else of it is done again, also where its work folder was deleted."""
    as_of_old(ran.store, work)
    crackdask.open(ran.store)["volumes"].grey.load()
    before = ran.crackdask("status", ran.store).out
    assert "damaged" not in before
    assert "napari" not in before
    if how == "run":
        said = ran.run()
        assert "2 steps done, 17 done before" in said.out
    else:
        said = ran.crackdask("levels", ran.store, "--cluster", "synchronous")
        assert "2 states done in" in said.out
    assert said.code == 0, said.err
    assert_same_store(ran.store, finished.store)
    after = ran.crackdask("status", ran.store)
    assert "complete" in after.out
    assert "not complete" not in after.out
    assert "napari --plugin napari-ome-zarr" in after.out
    assert "nothing to do" in ran.run().out
    assert "nothing to do" in ran.crackdask("levels", ran.store, "--cluster", "synchronous").out
    if work == "there":
        assert unlike(ran.store, finished.store) == []
    else:
        assert not (work_folder(ran.store) / "results").exists(), "which would say that all else is lost"


@pytest.mark.parametrize("work", ["there", "deleted"])
def test_a_run_to_a_step_before_leaves_a_store_of_old_as_it_is(ran: Tiny, finished: Tiny, work: str) -> None:
    as_of_old(ran.store, work)
    said = ran.run("--until", "mask")
    assert said.code == 0, said.err
    assert not (ran.store / "levels").exists()
    assert attributes(ran.store)["complete"]
    assert ran.run().code == 0
    assert_same_store(ran.store, finished.store)


@pytest.mark.parametrize("work", ["there", "deleted"])
def test_levels_that_are_killed_go_on(ran: Tiny, finished: Tiny, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state that was done is not done again."""
    as_of_old(ran.store, work)
    sound = engine.run_block

    class Killed(BaseException):
        """Nothing that the engine could catch."""

    def killed(job: engine.BlockJob) -> BlockReport:
        if job.records.folder.parent.name == "levels-1":
            raise Killed
        return sound(job)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "run_block", killed)
        with pytest.raises(Killed):
            ran.run()
    said = ran.run()
    assert said.code == 0, said.err
    assert "1 steps done, 18 done before" in said.out
    assert_same_store(ran.store, finished.store)
    assert "nothing to do" in ran.run().out


def test_blocks_of_levels_that_were_killed_are_kept(
    long: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the state that was killed, those that were done are not done again."""
    shutil.copytree(long.folder / "scans", tmp_path / "scans")
    tiny, sound = tiny_of(tmp_path), engine.run_block
    copied(long.store, tiny.store)
    as_of_old(tiny.store, "deleted")
    begun: list[tuple[str, str, int]] = []

    class Killed(BaseException):
        """Nothing that the engine could catch."""

    def counted(job: engine.BlockJob, most: int) -> BlockReport:
        begun.append((job.records.folder.parent.name, job.pass_.name, job.number))
        if [unit for unit, *_ in begun].count("levels-1") > most:
            raise Killed
        return sound(job)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "run_block", lambda job: counted(job, 3))
        with pytest.raises(Killed):
            tiny.run()
    done = [block for block in begun if block[0] == "levels-1"][:-1]
    assert len(done) == 3
    begun.clear()
    monkeypatch.setattr(engine, "run_block", lambda job: counted(job, 99))
    assert tiny.run().code == 0
    assert {unit for unit, *_ in begun} == {"levels-1"}
    assert set(done).isdisjoint(begun)
    assert_same_store(tiny.store, long.store)


@pytest.mark.parametrize("work", ["there", "deleted"])
@pytest.mark.parametrize(
    "removed", ["levels", "labels", "levels/1/grey", "levels/1/grey/c/1/0/0/0", "labels/zarr.json"]
)
def test_levels_that_were_removed_are_made_anew_and_nothing_else(
    ran: Tiny, finished: Tiny, removed: str, work: str
) -> None:
    lost = ran.store / removed
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    if work == "deleted":
        shutil.rmtree(work_folder(ran.store))
    assert "not complete" in ran.crackdask("status", ran.store).out
    said = ran.run()
    assert said.code == 0, said.err
    done = {line.split()[1] for line in said.out.splitlines() if line.startswith("done ")}
    assert done == {"levels"}
    assert_same_store(ran.store, finished.store)
    assert "nothing to do" in ran.run().out


@pytest.mark.parametrize(
    ("array", "how"),
    [("levels/1/grey", "flipped"), ("levels/1/grey", "swapped"), ("labels/particle/1/label", "flipped")],
)
def test_a_chunk_of_a_level_that_was_damaged_is_told_and_made_anew(
    ran: Tiny, finished: Tiny, array: str, how: str
) -> None:
    chunk, other = (ran.store / array / "c" / f"{state}/0/0/0" for state in (1, 0))
    data = chunk.read_bytes()
    assert how == "flipped" or data != other.read_bytes()
    chunk.write_bytes(other.read_bytes() if how == "swapped" else data[:40] + bytes([data[40] ^ 1]) + data[41:])
    name = array.rpartition("/")[2]
    with pytest.raises(ValueError, match=f"{array}: damaged on the disk or by a copy"):
        crackdask.open(ran.store)[array.rpartition("/")[0]][name].load()
    assert ran.crackdask("status", ran.store, "--verify").code == 2
    if how == "flipped":  # which no rerun looks for: its checksum is that of before
        shutil.rmtree(ran.store / array / "c" / "1")
    said = ran.run()
    assert said.code == 0, said.err
    assert unlike(ran.store, finished.store) == []
    assert ran.crackdask("status", ran.store, "--verify").code == 0


def test_what_is_not_finished_gets_its_levels_by_the_run(tiny: Tiny) -> None:
    assert tiny.run("--until", "read").code == 0
    said = tiny.crackdask("levels", tiny.store)
    assert said.code == 2
    assert f"{tiny.store} is not complete; `crackdask run RECIPE --store {tiny.store}` makes its levels too" in said.err


def test_in_a_bucket_the_labels_of_the_image_are_a_copy(local: Tiny, remote: Prefix) -> None:
    store, wanted = remote, contents(local.store)
    for name in ("labels/particle/0/label", "labels/particle/1/label", "levels/1/grey"):
        np.testing.assert_array_equal(stored(store, name), wanted[name])
    told = local.crackdask("status", str(store)).out
    assert "https://neuroglancer-demo.appspot.com/#!" in told
    assert "%22s3://bucket/deep/remote.zarr/%7Czarr3:%22" in "".join(told.split())
    assert local.crackdask("status", str(store), "--verify").code == 0
    again = local.crackdask("run", local.recipe, "--store", str(store))
    assert "nothing to do" in again.out
    store = copied_within(remote, remote.with_name("lost.zarr"))
    lost = store / "labels/particle/0/label/c/1/0/0/0"
    lost.unlink()
    mended = run_into(local, store)
    assert [line.split()[1:3] for line in mended.out.splitlines() if line.startswith("done ")] == [["levels", "4.2"]]
    assert lost.is_file()


def stored(store: Place, name: str) -> np.ndarray:
    assert isinstance(store, Prefix)
    array = zarr.open_array(zarr_at(store / name), mode="r")
    return np.asarray(array[...])
