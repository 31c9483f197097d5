"""SIGKILL of a worker, of all workers, of the scheduler, of the client, at random moments in every step; SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

import pytest

from tests.faults.harness import DONE, LAST, Cluster, Lab, Moments, Process, one_of_every_step
from tests.support.fault_counts import COUNTS
from tests.support.waiting import until


def killed(lab: Lab, run: Process, pids: list[int]) -> None:
    """Kill processes, and see that `status` tells the truth of the run that goes on."""
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        COUNTS.kills += 1
    lab.status(run)


def test_a_worker_in_every_step(lab: Lab, moments: Moments) -> None:
    """The nanny of a worker starts another one; a block that was recorded is not done again."""
    cluster = Cluster(lab)
    assert len(cluster.worker_pids()) == cluster.workers
    lab.hold_last_step()
    run = lab.run("--cluster", cluster.address)
    for unit in one_of_every_step(moments.rng):
        moments.wait(unit, run)
        killed(lab, run, lab.at_work()[:1] or [moments.rng.choice(cluster.worker_pids())])
    assert run.alive(), run.said
    lab.go_on()
    assert run.wait() == 0, run.said
    assert "is set aside" not in run.said
    lab.check_lost(in_flight=len(DONE))
    lab.check_same()


def test_all_workers_in_every_step(lab: Lab, moments: Moments) -> None:
    """No worker is left, and nothing that would start one: the run waits until others come."""
    cluster = Cluster(lab, nanny=False)
    lab.hold_last_step()
    run = lab.run("--cluster", cluster.address)
    for unit in one_of_every_step(moments.rng):
        moments.wait(unit, run)
        cluster.kill_workers()
        COUNTS.kills += cluster.workers
        time.sleep(0.2)
        assert not lab.status(run).complete
        assert run.alive(), run.said
        if unit == LAST:  # nothing of it is left for workers to do
            lab.go_on()
        cluster.add(cluster.workers)
    assert run.wait() == 0, run.said
    lab.check_lost(in_flight=len(DONE) * 2)
    lab.check_same()


def test_the_scheduler_in_every_step(lab: Lab, moments: Moments) -> None:
    """The run ends and says so; with another scheduler it goes on."""
    cluster = Cluster(lab, workers=1, threads=2, nanny=False)
    lab.hold_last_step()
    for unit in one_of_every_step(moments.rng):
        run = lab.run("--cluster", cluster.address)
        moments.wait(unit, run)
        began = time.monotonic()
        cluster.scheduler.kill()
        COUNTS.kills += 1
        if unit == LAST:
            lab.go_on()
        if unit.startswith(("register", "track")) and run.wait() == 0:
            break  # nothing of them is left for workers to do
        assert run.wait(40) == 1, run.said
        print(f"ended {time.monotonic() - began:.1f} s after its scheduler")
        assert "Traceback" not in run.said
        last = run.said.splitlines()[-1]
        assert re.search("the scheduler.* went away; the finished blocks are kept.* the same command", last), last
        lab.status()
        cluster.restart()
    lab.finish("--cluster", cluster.address)
    lab.check_lost(in_flight=len(DONE) * 2)
    lab.check_same()


def test_the_client_in_every_step(lab: Lab, moments: Moments) -> None:
    """What its workers were at is done by them or by the next run, and not written by both."""
    cluster = Cluster(lab, workers=1, threads=2, nanny=False)
    lab.hold_last_step()
    for unit in one_of_every_step(moments.rng):
        run = lab.run("--cluster", cluster.address)
        moments.wait(unit, run)
        if unit == LAST:
            lab.go_on()
            time.sleep(0.5 * moments.rng.random() * moments.seconds[unit])
        run.kill()
        COUNTS.kills += 1
        told = lab.status()
        assert not told.complete or unit == LAST  # which may be over before it is killed
    promised = list(told.rerun)
    said = lab.finish("--cluster", cluster.address)
    assert lab.said_to_be_done(said) == promised
    lab.check_lost(in_flight=len(DONE) * 2)
    lab.check_same()


def test_a_client_killed_alone_leaves_no_worker_behind(lab: Lab, moments: Moments) -> None:
    lab.begin_after("labels")
    run = lab.run("--cluster", "local", "--workers", "2")
    moments.wait("transfer-1", run)
    run.send(signal.SIGKILL)
    COUNTS.kills += 1
    assert run.wait() == -signal.SIGKILL
    lab.status()
    until(lambda: not run.others(), 20, lambda: f"{run.others()} outlive their run")
    lab.finish("--cluster", "local", "--workers", "2")
    lab.check_lost(in_flight=2)
    lab.check_same()


@pytest.mark.parametrize(("everybody", "unit"), [(False, "register-1"), (True, "mask-1")], ids=["client", "whole job"])
def test_sigterm_as_a_batch_system_sends_it(lab: Lab, moments: Moments, everybody: bool, unit: str) -> None:
    """To the command alone or to all processes of its job; what does not end within the grace is killed."""
    lab.begin_after({"register-1": "read", "mask-1": "denoise"}[unit])
    run = lab.run("--cluster", "local", "--workers", "2")
    moments.wait(unit, run)
    run.send(signal.SIGTERM, everybody=everybody)
    began = time.monotonic()
    assert run.wait(20) == 128 + signal.SIGTERM, run.said
    print(f"ended {time.monotonic() - began:.1f} s after the SIGTERM")
    COUNTS.kills += 1
    last = run.said.splitlines()[-1]
    assert last.startswith("stopped by "), run.said
    assert last.endswith("; the finished blocks are kept, and the same command continues")
    assert "Traceback" not in run.said or "Exception ignored in" in run.said  # that one came within a finaliser
    until(lambda: not run.others(), 10, lambda: f"{run.others()} outlive their run")
    assert not lab.status().complete
    lab.finish("--cluster", "local", "--workers", "2")
    lab.check_lost(in_flight=2)
    lab.check_same()


LOST = """
import gc, os, signal, sys, time
from crackdask.cli.endings import _Ended, ending_in_order

def ask(phase, _):
    gc.callbacks.remove(ask)
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with ending_in_order():
        gc.callbacks.append(ask)
        gc.collect()
        print("lost", flush=True)
        try:
            time.sleep(20)
        finally:
            time.sleep(1.2)  # what is to be ended in order is not disturbed
            print("ended", flush=True)
except (_Ended, KeyboardInterrupt) as error:
    assert isinstance(error, KeyboardInterrupt) == (sys.argv[1] == "SIGINT")
    print("in order", flush=True)
"""


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_a_signal_that_comes_within_a_finaliser_is_not_lost(lab: Lab, signal: str) -> None:
    began = time.monotonic()
    asked = lab.start(sys.executable, "-c", LOST, signal)
    assert asked.wait(60) == 0, asked.said
    assert "Exception ignored in" in asked.said
    assert asked.said.rpartition("lost")[2].split() == ["ended", "in", "order"]
    assert time.monotonic() - began < 20
