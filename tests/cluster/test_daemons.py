"""The Slurm that other tests run on is a real one: it queues, runs, cancels and loses jobs."""

from __future__ import annotations

from pathlib import Path

from tests.support.slurm import Slurm


def test_jobs_run_and_are_cancelled_and_come_back_from_a_node_that_went_down(slurm: Slurm, tmp_path: Path) -> None:
    words = ("sbatch", "--parsable", "--exclusive", "-n1", "-J", "sleeper", "-o", str(tmp_path / "out"))
    first, second, third = (int(slurm.command(*words, "--wrap", "echo here; exec sleep 60")) for _ in range(3))
    slurm.wait(lambda: len(slurm.jobs(name="sleeper", state="RUNNING")) == 2, 20)
    assert slurm.state(third) == "PENDING", "two nodes hold two jobs that want a node for themselves"
    slurm.command("scancel", str(first))
    slurm.wait(lambda: slurm.state(third) == "RUNNING", 20)
    assert slurm.state(first) == "CANCELLED"
    slurm.wait(lambda: (tmp_path / "out").exists(), 20)
    node = next(job.nodes for job in slurm.jobs() if job.number == second)
    slurm.down(node)
    slurm.wait(lambda: slurm.state(second) == "PENDING", 20)
    slurm.up(node)
    slurm.clear()
    assert slurm.jobs() == []
