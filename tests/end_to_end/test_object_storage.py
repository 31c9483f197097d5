"""Scans and stores in object storage: the same answers as on a disk, byte for byte, whatever is killed on the way."""

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
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

import crackdask
from crackdask import analyse
from crackdask.engine import growth
from crackdask.engine import pass_runner as engine
from crackdask.engine.checkpoints import Work
from crackdask.engine.status import status
from crackdask.export import export_tables
from crackdask.figures import PANELS
from crackdask.grid import Box
from crackdask.schema import UnitKey
from crackdask.sources import SourceError, open_source
from crackdask.storage import lease, service
from crackdask.storage.bucket import Prefix
from crackdask.storage.locations import Place
from crackdask.storage.service import PlaceError
from crackdask.store.root import StoreError
from tests.support.bucket import SECRET, Server, assert_alike, serving, upload
from tests.support.explored import Asker, served
from tests.support.growing import Growing
from tests.support.tiny import Tiny, scan

CHILD = Path(__file__).parents[1] / "support" / "child.py"
#: Two blocks a state: every block costs tens of requests, and the server answers some hundreds a second.
CUT = {"chunk": [20, 28, 16], "block": [20, 28, 16]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(scope="module")
def bucket(server: Server) -> Prefix:
    return server.bucket("bucket")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return an experiment that was run into a store on the disk."""
    made = Tiny(tmp_path_factory.mktemp("local"))
    made.change("compute", **CUT)
    assert made.run().code == 0
    return made


@pytest.fixture(scope="module")
def remote(local: Tiny, bucket: Prefix) -> Prefix:
    """Return the store of the same experiment in a bucket; look, do not touch."""
    store = bucket / "deep" / "remote.zarr"
    assert run(local, store).code == 0
    return store


def run(tiny: Tiny, store: Place, *words: str) -> Any:
    return tiny.crackdask("run", tiny.recipe, "--store", str(store), "--cluster", "synchronous", *words)


# ---------------------------------------------------------------- scans


def write_tiff(path: Path, voxels: Any) -> str:
    tifffile.imwrite(path, voxels)
    return ""


def write_packed_tiff(path: Path, voxels: Any) -> str:
    tifffile.imwrite(path, voxels, compression="zlib", rowsperstrip=5)
    return ""


def write_slices(path: Path, voxels: Any) -> str:
    Tiny.write_slices(path.with_suffix(""), voxels)
    return ""


def write_hdf5(path: Path, voxels: Any) -> str:
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", data=voxels, chunks=(4, 8, 8), compression="gzip")
    return "::/entry/data"


def write_zarr(path: Path, voxels: Any) -> str:
    zarr.create_group(path).create_array("scan", data=voxels, chunks=(8, 8, 8))
    return "::/scan"


def write_npy(path: Path, voxels: Any) -> str:
    np.save(path, voxels)
    return ""


def write_fortran(path: Path, voxels: Any) -> str:
    np.save(path, np.asfortranarray(voxels))
    return ""


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_slices, "slices"),
        (write_tiff, "stack.tif"),
        (write_packed_tiff, "packed.tif"),
        (write_hdf5, "scan.h5"),
        (write_zarr, "scan.zarr"),
        (write_npy, "scan.npy"),
        (write_fortran, "fortran.npy"),
    ],
)
def test_a_scan_in_a_bucket_is_the_scan(
    bucket: Prefix, tmp_path: Path, write: Callable[[Path, Any], str], name: str
) -> None:
    voxels = scan(3)
    inner = write(tmp_path / name, voxels)
    there = upload(tmp_path / name, bucket / "formats" / name)
    found = open_source(f"{there}{inner}", tmp_path)
    assert (found.shape, found.dtype, found.kind) == (
        voxels.shape,
        voxels.dtype,
        open_source(f"{tmp_path / name}{inner}", tmp_path).kind,
    )
    for box in (Box.whole(voxels.shape), Box((3, 5, 7), (9, 17, 30)), Box((19, 0, 31), (20, 28, 32))):
        np.testing.assert_array_equal(found.read(box), voxels[box.slices])
    before = found.fingerprint()
    assert open_source(f"{there}{inner}", tmp_path).fingerprint() == before
    write(tmp_path / name, voxels + 1) if name != "scan.zarr" else (tmp_path / name / "scan/c/0/0/0").write_bytes(b"x")
    upload(tmp_path / name, there)
    assert open_source(f"{there}{inner}", tmp_path).fingerprint() != before


@pytest.mark.parametrize("shards", [None, (16, 16, 16)])
def test_a_chunk_that_a_scan_in_a_bucket_lacks_is_missed(
    bucket: Prefix, tmp_path: Path, shards: tuple[int, int, int] | None
) -> None:
    voxels = scan(3)
    group = zarr.create_group(tmp_path / "scan.zarr")
    group.create_array("scan", data=voxels, chunks=(8, 8, 8), shards=shards)
    there = upload(tmp_path / "scan.zarr", bucket / f"lacking-{shards is None}.zarr")
    source = open_source(f"{there}::/scan", tmp_path)
    np.testing.assert_array_equal(source.read(Box.whole(voxels.shape)), voxels)
    (there / "scan/c/0/0/0").unlink()
    with pytest.raises(SourceError, match="the chunk scan/c/0/0/0 is gone"):
        source.read(Box((0, 0, 0), (8, 8, 8)))
    with pytest.raises(SourceError, match=r"(1|8) of 48 chunks .* first that of voxels \[0:8, 0:8, 0:8\]"):
        open_source(f"{there}::/scan", tmp_path)


def test_scans_that_cannot_be_used_are_told(bucket: Prefix, tmp_path: Path) -> None:
    def refused(spec: object) -> str:
        with pytest.raises(SourceError) as said:
            open_source(str(spec), tmp_path)
        return str(said.value)

    assert refused(bucket / "nothing") == "s3://bucket/nothing: no such file or folder; correct the path"
    voxels = scan(1)
    Tiny.write_slices(tmp_path / "gap", voxels)
    (tmp_path / "gap" / "slice_0007.tif").unlink()
    assert "number 7 is missing between slice_0006.tif and slice_0008.tif" in refused(
        upload(tmp_path / "gap", bucket / "gap")
    )
    np.save(tmp_path / "cut.npy", voxels)
    (bucket / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-9])
    assert "s3://bucket/cut.npy: truncated" in refused(bucket / "cut.npy")
    layout = h5py.VirtualLayout(voxels.shape, voxels.dtype)
    layout[:] = h5py.VirtualSource("other.h5", "data", voxels.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert "has its voxels in other files (other.h5)" in refused(upload(tmp_path / "virtual.h5", bucket / "virtual.h5"))


def test_a_recipe_may_mix_places(local: Tiny, bucket: Prefix, tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    tiny.content = json.loads(json.dumps(local.content))
    tiny.content["states"][1]["source"] = str(upload(local.folder / "scans" / "b", bucket / "scans" / "b"))
    assert tiny.run("--until", "read").code == 0
    found, wanted = (Work.beside(each.store).result(UnitKey("read", 1)) for each in (tiny, local))
    assert found is not None
    assert wanted is not None
    assert sorted(found[1]) == sorted(wanted[1])
    for name, values in found[1].items():
        np.testing.assert_array_equal(values, wanted[1][name])
    drafted = tiny.crackdask("init", str(bucket / "scans" / "b"), "-o", tmp_path / "new.toml")
    assert drafted.code == 0
    assert 'source = "s3://bucket/scans/b"' in (tmp_path / "new.toml").read_text()


# ---------------------------------------------------------------- stores


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
    again = run(local, remote)
    assert again.code == 0
    assert "everything is done already" in again.out


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
    said = run(local, store)
    assert said.code == 0, said.err
    begun = Counter(line.removeprefix("begin ") for line in lines() if line.startswith("begin"))
    assert sum(begun.values()) - len(begun) <= 1  # the block in flight at the first kill
    assert_alike(store, local.store)


def test_a_chunk_that_was_lost_is_made_anew(local: Tiny, bucket: Prefix) -> None:
    store = bucket / "torn.zarr"
    assert run(local, store, "--until", "grey").code == 0
    (store / "volumes" / "grey" / "c" / "0" / "0" / "0" / "0").unlink()
    said = run(local, store)
    assert said.code == 0, said.err
    assert "c/0/0/0/0 is not there as a file); it is made anew" in said.out
    assert_alike(store, local.store)


def test_a_store_in_a_bucket_grows(bucket: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    growing, store = Growing(tmp_path, 2), bucket / "grown.zarr"
    growing.grown(1, store)
    lengthen, calls = growth._lengthen, Counter[str]()

    def dies(path: Place, name: str, told: Any, states: int) -> None:
        calls[name] += 1
        if len(calls) == 2:
            raise KeyboardInterrupt
        lengthen(path, name, told, states)

    with monkeypatch.context() as patched:
        patched.setattr(growth, "_lengthen", dies)
        with pytest.raises(KeyboardInterrupt):
            growing.grown(2, store)
    assert status(store).damaged == ()
    outcome, _ = growing.grown(2, store)
    assert {"grey-0", "transfer-0", "labels-0"} & set(outcome.done) == set()
    growing.grown(2)
    assert_alike(store, growing.store)


def test_a_store_whose_making_was_killed_is_made_anew(local: Tiny, bucket: Prefix) -> None:
    store = bucket / "begun.zarr"
    (bucket / ".begun.zarr.begun").write_bytes(b"")
    (store / "volumes" / "zarr.json").write_bytes(b"{}")
    (store / "zarr.json").write_bytes(b"{}")
    assert run(local, store, "--until", "read").code == 0
    assert not (bucket / ".begun.zarr.begun").exists()
    assert status(store).steps[0].left == ()
    (bucket / "taken.zarr" / "notes.txt").write_bytes(b"mine")
    said = run(local, bucket / "taken.zarr")
    assert (said.code, "s3://bucket/taken.zarr is not empty and not a store" in said.err) == (2, True)
    assert (bucket / "taken.zarr" / "notes.txt").read_bytes() == b"mine"


# ---------------------------------------------------------------- one run at a time


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.2)
    monkeypatch.setattr(lease, "SECONDS", 1.5)


@pytest.mark.usefixtures("quick")
def test_a_second_run_is_refused_while_the_first_lives(local: Tiny, bucket: Prefix) -> None:
    store = bucket / "held.zarr"
    assert run(local, store, "--until", "read").code == 0
    with Work.beside(store).held():
        time.sleep(2)  # longer than a lease that nobody renews
        held = status(store).running
        said = run(local, store)
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


# ---------------------------------------------------------------- what goes wrong


def test_a_bucket_that_is_not_there(local: Tiny, server: Server) -> None:
    for command in ("status", "report", "export"):
        said = local.crackdask(command, "s3://nowhere/a.zarr")
        assert (said.code, said.err) == (
            2,
            "error: s3://nowhere: there is no bucket 'nowhere'; make it, or correct the name\n",
        )
    said = run(local, Prefix.of("s3://nowhere/a.zarr"))
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
    local: Tiny, remote: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
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
    said = run(local, closed / "a.zarr")
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

        def gone(job: engine.BlockJob) -> engine.BlockReport:
            done.append(job.number)
            if len(done) == 4:
                server.process.kill()
                server.process.wait()
            return do_block(job)

        monkeypatch.setattr(engine, "run_block", gone)
        said = run(local, server.bucket("going") / "a.zarr")
    assert len(done) == 4  # no second try, no next block
    assert said.code == 1
    assert "the object storage does not answer" in said.err
    assert "run the same command again: the finished blocks are kept" in said.err
