"""Jobs of a real Slurm, those of workers and of the run itself: cancelled, killed, requeued, out of time, node lost."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.faults.harness import COUNTS, PRELOAD, Lab, Moments, one_of_every_step, until
from tests.slurm import Slurm


@dataclass
class JobRun:
    """A run in a job, as something to wait for."""

    slurm: Slurm
    lab: Lab
    number: int

    @property
    def said(self) -> str:
        path = self.lab.folder / f"{self.number}.out"
        return path.read_text() if path.exists() else ""

    def alive(self) -> bool:
        return self.slurm.state(self.number) in ("PENDING", "CONFIGURING", "RUNNING")

    def wait_for(self, *states: str, seconds: float = 40) -> None:
        until(lambda: self.slurm.state(self.number) in states, seconds, lambda: self.slurm.state(self.number))

    def again(self) -> None:
        """Have a job that was requeued start at once; Slurm makes it wait for two minutes by itself."""
        self.wait_for("PENDING")
        until(self._released, 30)

    def _released(self) -> bool:
        words = ["scontrol", "update", f"jobid={self.number}", "StartTime=now"]
        return subprocess.run(words, capture_output=True, timeout=20, check=False).returncode == 0


def submitted(slurm: Slurm, lab: Lab, *options: str) -> JobRun:
    """Submit a run that is a job by itself, with threads for workers."""
    words = [sys.executable, PRELOAD, "run", lab.recipe, "--store", lab.store, "--cluster", "threads", "--workers", "2"]
    exports = [f"{key}={value}" for key, value in lab.env.items()]
    command = shlex.join(["env", *exports, *map(str, words)])
    number = slurm.command(
        "sbatch", "--parsable", "-n1", "-c2", "--mem=2000", "-J", "run", "--requeue", "--open-mode=append",
        "-o", str(lab.folder / "%j.out"), "--chdir", str(lab.folder), *options, "--wrap", f"exec {command}",
    )  # fmt: skip
    return JobRun(slurm, lab, int(number))


def test_a_run_in_a_job_that_is_taken_from_it(lab: Lab, moments: Moments, slurm: Slurm) -> None:
    """Each time it goes on where it was, by itself where Slurm starts the job again."""
    run = None
    hows = ["cancelled", "killed", "requeued", "node down"]
    units = sorted(moments.rng.sample(one_of_every_step(moments.rng)[1:-1], 4), key=moments.order)
    for how, unit in zip(hows, units, strict=True):
        run = run or submitted(slurm, lab)
        moments.wait(unit, run)
        print(how)
        COUNTS.kills += 1
        if how == "cancelled":
            slurm.command("scancel", str(run.number))
            run.wait_for("CANCELLED")
            until(lambda run=run: "stopped by" in run.said, 20, lambda run=run: run.said)
            assert run.said.splitlines()[-1].endswith("the finished blocks are kept, and the same command continues")
            run = None
        elif how == "killed":
            slurm.command("scancel", "--full", "-s", "KILL", str(run.number))
            run.wait_for("FAILED", "CANCELLED")
            run = None
        elif how == "requeued":
            slurm.command("scontrol", "requeue", str(run.number))
            run.again()
        else:
            node = next(job.nodes for job in slurm.jobs() if job.number == run.number)
            slurm.down(node)
            run.again()
            slurm.up(node)
        assert not lab.status(lab.held_by()).complete
    assert run
    run.wait_for("COMPLETED", seconds=90)
    assert "nothing to do" not in run.said
    lab.check_lost(in_flight=4 * 2)
    lab.check_same()


def test_a_walltime_that_ends_while_the_run_is_at_work(lab: Lab, slurm: Slurm) -> None:
    """Slurm sends SIGTERM, and SIGKILL some seconds later; a job of the same command goes on."""
    lab.ask({"block": "mask-1 holes 5", "how": "hold", "times": 1, "until": [str(lab.folder / "never")]})
    run = submitted(slurm, lab, "--time=1")
    until(lambda: lab.begun("mask-1 holes 5"), 60, lambda: run.said)
    # A minute is the least that can be asked for, and root may bring the end forward.
    slurm.command("scontrol", "update", f"jobid={run.number}", "EndTime=now")
    began = time.monotonic()
    run.wait_for("TIMEOUT", seconds=100)
    print(f"ended {time.monotonic() - began:.1f} s after its time was over")
    COUNTS.kills += 1
    until(lambda: not lab.held_by(), 20)
    assert not lab.status().complete
    lab.ask()
    run = submitted(slurm, lab)
    run.wait_for("COMPLETED", seconds=90)
    lab.check_lost(in_flight=2)
    lab.check_same()


def workers(slurm: Slurm, besides: set[int]) -> list[int]:
    """Return the jobs whose workers are at work, without some."""
    return [job.number for job in slurm.jobs(state="RUNNING") if job.number not in besides]


def test_jobs_of_workers_that_are_taken_from_a_run(lab: Lab, moments: Moments, slurm: Slurm) -> None:
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
        found = until(lambda: workers(slurm, lost), 60, lambda: f"{slurm.jobs()}\n{run.said}")
        victim = moments.rng.choice(found)
        print(f"{how}: job {victim} of {found}")
        lost.add(victim)
        COUNTS.kills += 1
        if how == "cancelled":
            slurm.command("scancel", str(victim))
        elif how == "killed":
            slurm.command("scancel", "--full", "-s", "KILL", str(victim))
        elif how == "requeued":
            slurm.command("scontrol", "requeue", str(victim))
        else:
            node = next(job.nodes for job in slurm.jobs() if job.number == victim)
            slurm.down(node)
            slurm.up(node)
        told = lab.status(run)
        assert not told.complete
    assert run.wait(120) == 0, run.said
    until(lambda: not slurm.jobs(), 30, lambda: str(slurm.jobs()))
    lab.check_lost(in_flight=4 * 2)
    lab.check_same()
