"""Stores in object storage: the same as on a disk, byte for byte, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr

import crackdask
from crackdask import analyse
from crackdask.engine import growth
from crackdask.engine.checkpoints import Work
from crackdask.engine.status import status
from crackdask.export import export_tables
from crackdask.figures import PANELS
from crackdask.grid import Box
from crackdask.storage.bucket import Prefix
from crackdask.storage.locations import Place
from crackdask.store.root import StoreError
from crackdask.store.volumes import volume
from tests.support.bucket import SECRET, Server, assert_alike, copied_within, run_into
from tests.support.explored import Asker, served
from tests.support.growing import Growing
from tests.support.tiny import Tiny

CHILD = Path(__file__).parents[1] / "support" / "child.py"


def test_a_store_in_a_bucket_is_the_store_on_a_disk(local: Tiny, remote: Prefix) -> None:
    assert_alike(remote, local.store)
    work = Work.beside(remote)
    assert {found.key.split("/")[2] for found in Work.beside(remote).folder.files()} == {  # type: ignore[union-attr]
        "chunks",
        "failed",
        "planned",
        "results",
        "root",
        "volumes",  # what a store needs to grow
    }
    assert work.is_held() is None
    assert all(SECRET.encode() not in found.read_bytes() for found in remote.parent.files())
    assert SECRET.encode() not in pickle.dumps(crackdask.open(str(remote)))
    again = run_into(local, remote)
    assert again.code == 0
    assert "everything is done already" in again.out


def test_requests_are_few(local: Tiny, sent: tuple[Prefix, int], server: Server) -> None:
    """Each is latency and money; a run of two blocks a state, most of whose requests do not grow with the blocks."""
    store, took = sent
    assert took <= 1100
    before = server.requests()
    assert "everything is done already" in run_into(local, store).out
    assert server.requests() - before <= 280


def test_what_an_array_says_is_read_once_for_all_blocks(remote: Prefix, bucket: Prefix) -> None:
    store = copied_within(remote, bucket / "edited.zarr")
    before, head = volume(store, "grey", 0), store / "volumes/grey/zarr.json"
    box, told = Box((0, 0, 0), (8, 8, 8)), json.loads(head.read_text())
    voxels = before.read(box)
    head.write_bytes(json.dumps({**told, "shape": [2, 5, 5, 5]}).encode())
    np.testing.assert_array_equal(before.read(box), voxels)
    assert before.write(Box.whole((20, 28, 16)), before.read(Box.whole((20, 28, 16)))).seals is not None
    with pytest.raises(StoreError, match="tells another shape than"):
        crackdask.open(str(store))
    head.unlink()
    with pytest.raises(StoreError, match="is gone"):
        volume(store, "grey", 0).read(box)


def test_what_reads_a_store_reads_a_bucket(
    local: Tiny, remote: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, wanted = status(remote), status(local.store)
    assert found.complete
    assert [(s.step, s.done, s.left) for s in found.steps] == [(s.step, s.done, s.left) for s in wanted.steps]
    for store, folder in ((remote, "of bucket"), (local.store, "of disk")):
        export_tables(store, tmp_path / folder, ["particles"], ["csv"])
    assert (tmp_path / "of bucket/particles.csv").read_bytes() == (tmp_path / "of disk/particles.csv").read_bytes()
    tree = crackdask.open(str(remote))
    xr.testing.assert_identical(
        tree.crackdask.windows(2, "4.2 V"), crackdask.open(local.store).crackdask.windows(2, "4.2 V")
    )
    said = local.crackdask("export", remote, "--labels")
    assert said.code == 0, said.err
    page = tifffile.imread(tmp_path / "remote-export" / "labels" / "pristine" / "slice_00009.tif")
    np.testing.assert_array_equal(page, tree["volumes"].label[0, 9])
    assert page.any()
    monkeypatch.setattr("crackdask.report.page._panels", lambda: PANELS[:1])  # each takes a second to draw
    assert local.crackdask("report", remote).code == 0
    assert (tmp_path / "remote-report" / "report.html").stat().st_size > 10_000


def test_the_explorer_shows_a_bucket_as_it_shows_a_disk(local: Tiny, remote: Prefix, tmp_path: Path) -> None:
    with served(local.store, report=tmp_path) as here, served(remote, report=tmp_path) as there:
        ours, theirs = Asker(here), Asker(there)
        words = {"plane": "xy", "index": 10, "level": 0, "row": 0, "column": 0}
        for path, asked in (
            ("tile", {**words, "volume": "grey", "state": 1}),
            ("tile", {**words, "volume": "label", "state": 1}),
            ("field", {"state": 0}),
            ("column", {"column": "particles.voxels", "state": 1}),
            ("particle", {"label": 1, "columns": "particles.grey_mean"}),
            ("solid", {"label": 1, "state": 0}),
        ):
            wanted, found = ours(f"api/{path}", **asked), theirs(f"api/{path}", **asked)
            assert (found.code, len(found.body) > 10) == (200, True), found.body
            assert found.body == wanted.body, path
        damage = analyse.damage(crackdask.open(local.store)).damage  # by a process of its own, which opens the bucket
        column = theirs.array("api/column", "float32", column="damage.damage", state=1)
        np.testing.assert_array_equal(column[damage.particle.values], damage.values[1].astype("f4"))
        told, known = (asker.json("api/layout") for asker in (theirs, ours))
        assert {**told, "stamp": "", "store": ""} == {**known, "stamp": "", "store": ""}


def test_a_run_killed_at_random_moments_gives_the_same_objects(local: Tiny, bucket: Prefix, tmp_path: Path) -> None:
    store, log = bucket / "killed.zarr", tmp_path / "log"

    def start(*words: str) -> subprocess.Popen[bytes]:
        command: list[str | Path] = [sys.executable, CHILD, log, "run", local.recipe, "--store", str(store)]
        command += ["--cluster", *words]
        return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def lines() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    moments = sorted(random.Random(7).sample(range(4, 70), 2))
    for moment, cluster in zip(moments, (["synchronous"], ["local", "--workers", "1"]), strict=True):
        with start(*cluster) as process:
            deadline = time.monotonic() + 120
            while len(lines()) < moment:
                assert process.poll() is None, process.communicate()[0].decode()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
    assert not status(store).complete
    said = run_into(local, store)
    assert said.code == 0, said.err
    begun = Counter(line.removeprefix("begin ") for line in lines() if line.startswith("begin"))
    assert sum(begun.values()) - len(begun) <= 1  # the block in flight at the first kill
    assert_alike(store, local.store)


def test_a_chunk_that_was_lost_is_made_anew(local: Tiny, bucket: Prefix) -> None:
    store = bucket / "torn.zarr"
    assert run_into(local, store, "--until", "grey").code == 0
    lost = store / "volumes" / "grey" / "c" / "0" / "0" / "0" / "0"
    before = lost.read_bytes()
    lost.unlink()
    said = run_into(local, store, "--until", "grey")
    assert said.code == 0, said.err
    assert "c/0/0/0/0 is not there as a file); it is made anew" in said.out
    assert lost.read_bytes() == before == (local.store / "volumes/grey/c/0/0/0/0").read_bytes()


def test_a_store_in_a_bucket_grows(
    beamtime: Growing, two_states: Path, bucket: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket / "grown.zarr"
    beamtime.grown(1, store)
    lengthen, calls = growth._lengthen, Counter[str]()

    def dies(path: Place, name: str, told: Any, states: int) -> None:
        calls[name] += 1
        if len(calls) == 2:
            raise KeyboardInterrupt
        lengthen(path, name, told, states)

    with monkeypatch.context() as patched:
        patched.setattr(growth, "_lengthen", dies)
        with pytest.raises(KeyboardInterrupt):
            beamtime.grown(2, store)
    assert status(store).damaged == ()
    outcome, _ = beamtime.grown(2, store)
    assert {"grey-0", "transfer-0", "labels-0"} & set(outcome.done) == set()
    assert_alike(store, two_states)


def test_a_store_whose_making_was_killed_is_made_anew(local: Tiny, bucket: Prefix) -> None:
    store = bucket / "begun.zarr"
    (bucket / ".begun.zarr.begun").write_bytes(b"")
    (store / "volumes" / "zarr.json").write_bytes(b"{}")
    (store / "zarr.json").write_bytes(b"{}")
    assert run_into(local, store, "--until", "read").code == 0
    assert not (bucket / ".begun.zarr.begun").exists()
    assert status(store).steps[0].left == ()
    (bucket / "taken.zarr" / "notes.txt").write_bytes(b"mine")
    said = run_into(local, bucket / "taken.zarr")
    assert (said.code, "s3://bucket/taken.zarr is not empty and not a store" in said.err) == (2, True)
    assert (bucket / "taken.zarr" / "notes.txt").read_bytes() == b"mine"
