"""Nobody but a run's own processes speaks to its scheduler or sees its dashboard; what goes away is told in a line."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from crackdask.cluster.launch import connect
from crackdask.engine.executors import Distributed
from tests.support.tiny import Tiny
from tests.support.waiting import until


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
