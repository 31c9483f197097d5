"""The link of one worker is cut and restored while a run is at work, in network namespaces of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.harness import Cluster, Lab, Moments
from tests.support.fault_counts import COUNTS
from tests.support.waiting import until

#: Addresses that are set aside for tests of networks; no link leads out of the namespaces.
NET = "198.18.77"


@dataclass(frozen=True)
class Net:
    """A switch with a scheduler's host on it, and two hosts on a link each."""

    name: str

    def at(self, host: str) -> tuple[str, ...]:
        """Return what stands before a command that runs on a host: s, 1 or 2."""
        return ("ip", "netns", "exec", f"{self.name}-{host}")

    def ip(self, host: str, *words: str) -> None:
        subprocess.run(["ip", "-n", f"{self.name}-{host}", *words], check=True, timeout=20)

    def up(self) -> None:
        for host in ("s", "1", "2"):
            found = subprocess.run(
                ["ip", "netns", "add", f"{self.name}-{host}"], capture_output=True, text=True, check=False, timeout=20
            )
            if found.returncode:
                pytest.skip(f"no network namespace can be made here: {found.stderr.strip()}")
            self.ip(host, "link", "set", "lo", "up")
        self.ip("s", "link", "add", "switch", "type", "bridge")
        self.ip("s", "addr", "add", f"{NET}.1/24", "dev", "switch")
        self.ip("s", "link", "set", "switch", "up")
        for host in ("1", "2"):
            self.ip("s", "link", "add", f"to{host}", "type", "veth", "peer", "name", "eth0",
                    "netns", f"{self.name}-{host}")  # fmt: skip
            self.ip("s", "link", "set", f"to{host}", "master", "switch")
            self.ip(host, "addr", "add", f"{NET}.1{host}/24", "dev", "eth0")
            self.ip(host, "link", "set", "eth0", "up")
            self.restore(host)

    def cut(self, host: str) -> None:
        COUNTS.cuts += 1
        self.ip("s", "link", "set", f"to{host}", "down")

    def restore(self, host: str) -> None:
        self.ip("s", "link", "set", f"to{host}", "up")

    def down(self) -> None:
        for host in ("1", "2", "s"):
            subprocess.run(["ip", "netns", "del", f"{self.name}-{host}"], capture_output=True, check=False, timeout=20)


@pytest.fixture
def net(lab: Lab) -> Iterator[Net]:
    if os.getuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    made = Net(f"crackdask{os.getpid()}")
    try:
        made.up()
        yield made
    finally:
        lab.end()  # what runs in a namespace keeps it
        made.down()


def test_the_link_of_a_worker_is_cut_and_restored(lab: Lab, moments: Moments, net: Net) -> None:
    """A short cut is borne; in a long one the other worker does what was begun, and the first may come back late."""
    lab.begin_after("read")
    soon = {
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "4s",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    }
    cluster = Cluster(lab, workers=0, nanny=False, host=f"{NET}.1", before_scheduler=net.at("s"), env=soon)
    cluster.wait([cluster.start_worker(net.at(host), f"{NET}.1{host}") for host in ("1", "2")])
    lab.ask(pause=0.08)
    run = lab.run("--cluster", cluster.address, "--insecure", before=net.at("s"))
    moments.wait("grey-0", run)
    net.cut("1")
    time.sleep(1)
    net.restore("1")
    moments.wait("denoise-0", run)
    net.cut("2")
    lab.status(run)
    moments.wait("labels-0", run)
    told = lab.status(run)
    assert ("denoise", lab.names[0]) not in told.rerun
    net.restore("2")
    assert run.wait(120) == 0, run.said
    until(lambda: not cluster.running[1].alive() or "Registered to" in cluster.running[1].said, 20)
    lab.check_lost(in_flight=2 * 2)
    lab.check_same()
