"""One run at a time writes a store in a bucket; what goes wrong there is told in a line."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crackdask.engine import pass_runner as engine
from crackdask.engine.checkpoints import Work
from crackdask.engine.progress import BlockReport
from crackdask.engine.status import status
from crackdask.sources import open_source
from crackdask.storage import lease, service
from crackdask.storage.bucket import Prefix
from crackdask.storage.service import PlaceError
from crackdask.store.root import StoreError
from tests.support.bucket import Server, run_into, serving
from tests.support.tiny import Tiny


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.2)
    monkeypatch.setattr(lease, "SECONDS", 1.5)


@pytest.mark.usefixtures("quick")
def test_a_second_run_is_refused_while_the_first_lives(local: Tiny, bucket: Prefix) -> None:
    store = bucket / "held.zarr"
    assert run_into(local, store, "--until", "read").code == 0
    with Work.beside(store).held():
        time.sleep(2)  # longer than a lease that nobody renews
        held = status(store).running
        said = run_into(local, store)
        assert said.code == 2
        assert f"another run is writing this store (process {os.getpid()} on " in said.err
        assert f"being written by {held}".partition(",")[0] in local.crackdask("status", store).out
    assert held is not None
    assert held.startswith(f"process {os.getpid()} on ")
    assert status(store).running is None


def write_lock(work: Work, **facts: Any) -> None:
    lock = work.folder / "lock"
    assert isinstance(lock, Prefix)
    lock.write_bytes(json.dumps({"token": "another", "process": 1, "host": "far", "machine": "far", **facts}).encode())


@pytest.mark.usefixtures("quick")
def test_a_run_that_fell_silent_is_taken_over(bucket: Prefix) -> None:
    work = Work.beside(bucket / "silent.zarr")
    write_lock(work)
    told: list[str] = []
    started = time.monotonic()
    with work.held(told.append):
        assert time.monotonic() - started > 1.4
        assert "held by process 1 on far" in told[0]
        assert str(work.is_held()).startswith(f"process {os.getpid()} on ")
    assert work.is_held() is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("interrupts", ["heard", "ignored"])
def test_a_run_that_was_taken_over_stops(bucket: Prefix, interrupts: str) -> None:
    work = Work.beside(bucket / f"{interrupts}.zarr")
    chosen = signal.default_int_handler if interrupts == "heard" else signal.SIG_IGN
    before = signal.signal(signal.SIGINT, chosen)

    def overtaken() -> None:
        with work.held():
            if interrupts == "ignored":
                os.kill(os.getpid(), signal.SIGINT)
            write_lock(work)
            time.sleep(30)

    try:
        with pytest.raises(StoreError, match=r"another run is writing this store \(process 1 on far"):
            overtaken()
        assert signal.getsignal(signal.SIGINT) is chosen
    finally:
        signal.signal(signal.SIGINT, before)
    assert str(work.is_held()).startswith("process 1 on far")  # what is another's is left alone


def test_a_bucket_that_is_not_there(local: Tiny, server: Server) -> None:
    for command in ("status", "report", "export"):
        said = local.crackdask(command, "s3://nowhere/a.zarr")
        assert (said.code, said.err) == (
            2,
            "error: s3://nowhere: there is no bucket 'nowhere'; make it, or correct the name\n",
        )
    said = run_into(local, Prefix.of("s3://nowhere/a.zarr"))
    assert said.code == 2
    assert "there is no bucket 'nowhere'" in said.err
    with pytest.raises(PlaceError, match="there is no bucket 'nowhere'"):
        open_source("s3://nowhere/scan", Path())


def test_scans_in_buckets_that_are_not_there_are_told_with_all_others(server: Server, tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    tiny.content["states"][0]["source"] = "s3://nowhere/scan"
    tiny.content["states"][1]["source"] = "scans/none"
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    assert "2 of 2 scans cannot be used" in said.err
    assert "states[0].source (pristine): s3://nowhere: there is no bucket 'nowhere'" in said.err
    assert "states[1].source (4.2 V): " in said.err


def test_a_place_that_is_not_known(local: Tiny) -> None:
    for name in ("ftp://host/a.zarr", "s3://", "s3://bucket/../a.zarr"):
        said = local.crackdask("status", name)
        assert (said.code, name in said.err) == (2, True), said
    assert local.crackdask("demo", "--store", "s3://bucket/demo.zarr").code == 2


def test_what_is_one_file_lies_on_a_disk(
    local: Tiny, bucket: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    remote = bucket / "unread.zarr"
    for words in (
        ("export", remote, "--out", "s3://bucket/e"), ("report", remote, "--to", "s3://bucket/r"),
        ("init", local.folder / "scans" / "a", "--output", "s3://bucket/r.toml"), ("check", "s3://bucket/r.toml"),
        ("run", "s3://bucket/r.toml", "--store", remote), ("cracks", remote, "--cluster-config", "s3://bucket/site.toml"),
    ):  # fmt: skip
        said = local.crackdask(*words)
        assert said.code == 2
        assert "this lies on a disk; scans and stores may be in a bucket" in " ".join(
            said.err.replace("│", " ").split()
        )
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none(local: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")
    said = local.crackdask("status", "s3://bucket/a.zarr")
    assert (said.code, said.err) == (
        2, "error: AWS_ENDPOINT_URL: an address such as 'https://host:port', not '127.0.0.1:9000'\n",
    )  # fmt: skip


def test_no_store_there(local: Tiny, bucket: Prefix) -> None:
    said = local.crackdask("status", bucket / "none.zarr")
    assert (said.code, "there is no store at s3://bucket/none.zarr; `crackdask run RECIPE" in said.err) == (2, True)


def test_denied(local: Tiny, server: Server) -> None:
    closed = server.bucket("closed")
    server.deny("closed", "s3:PutObject")
    said = run_into(local, closed / "a.zarr")
    assert said.code == 2
    assert "s3://closed/a.zarr.work/lock: the object storage denies access" in said.err
    assert "403 Forbidden" in said.err


def test_without_credentials(local: Tiny, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # no machine of Amazon's here
    server.bucket("other")
    said = local.crackdask("status", "s3://other/a.zarr")
    assert said.code == 2
    assert "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said.err


def test_without_the_extra(local: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    said = local.crackdask("status", "s3://unseen/a.zarr")
    assert (said.code, "pip install 'crackdask[s3]'" in said.err) == (2, True)


def test_a_server_that_goes_away_ends_the_run(local: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PATIENCE", timedelta(seconds=1))
    do_block, done = engine.run_block, []
    with serving(tmp_path) as server:

        def gone(job: engine.BlockJob) -> BlockReport:
            done.append(job.number)
            if len(done) == 4:
                server.process.kill()
                server.process.wait()
            return do_block(job)

        monkeypatch.setattr(engine, "run_block", gone)
        said = run_into(local, server.bucket("going") / "a.zarr")
    assert len(done) == 4  # no second try, no next block
    assert said.code == 1
    assert "the object storage does not answer" in said.err
    assert "run the same command again: the finished blocks are kept" in said.err
