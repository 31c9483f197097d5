"""A run may be killed at any moment and goes on where it was."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from crackdask.engine.progress import BlockReport
from crackdask.schema import STEPS, UnitKey
from tests.support.experiment import CUT, Experiment
from tests.support.forked import Process, start
from tests.support.silence import Silent
from tests.support.store_files import unlike, work_folder

CHILD = Path(__file__).parents[1] / "support" / "child.py"
#: A unit of every step, in the order in which a run comes to them.
IN_EVERY_STEP = (
    "read-0", "register-1", "grey-1", "denoise-0", "mask-0", "labels-0", "transfer-1", "sharpness-1",
    "levels-1", "measure-2", "track-0",
)  # fmt: skip


@dataclass
class Runs:
    """The same command, called again and again."""

    recipe: Path
    store: Path
    log: Path
    options: tuple[str, ...]

    def start(self) -> Process:
        command = [sys.executable, CHILD, self.log, "run", self.recipe, "--store", self.store, *self.options]
        with self.said.open("ab") as said:
            return start([str(word) for word in command], said, os.environ)

    def kill_when(self, ready: Callable[[], bool]) -> None:
        """Start the command and kill it with all its processes, as the machine would, at a moment."""
        process = self.start()
        while not ready():
            assert process.poll() is None, self.said.read_text()
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL

    def finish(self) -> None:
        process = self.start()
        assert process.wait(300) == 0, self.said.read_text()

    @property
    def said(self) -> Path:
        return self.log.with_suffix(".said")

    @property
    def work(self) -> Path:
        return work_folder(self.store)

    def begun(self, unit: str) -> bool:
        """Tell whether the first records of a unit, or whatever it leaves first, are there."""
        if unit.startswith("register"):
            return (self.work / "results" / unit.replace("register", "read")).exists()
        if unit.startswith("track"):
            return (self.store / "contacts").exists()
        try:
            passes = (self.work / "blocks" / unit).iterdir()
            return any(not record.name.startswith(".") for folder in passes for record in folder.iterdir())
        except FileNotFoundError:
            return False

    def lines(self) -> list[tuple[str, str]]:
        if not self.log.exists():
            return []
        return [(word, block) for word, _, block in (t.partition(" ") for t in self.log.read_text().splitlines())]

    def check_lost(self, in_flight: int) -> None:
        """Assert that no block was done twice, but those in flight when a run was killed."""
        ended: set[str] = set()
        begun: Counter[str] = Counter()
        for word, block in self.lines():
            assert block not in ended, f"{block} was done and was done again"
            begun[block] += word == "begin"
            if word == "end":
                ended.add(block)
        assert sum(begun.values()) - len(begun) <= in_flight
        assert len(begun) > 250


def test_a_run_killed_in_every_step_gives_the_same_files(
    experiment: Experiment, cut_store: Path, tmp_path: Path
) -> None:
    only_asked = ("reconstruct", "tomograms", "electrochemistry")
    assert [unit.split("-")[0] for unit in IN_EVERY_STEP] == [step for step in STEPS if step not in only_asked]
    recipe = experiment.write("cut.toml", CUT)
    runs = Runs(recipe, tmp_path / "killed.zarr", tmp_path / "log", ("--cluster", "synchronous"))
    for unit in IN_EVERY_STEP:
        runs.kill_when(lambda unit=unit: runs.begun(unit))  # type: ignore[misc]
        assert not (runs.work / "results" / unit).exists(), f"{unit} was done before the run was killed"
    runs.finish()
    runs.check_lost(in_flight=len(IN_EVERY_STEP))
    assert unlike(runs.store, cut_store) == []
    left = sorted(path.name for path in runs.work.iterdir() if path.is_file() or any(path.iterdir()))
    assert set(left) <= {"chunks", "failed", "lock", "planned", "results", "root", "volumes"}
    # What lets a state be added: tables, and the depth where the next one would take its seeds from.
    kept = sorted(path.name for path in (runs.work / "volumes").iterdir())
    assert kept == ["depth-2", "tables-0", "tables-1", "tables-2"]


def test_a_cluster_killed_at_random_moments_gives_the_same_files(
    experiment: Experiment, cut_store: Path, tmp_path: Path
) -> None:
    recipe = experiment.write("cut.toml", CUT)
    runs = Runs(recipe, tmp_path / "killed.zarr", tmp_path / "log", ("--cluster", "local", "--workers", "2"))
    for moment in sorted(random.Random(5).sample(range(40, 500), 3)):
        runs.kill_when(lambda moment=moment: len(runs.lines()) >= moment)  # type: ignore[misc]
    runs.finish()
    runs.check_lost(in_flight=3 * 2)
    assert unlike(runs.store, cut_store) == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit="2 GiB"
    ) as made:
        yield made


@dataclass
class KillsAWorker(Silent):
    """Progress that kills a worker when some blocks are done."""

    address: str = ""
    killed: list[int] = field(default_factory=list)

    def advance(self, unit: UnitKey, report: BlockReport) -> None:
        super().advance(unit, report)
        if len(self.reports) in (30, 200):
            with Client(self.address, set_as_default=False) as client:
                pid = min(client.run(os.getpid).values())
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)


def test_a_run_outlives_its_workers(
    experiment: Experiment, cut_store: Path, tmp_path: Path, cluster: LocalCluster
) -> None:
    progress = KillsAWorker(address=cluster.scheduler_address)
    outcome, _ = experiment.run(tmp_path / "a.zarr", CUT, cluster=cluster.scheduler_address, progress=progress)
    assert not outcome.failures
    assert len(set(progress.killed)) == 2
    assert unlike(tmp_path / "a.zarr", cut_store) == []
