"""Disks that fill up, cannot be written, lose slices, and damage what was written; two runs on one store."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from crackdask.engine.status import status
from tests.faults.harness import Cluster, Lab, Moments, Process
from tests.faults.mounts import read_only, small_disk
from tests.support.damaged import cut, empty, lost
from tests.support.fault_counts import COUNTS
from tests.support.waiting import until

# ---------------------------------------------------------------- no room, no permission


def fill(place: Path, stop: Event) -> None:
    """Take all room of a disk, and whatever becomes free."""
    handle = os.open(place / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while not stop.is_set():
        for size in (1 << 20, 1 << 12, 1):
            try:
                while os.write(handle, bytes(size)) == size and not stop.is_set():
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    os.close(handle)


@pytest.mark.parametrize(
    ("kind", "unit", "options"),
    [
        ("tmpfs", "grey-1", ("--cluster", "local", "--workers", "2")),
        ("ext4", "mask-0", ()),
        ("ext4", "measure-1", ()),
    ],
)
def test_a_disk_that_fills_up(lab: Lab, moments: Moments, kind: str, unit: str, options: tuple[str, ...]) -> None:
    with small_disk(lab.folder / "disk", kind, 48) as disk:
        lab.store = disk / "out.zarr"
        lab.begin_after({"grey-1": "read", "mask-0": "denoise", "measure-1": "levels"}[unit])
        run, stop = lab.run(*options), Event()
        moments.wait(unit, run)
        filler = Thread(target=fill, args=(disk, stop))
        filler.start()
        try:
            code = run.wait()
        finally:
            stop.set()
            filler.join()
        COUNTS.faults += 1
        assert code == 1, run.said
        assert "Traceback" not in run.said
        last = run.said.splitlines()[-1]
        assert "error: the disk is full (" in last
        assert "make room, then run the same command again: the finished blocks are kept" in last
        assert not lab.status().complete
        (disk / "filler").unlink()
        lab.finish(*options)
        # What workers were handed, tasks of several blocks, they may all come to yet, and find no room.
        lab.check_lost(in_flight=16)
        lab.check_same()
        lab.end()


def test_a_store_that_cannot_be_written(lab: Lab) -> None:
    disk = lab.folder / "disk"
    disk.mkdir()
    lab.store = disk / "out.zarr"
    lab.begin_after("mask")
    run = lab.held_at("labels-0 ascent 3")
    with read_only(disk, view := lab.folder / "view"):  # as a login node may see it
        assert (status(view / "out.zarr").running or "").startswith(f"process {run.pid} on ")
        run.kill()
        COUNTS.kills += 1
        assert status(view / "out.zarr").running is None
    before = lab.status()
    with read_only(disk, disk):
        COUNTS.faults += 1
        assert "cannot be written: the disk is read-only; choose a place you may write to" in lab.fails(2)
        assert lab.status() == before
    lab.finish()
    lab.check_lost(in_flight=2)
    lab.check_same()


def test_a_worker_that_cannot_write_the_store(lab: Lab) -> None:
    """Its node mounts the disk read-only: no other try helps there, and the message names the place."""
    disk = lab.folder / "disk"
    disk.mkdir()
    lab.store = disk / "out.zarr"
    with read_only(disk, disk):  # as a test of whether it can be done here
        pass
    lab.begin_after("grey")
    lab.held_at("denoise-0 denoise 3").kill()
    COUNTS.kills += 1
    place = shlex.quote(str(disk))
    alone = f'mount --bind {place} {place} && mount -o remount,bind,ro {place} && exec "$@"'
    cluster = Cluster(lab, workers=1, before_worker=("unshare", "--mount", "sh", "-c", alone, "sh"))
    COUNTS.faults += 1
    last = lab.fails(2, "--cluster", cluster.address)
    assert f"error: {disk}/" in last
    assert "cannot be written: the disk is read-only" in last
    lab.status()
    lab.finish()
    lab.check_lost(in_flight=2 + 4)  # the scheduler gives a worker four blocks, and each was tried
    lab.check_same()


# ---------------------------------------------------------------- scans


@pytest.mark.parametrize("how", ["gone", "truncated"])
def test_a_slice_that_cannot_be_read_any_more(lab: Lab, how: str) -> None:
    run = lab.held_at("grey-0 grey 3")
    path = lab.recipe.parent / "scans" / "4.2_V" / "slice_0011.tif"
    kept = path.rename(lab.folder / "kept.tif")
    if how == "truncated":
        path.write_bytes(kept.read_bytes()[:-200])
    COUNTS.faults += 1
    (lab.folder / "go").touch()
    assert run.wait() == 2, run.said
    last = run.said.splitlines()[-1]
    assert str(path) in last
    assert {"gone": "the file is gone", "truncated": "truncated"}[how] in last
    assert "Traceback" not in run.said
    told = lab.status()
    assert told.rerun[0] == ("read", "4.2 V")
    wanted = {"gone": "number 11 is missing", "truncated": f"{path}: truncated"}[how]
    assert wanted in lab.fails(2)
    kept.replace(path)
    lab.finish()
    lab.check_lost(in_flight=1)
    lab.check_same()


# ---------------------------------------------------------------- what was written is damaged


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


#: Where a run is killed; the volume that its first block then reads; what becomes of it.
TORN = (
    ("grey-1 grey 0", "raw-1", flip),
    ("denoise-0 denoise 0", "grey-0", cut),
    ("mask-0 islands 0", "rough-0", empty),
    ("labels-0 saddles 0", "depth-0", lost),
    ("sharpness-0 sharpness 0", "label-0", flip),
    ("transfer-1 ascent 0", "depth-0", cut),
    ("transfer-1 cuts 0", "seed-1", lost),
    ("transfer-1 saddles 0", "basin-1", flip),
    ("levels-1 level_1 0", "grey-1", cut),
    ("measure-1 particle_sums 0", "tables-0", cut),
)


def chunk(lab: Lab, volume: str) -> Path:
    """Return a chunk, or a table, that the first block of a volume is made of."""
    name, _, state = volume.partition("-")
    stored, kept = lab.store / "volumes" / name / "c" / state, lab.work / "volumes" / volume
    corner = re.compile(r"(?:c\.)?[01][./][01][./][01]|\d+")
    found = [
        path
        for folder in (stored, kept)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and corner.fullmatch(str(path.relative_to(folder)))
    ]
    return found[0]


def test_torn_chunks_are_made_anew(lab: Lab) -> None:
    """The checksum tells; the run makes the volume again, and says so."""
    said = ""
    lab.begin_after("read")
    for number, (block, volume, tear) in enumerate(TORN):
        run = lab.held_at(block)
        said += run.said
        run.kill()
        COUNTS.kills += 1
        COUNTS.faults += 1
        tear(chunk(lab, volume))
        print(block, volume, tear.__name__)
        assert said.count("damaged on the disk or by a copy") == number
    said += lab.finish()
    notes = [line for line in said.splitlines() if line.startswith("note ") and line.endswith("; it is made anew")]
    assert len(notes) == len(TORN), said
    for line, (_, volume, _) in zip(notes, TORN, strict=True):
        name, _, state = volume.partition("-")
        assert re.search(
            rf"/volumes/({volume}(/1)?|{name}): damaged on the disk or by a copy.*( state {state},)?", line
        )
    lab.check_same()


def test_a_disk_that_damages_all_it_gets(lab: Lab) -> None:
    """What is damaged again when it was made anew ends the run, which says what to delete."""
    lab.begin_after("denoise")
    block, first, second = "mask-0 islands 0", lab.folder / "first", lab.folder / "second"
    lab.ask({"block": block, "how": "hold", "times": 2, "until": [str(first), str(second)]})
    run = lab.run()

    def held(before: int) -> bool:
        return lab.begun(block) > before

    for number, go in enumerate((first, second)):
        until(partial(held, number), 60, lambda: run.said)
        flip(chunk(lab, "rough-0"))
        COUNTS.faults += 1
        go.touch()
    assert run.wait() == 2, run.said
    assert run.said.count("it is made anew") == 1
    last = run.said.splitlines()[-1]
    assert "rough-0: damaged on the disk or by a copy" in last
    delete = re.search(r"; to have it made anew, remove (\S+) and run again$", last)
    assert delete, last
    shutil.rmtree(delete[1])
    lab.status()
    lab.finish()
    lab.check_same()


def test_a_store_that_is_removed_while_it_is_written(lab: Lab) -> None:
    go = lab.folder / "go"
    blocks = [f"grey-1 grey {number}" for number in range(8)]
    lab.ask(*({"block": block, "how": "hold", "times": 1, "until": [str(go)]} for block in blocks))
    run = lab.run()
    # Both threads are held, or one could write a chunk, with the folders above it, while all is being removed.
    until(lambda: lab.begun("grey-1 grey") == 2, 60, lambda: run.said)
    shutil.rmtree(lab.store)
    COUNTS.faults += 1
    go.touch()
    assert run.wait() == 2, run.said
    last = run.said.splitlines()[-1]
    assert f"{lab.store}/volumes/grey is gone: something removed it; `crackdask run` makes it anew" in last
    lab.finish()
    lab.check_same()


def test_torn_records(lab: Lab) -> None:
    """A record that is not whole counts for nothing, nor does the result of a step."""
    lab.begin_after("labels")
    lab.held_at("transfer-1 saddles 7").kill()
    COUNTS.kills += 1
    (records,) = (lab.work / "blocks" / "transfer-1").glob("ascent-*")
    for number, keep in ((0, 0.0), (3, 0.5), (6, 0.99)):
        path = records / f"{number:06d}"
        os.truncate(path, int(keep * path.stat().st_size))
    cut(lab.work / "results" / "denoise-1")
    COUNTS.faults += 4
    told = status(lab.store)
    assert [step.done for step in told.steps if step.step == "denoise"] == [("pristine",)]
    before = len(lab.lines())
    said = lab.finish()
    assert lab.said_to_be_done(said) == list(told.rerun)
    again = {
        block for word, _, block in lab.lines()[before:] if word == "begin" and block.startswith("transfer-1 ascent")
    }
    assert again == {f"transfer-1 ascent {number}" for number in (0, 3, 6)}
    lab.check_same()


# ---------------------------------------------------------------- two runs


def one_ended(runs: Sequence[Process]) -> bool:
    return not all(run.alive() for run in runs)


def test_two_runs_started_on_one_store(lab: Lab) -> None:
    lab.begin_after("denoise")
    for _ in range(2):
        runs = [lab.run(), lab.run()]
        COUNTS.faults += 1
        until(partial(one_ended, runs), 60)
        loser, winner = sorted(runs, key=lambda run: run.alive())
        assert loser.wait() == 2, loser.said
        assert f"another run is writing this store (process {winner.pid} on " in loser.said.splitlines()[-1]
        assert winner.alive()
        winner.kill()
        COUNTS.kills += 1
    lab.finish()
    lab.check_lost(in_flight=2 * 2)
    lab.check_same()


def test_a_block_that_outlives_its_run_writes_nothing(lab: Lab) -> None:
    """Its client is killed, the next run has another recipe, and then the block comes to its end."""
    lab.begin_after("mask")
    cluster = Cluster(lab, workers=1, threads=3)
    recipe = lab.recipe.read_text()
    other = recipe.replace("min_depth = ", "min_depth = 2.0  # ")
    assert other != recipe
    lab.recipe.write_text(other)
    for block in ("labels-0 relabel 3", "transfer-1 ascent 2"):
        lab.held_at(block, "--cluster", cluster.address).kill()
        COUNTS.kills += 1
        lab.recipe.write_text(recipe)
    lab.finish("--cluster", cluster.address)
    lab.check_same()
    (lab.folder / "go").touch()

    def over() -> bool:
        return sum(word == "fail" for word, _, _ in lab.lines()) == 2

    until(over, 20, lambda: cluster.running[0].said)
    COUNTS.faults += 2
    lab.check_same()
    assert not list((lab.work / "blocks").glob("*/*"))
    assert sorted(path.name for path in (lab.work / "volumes").iterdir()) == ["depth-1", "tables-0", "tables-1"]
