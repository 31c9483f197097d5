"""Nobody but a run's own processes speaks to its scheduler or sees its dashboard; what goes away is told in a line."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from crackdask.cluster.existing import is_loopback
from crackdask.cluster.job_checks import private_folder
from crackdask.cluster.launch import connect
from crackdask.cluster.tls import in_files
from crackdask.engine.executors import ClusterLostError, Distributed
from tests.support.tiny import Tiny, assert_same_store


@pytest.fixture(scope="module")
def local() -> Iterator[Distributed]:
    with connect("local", 1, 2**30) as executor:
        assert isinstance(executor, Distributed)
        yield executor


def address(executor: Distributed) -> str:
    return str(executor.client.scheduler.address)


def code_of(link: str) -> int:
    try:
        with urlopen(link, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


# ---------------------------------------------------------------- a cluster on this machine


def test_workers_are_copies_of_a_process_with_one_thread(local: Distributed) -> None:
    (worker,) = local.client.run(os.getpid).values()
    origin = psutil.Process(worker).parent()
    assert origin.parent() == psutil.Process()
    assert origin.num_threads() == 1, "in a copy no other thread goes on, and what it held stays held"
    assert origin.environ()["MALLOC_ARENA_MAX"] == "2", "read when a process begins"


def test_workers_see_what_was_set_after_others_began(local: Distributed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRACKDASK_TEST", "later")
    with connect("local", 1, 2**30) as other:
        assert isinstance(other, Distributed)
        assert list(other.client.run(os.getenv, "CRACKDASK_TEST").values()) == ["later"]


@pytest.mark.parametrize("lost", ["worker", "its origin"])
def test_a_lost_worker_is_replaced_by_one_like_it(lost: str) -> None:
    with connect("local", 1, 2**30) as executor:
        assert isinstance(executor, Distributed)
        (worker,) = executor.client.run(os.getpid).values()
        (psutil.Process(worker) if lost == "worker" else psutil.Process(worker).parent()).kill()
        until(lambda: not psutil.pid_exists(worker))
        assert [outcome for _, outcome in executor.map(abs, [-1])] == [1]
        (other,) = executor.client.run(os.getpid).values()
        assert other != worker
        assert_keeps_to_its_limits(executor)
        assert_tells_nothing(executor)


def test_workers_keep_to_planned_memory_and_one_core(local: Distributed) -> None:
    assert_keeps_to_its_limits(local)


def assert_keeps_to_its_limits(executor: Distributed) -> None:
    def found() -> dict[str, object]:
        import dask
        import numba

        memory = dask.config.get("distributed.worker.memory")
        names = ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS")
        return {
            "spill": memory["spill"], "terminate": memory["terminate"], "numba": numba.get_num_threads(),
            **{name: os.environ[name] for name in names},
        }  # fmt: skip

    [seen] = executor.client.run(found).values()
    assert seen == {
        "spill": False, "terminate": 1.0, "numba": 1,
        "MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": str(2**26), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def assert_tells_nothing(executor: Distributed) -> None:
    [worker] = executor.client.scheduler_info()["workers"].values()
    pages = f"http://127.0.0.1:{worker['services']['dashboard']}"
    for page in ("/status", "/info/main/workers.html", "/metrics", "/json/counts.json"):
        assert code_of(pages + page) == 404, page


def test_only_its_own_certificates_open_a_local_cluster(local: Distributed) -> None:
    assert address(local).startswith("tls://127.0.0.1:")
    with Client(address(local), security=local.client.security, timeout="5s", set_as_default=False) as same:
        assert same.submit(sum, [1, 2]).result(timeout=10) == 3, "the way in that everything else is refused"
    bare = address(local).replace("tls://", "tcp://")
    for where, security in ((bare, None), (address(local), Security.temporary())):
        with pytest.raises(OSError, match=REFUSED):
            Client(where, security=security, timeout="1s", set_as_default=False)
    with pytest.raises(TypeError, match="ssl_context"):
        Client(address(local), timeout="1s", set_as_default=False)


REFUSED = "Timed out|closed|certificate does not match"


def test_scheduler_and_workers_hang_up_on_who_shows_no_certificate_or_another(local: Distributed) -> None:
    foreign = Security.temporary().get_connection_args("client")["ssl_context"]
    nobody = ssl.create_default_context()
    own = local.client.security.get_connection_args("client")["ssl_context"]
    places = [address(local), *local.client.scheduler_info()["workers"]]
    assert len(places) == 2
    for place in places:
        assert place.startswith("tls://127.0.0.1:")
        assert greeting(place, own), "the way in that everything else is refused"
        for context in (nobody, foreign):  # which would speak to anyone
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            assert greeting(place, context) == b""


def greeting(place: str, context: ssl.SSLContext) -> bytes:
    """Return the first that a server says, nothing if it hangs up."""
    host, port = place.removeprefix("tls://").split(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="dask-internal") as connection,
        ):
            return connection.recv(8)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_the_dashboard_opens_for_the_printed_link_alone(local: Distributed) -> None:
    link = local.dashboard or ""
    place, _, token = link.partition("/status?token=")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", place)
    assert len(token) >= 32
    pages = ("/status", "/info/main/workers.html", "/sitemap.json", "/metrics", "/status?token=" + token[:-1] + "-")
    for page in pages:
        assert code_of(place + page) == 403, page
    visitor = build_opener(HTTPCookieProcessor())
    with visitor.open(link, timeout=10) as answer:
        assert answer.status == 200
        assert "token" not in answer.url, "what stays in the browser's history opens nothing"
    with visitor.open(place + "/info/main/workers.html", timeout=10) as answer:
        assert answer.status == 200


def test_a_local_cluster_listens_on_loopback_alone_and_its_workers_tell_nothing(local: Distributed) -> None:
    me = psutil.Process()
    heard = {
        connection.laddr
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(heard) >= 4  # scheduler, its pages, nanny, worker
    assert {place.ip for place in heard} == {"127.0.0.1"}
    assert_tells_nothing(local)


def test_a_dashboard_on_an_address_of_another_machine_is_told(tiny: Tiny) -> None:
    tiny.change("cluster", dashboard="192.0.2.1:8787")
    command = [
        sys.executable, "-m", "crackdask", "run", str(tiny.recipe), "--store", str(tiny.store), "--workers", "1"
    ]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    [line] = said.stderr.splitlines()
    assert "Cannot assign requested address; correct dashboard (192.0.2.1:8787) under [cluster]" in line


# ---------------------------------------------------------------- tasks


def tasks(executor: Distributed) -> dict[str, tuple[str, int]]:
    """Return what the scheduler holds: of each task its group and priority, of which the smallest goes first."""

    def held(dask_scheduler: object) -> dict[str, tuple[str, int]]:
        return {t.key: (t.prefix.name, t.priority[0]) for t in dask_scheduler.tasks.values()}  # type: ignore[attr-defined]

    return executor.client.run_on_scheduler(held)


def test_tasks_have_names_and_what_began_first_goes_first(local: Distributed) -> None:
    def slow(_: int) -> float:
        time.sleep(0.2)
        return time.monotonic()

    def wanted(number: int) -> str:
        return f"transfer-saddles-1-{number:06}"

    first = local.map(slow, range(4), wanted)
    next(first)
    second = local.map(slow, range(4), lambda number: f"mask-<b>-{number:06}")
    next(second)
    held = tasks(local)
    assert {group for group, _ in held.values()} <= {"transfer-saddles", "mask-b"}
    priorities = [{p for key, (_, p) in held.items() if key.startswith(name)} for name in ("transfer", "mask")]
    assert all(len(some) == 1 for some in priorities)
    assert priorities[0] < priorities[1] or min(priorities[0]) < min(priorities[1])
    assert all(re.fullmatch(r"(transfer-saddles-1|mask-b)-00000\d-[0-9a-f]{14}", key) for key in held)
    assert len(list(first)) == len(list(second)) == 3
    until(lambda: not tasks(local))


def test_a_block_that_is_tried_again_is_done_again(local: Distributed) -> None:
    def now(_: int) -> float:
        return time.monotonic()

    def told(_: object) -> str:
        return "grey-0-000000"

    first = local.map(now, [1, 1], told)
    (_, before), again = next(first), local.map(now, [1], told)
    answers = [before, *(outcome for _, outcome in (*first, *again))]
    assert len(set(answers)) == 3


# ---------------------------------------------------------------- somebody else's scheduler


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


def until(ready: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


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
