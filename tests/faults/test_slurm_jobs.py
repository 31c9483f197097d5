"""Jobs of a real Slurm, those of workers and of the run itself: cancelled, killed, requeued, out of time, node lost."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.harness import CRACKDASK, Lab, Moments, one_of_every_step
from tests.support.fault_counts import COUNTS
from tests.support.slurm import Slurm
from tests.support.waiting import until


@dataclass
class JobRun:
    """A run in a job, as something to wait for."""

    slurm: Slurm
    lab: Lab
    number: int
    state: str = "PENDING"
    looked: float = 0.0

    @property
    def said(self) -> str:
        path = self.lab.work / "logs" / f"run-{self.number}.log"
        return path.read_text() if path.exists() else ""

    def alive(self) -> bool:
        if time.monotonic() > self.looked + 0.5:
            self.looked = time.monotonic()
            self.state = self.slurm.state(self.number)
        return self.state in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")

    def wait_for(self, *states: str, seconds: float = 40) -> None:
        self.slurm.wait(lambda: self.slurm.state(self.number) in states, seconds)

    def again(self, node: str) -> None:
        """Have a job that was requeued start at once, on another node than before.

        By itself Slurm makes it wait for two minutes, so that the node has ended what it held of it.
        """
        self.wait_for("PENDING")
        self.slurm.wait(lambda: self._released(node), 30)

    def _released(self, node: str) -> bool:
        words = ["scontrol", "update", f"jobid={self.number}", "StartTime=now", f"ExcNodeList={node}"]
        return subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0


@pytest.fixture
def queue(slurm: Slurm) -> Iterator[Slurm]:
    """Return the Slurm, which has no jobs and all its nodes afterwards."""
    yield slurm
    slurm.clear()
    for node in slurm.nodes:
        slurm.up(node)


def submitted(slurm: Slurm, lab: Lab, walltime: str = "10 min") -> JobRun:
    """Submit a run as a job, with two workers in it."""
    site = lab.folder / "site.toml"
    site.write_text(f'memory = "1 GiB"\nwalltime = "{walltime}"\n')
    submit = lab.start(
        *CRACKDASK, "submit", lab.recipe, "--store", lab.store, "--cluster", "slurm", "--workers", "2",
        "--cluster-config", site, name="-submit",
    )  # fmt: skip
    assert submit.wait() == 0, submit.said
    found = re.search(r"job (\d+)", submit.said)
    assert found, submit.said
    return JobRun(slurm, lab, int(found[1]))


def wait_until_stopped(run: JobRun) -> None:
    until(lambda: "stopped by" in run.said, 20, lambda: run.said)


def test_a_run_in_a_job_that_is_taken_from_it(lab: Lab, moments: Moments, queue: Slurm) -> None:
    """Each time it goes on where it was, by itself where Slurm starts the job again."""
    run = None
    hows = ["cancelled", "killed", "requeued", "node down"]
    units = sorted(moments.rng.sample(one_of_every_step(moments.rng)[1:-1], 4), key=moments.order)
    for how, unit in zip(hows, units, strict=True):
        run = run or submitted(queue, lab)
        moments.wait(unit, run)
        print(how)
        COUNTS.kills += 1
        if how == "cancelled":
            queue.command("scancel", str(run.number))
            run.wait_for("CANCELLED")
            wait_until_stopped(run)
            assert run.said.splitlines()[-1].endswith("the finished blocks are kept, and the same command continues")
            run = None
        elif how == "killed":
            queue.command("scancel", "--full", "-s", "KILL", str(run.number))
            run.wait_for("FAILED", "CANCELLED")
            run = None
        else:
            node = next(job.nodes for job in queue.jobs() if job.number == run.number)
            if how == "requeued":
                queue.command("scontrol", "requeue", str(run.number))
            else:
                queue.down(node)
            run.again(node)
            queue.up(node)
        assert not lab.status(lab.held_by()).complete
    assert run
    run.wait_for("COMPLETED", seconds=90)
    assert "nothing to do" not in run.said
    lab.check_lost(in_flight=4 * 2)
    lab.check_same()


def test_a_walltime_that_ends_while_the_run_is_at_work(lab: Lab, queue: Slurm) -> None:
    """Slurm sends SIGTERM some seconds before, and the run ends in order; a job of the same command goes on."""
    lab.begin_after("read")
    lab.ask({"block": "grey-1 grey 5", "how": "hold", "times": 1, "until": [str(lab.folder / "never")]})
    run = submitted(queue, lab, walltime="1 min")  # the least that Slurm knows
    began = time.monotonic()
    run.wait_for("TIMEOUT", "FAILED", seconds=100)
    print(f"ended after {time.monotonic() - began:.1f} s")
    COUNTS.kills += 1
    assert run.said.splitlines()[-1].startswith("stopped by ")
    assert run.said.splitlines()[-1].endswith("the finished blocks are kept, and the same command continues")
    until(lambda: not lab.held_by(), 20)
    assert not lab.status().complete
    lab.ask()
    run = submitted(queue, lab)
    run.wait_for("COMPLETED", seconds=90)
    lab.check_lost(in_flight=2)
    lab.check_same()


def workers(slurm: Slurm, besides: set[int]) -> list[int]:
    """Return the jobs whose workers are at work, without some."""
    return [job.number for job in slurm.jobs(state="RUNNING") if job.number not in besides]


def test_jobs_of_workers_that_are_taken_from_a_run(lab: Lab, moments: Moments, queue: Slurm) -> None:
    """Each is replaced, and the run goes on with what is left until then."""
    site = lab.folder / "site.toml"
    site.write_text('interface = "lo"\nwalltime = "10 min"\nmemory = "1500 MiB"\n')
    lab.ask(pause=0.05)
    run = lab.run("--cluster", "slurm", "--workers", "2", "--cluster-config", site)
    lost: set[int] = set()
    hows = ["cancelled", "killed", "requeued", "node down"]
    units = sorted(moments.rng.sample(one_of_every_step(moments.rng)[1:-1], 4), key=moments.order)
    for how, unit in zip(hows, units, strict=True):
        moments.wait(unit, run)
        found = until(lambda: workers(queue, lost), 60, lambda: f"{queue.jobs()}\n{run.said}")
        victim = moments.rng.choice(found)
        print(f"{how}: job {victim} of {found}")
        lost.add(victim)
        COUNTS.kills += 1
        if how == "cancelled":
            queue.command("scancel", str(victim))
        elif how == "killed":
            queue.command("scancel", "--full", "-s", "KILL", str(victim))
        elif how == "requeued":
            queue.command("scontrol", "requeue", str(victim))
        else:
            node = next(job.nodes for job in queue.jobs() if job.number == victim)
            queue.down(node)
            queue.up(node)
        told = lab.status(run)
        assert not told.complete
    assert run.wait(120) == 0, run.said
    queue.wait(lambda: not queue.jobs(), 30)
    lab.check_lost(in_flight=4 * 2)
    lab.check_same()
