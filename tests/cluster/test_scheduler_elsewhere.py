"""A scheduler that somebody else started: only with its certificates, and what goes away is told in a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from crackdask.cluster.existing import is_loopback
from crackdask.cluster.job_checks import private_folder
from crackdask.cluster.tls import in_files
from crackdask.engine.executors import ClusterLostError, Distributed
from tests.support.tiny import Tiny, assert_same_store
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("where", "inside"),
    [
        ("tcp://127.0.0.1:1", True), ("tcp://127.8.9.1:1", True), ("tcp://localhost:1", True), ("tcp://[::1]:1", True),
        ("tcp://10.1.2.3:1", False), ("tcp://0.0.0.0:1", False), ("tcp://localhost.evil.org:1", False),
        ("tcp://127.0.0.1.evil.org:1", False), ("tcp://127.0.0.1@evil.org:1", False), ("tcp://:1", False),
    ],
)  # fmt: skip
def test_which_addresses_stay_on_this_machine(where: str, inside: bool) -> None:
    assert is_loopback(where) == inside


def test_another_machine_without_tls_is_refused_unless_it_is_said(tiny: Tiny) -> None:
    # An address of TEST-NET: nobody answers there, and a refusal must come before anyone is asked.
    said = tiny.run("--cluster", "tcp://192.0.2.1:8786")
    assert said.code == 2
    assert "without TLS anyone on the way can run code" in said.err
    assert "--insecure" in said.err
    tiny.change("cluster", kind="tcp://192.0.2.1:8786")
    said = tiny.crackdask("run", tiny.recipe, "--store", tiny.store)
    assert "without TLS anyone" in said.err
    assert not tiny.store.exists()


def test_tls_without_certificates_says_how_to_give_them(tiny: Tiny) -> None:
    said = tiny.run("--cluster", "tls://192.0.2.1:8786")
    assert said.code == 2
    assert "give --tls-ca, --tls-cert and --tls-key" in said.err
    said = tiny.run("--cluster", "tls://192.0.2.1:8786", "--tls-ca", str(tiny.folder / "no.pem"))
    assert said.code == 2
    assert f"--tls-ca: there is no file {tiny.folder / 'no.pem'}" in said.err


def test_certificates_that_are_none_or_anothers_are_told(elsewhere: Elsewhere, tiny: Tiny, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        found = tiny.run("--cluster", elsewhere.address, *words)
        assert found.code == 2
        return found.err

    own = [word.replace("--tls-ca-file", "--tls-ca") for word in elsewhere.proof]
    assert "has no workers" in said(*own), "the way in that everything else is refused"
    assert "--tls-ca, --tls-cert and --tls-key cannot be used" in said(*own[:4])
    (tmp_path / "junk.pem").write_text("junk")
    assert "--tls-ca, --tls-cert and --tls-key cannot be used" in said("--tls-ca", str(tmp_path / "junk.pem"), *own[2:])
    with in_files(tmp_path / "other") as other:
        words = ("--tls-ca", other.tls_ca_file, "--tls-cert", other.tls_worker_cert, "--tls-key", other.tls_worker_key)
        assert "and the certificates that were given are not of one authority" in said(*words)


def test_commands_that_read_a_store_take_the_same_options(elsewhere: Elsewhere, finished: Tiny, tmp_path: Path) -> None:
    worker = elsewhere.worker()
    with Client(elsewhere.address, security=elsewhere.security, timeout="20s", set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
    own = [word.replace("--tls-ca-file", "--tls-ca") for word in elsewhere.proof]
    paint = ("export", finished.store, "--paint", "volume_um3", "--out", tmp_path / "there", "--cluster")
    said = finished.crackdask(*paint, elsewhere.address, *own[:4])
    assert said.code == 2
    assert "--tls-ca, --tls-cert and --tls-key cannot be used" in said.err
    assert "--insecure" in finished.crackdask(*paint, "tcp://192.0.2.1:8786").err
    said = finished.crackdask(*paint, elsewhere.address, *own)
    worker.kill()
    worker.wait()
    assert said.code == 0, said.err
    here = finished.crackdask(*paint[:-2], tmp_path / "here", "--cluster", "synchronous")
    assert here.code == 0, here.err
    assert files(tmp_path / "there") == files(tmp_path / "here")


def files(folder: Path) -> dict[Path, bytes]:
    found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found
    return found


def test_certificates_lie_where_only_their_owner_reads_and_go_with_the_run(tmp_path: Path) -> None:
    with in_files(tmp_path) as security:
        paths = {security.tls_ca_file, security.tls_worker_key, security.tls_client_cert}
        assert len(paths) == 3
        for path in map(Path, paths):
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
        left = tmp_path / "tls-left-by-a-run-that-was-killed"
        left.mkdir()
        with in_files(tmp_path):
            assert len(list(tmp_path.iterdir())) == 2, "another run's own, at the same time"
        assert all(Path(path).exists() for path in paths)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)


@dataclass
class Elsewhere:
    """A scheduler with TLS in a process of its own, and the way to it."""

    folder: Path
    proof: tuple[str, ...]
    security: Security
    scheduler: subprocess.Popen[bytes]
    address: str

    def worker(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "1",
             "--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--local-directory", self.folder,
             *self.proof],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, tiny: Tiny, out: Path, *more: str) -> subprocess.Popen[str]:
        names = {"--tls-ca-file": "--tls-ca"}
        words = [names.get(word, word) for word in self.proof]
        command = [sys.executable, "-m", "crackdask", "run", str(tiny.recipe), "--store", str(tiny.store)]
        with out.open("w") as file:
            return subprocess.Popen(
                [*command, "--cluster", self.address, *words, *more], stdout=file, stderr=subprocess.PIPE, text=True
            )


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    with in_files(tmp_path) as security:
        proof = ("--tls-ca-file", security.tls_ca_file, "--tls-cert", security.tls_worker_cert,
                 "--tls-key", security.tls_worker_key)  # fmt: skip
        words = ("-m", "distributed.cli.dask_scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0",
                 "--no-dashboard", "--dashboard-address", "127.0.0.1:0", *proof)  # fmt: skip
        with process(*words) as scheduler:
            assert scheduler.stdout
            line = next(line for line in scheduler.stdout if b"Scheduler at:" in line)
            where = line.split()[-1].decode()
            yield Elsewhere(tmp_path, proof, security, scheduler, where)


def test_a_run_on_a_scheduler_with_tls_waits_for_workers_and_ends_in_a_line_with_the_scheduler(
    elsewhere: Elsewhere, tiny: Tiny, finished: Tiny
) -> None:
    worker, out = elsewhere.worker(), tiny.folder / "out.txt"
    with Client(elsewhere.address, security=elsewhere.security, timeout="20s", set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
    run = elsewhere.run(tiny, out, "--patience", "2 min")
    blocks = tiny.store.with_name("out.zarr.work") / "blocks"
    until(lambda: blocks.exists() and any(blocks.iterdir()))
    worker.kill()
    worker.wait()
    until(lambda: "no worker is left; waiting up to 2 min for others" in out.read_text())
    other = elsewhere.worker()
    until(lambda: (blocks.parent / "results" / "grey-0").exists())
    elsewhere.scheduler.kill()
    _, err = run.communicate(timeout=60)
    other.kill()
    other.wait()
    assert run.returncode == 1
    assert "1 worker is back" in out.read_text()
    wanted = "the scheduler went away; the finished blocks are kept; call the same command again to continue"
    assert err == f"stopped: {wanted}\n"
    assert tiny.run().code == 0
    assert_same_store(tiny.store, finished.store)


def test_patience_with_workers_that_do_not_come_ends(elsewhere: Elsewhere) -> None:
    said: list[str] = []
    with Client(elsewhere.address, security=elsewhere.security, timeout="20s", set_as_default=False) as client:
        executor = Distributed(client, 2, 1, said.append)
        with pytest.raises(ClusterLostError, match=r"none came back within 1 s.*call the same command again"):
            next(executor.map(abs, [1]))
    assert said == ["no worker is left; waiting up to 1 s for others"]


def test_workers_that_come_back_are_told_of_before_their_first_result(elsewhere: Elsewhere) -> None:
    said: list[str] = []
    came: list[subprocess.Popen[bytes]] = []

    def say(words: str) -> None:
        said.append(words)
        if not came:
            came.append(elsewhere.worker())

    with Client(elsewhere.address, security=elsewhere.security, timeout="20s", set_as_default=False) as client:
        found = [outcome for _, outcome in Distributed(client, 1, 120, say).map(abs, [-1])]
    came[0].kill()
    came[0].wait()
    assert found == [1]
    assert said == ["no worker is left; waiting up to 2 min for others", "1 worker is back"]


def test_a_signal_to_end_sends_the_workers_home(tiny: Tiny, finished: Tiny) -> None:
    command = [sys.executable, "-m", "crackdask", "run", str(tiny.recipe), "--store", str(tiny.store), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        until(lambda: (tiny.store.with_name("out.zarr.work") / "blocks").exists())
        children = psutil.Process(run.pid).children(recursive=True)
        assert children
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=30)
    assert run.returncode == 143
    assert err == "stopped by a signal to end; the finished blocks are kept, and the same command continues\n"
    _, left = psutil.wait_procs(children, timeout=10)
    assert not left
    assert tiny.run().code == 0
    assert_same_store(tiny.store, finished.store)


def test_logs_lie_where_only_their_owner_reads(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        private_folder(tmp_path / "out.zarr.work" / "logs")
        (tmp_path / "open").mkdir()
        private_folder(tmp_path / "open")
    finally:
        os.umask(before)
    for folder in (tmp_path / "out.zarr.work" / "logs", tmp_path / "open"):
        assert folder.stat().st_mode & 0o777 == 0o700
