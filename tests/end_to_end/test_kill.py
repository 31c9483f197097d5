"""A run may be killed at any moment and goes on where it was; what fails is tried again, then set aside."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from crackdask.cli import app
from crackdask.engine import pass_runner as engine
from crackdask.engine.checkpoints import Work
from crackdask.engine.pass_runner import BlockJob, BlockReport
from crackdask.engine.records import Records
from crackdask.engine.run_store import RunStore
from crackdask.schema import STEPS, UnitKey
from crackdask.storage.locations import Place
from crackdask.store.root import StoreError, attributes
from tests.support.experiment import CUT, Experiment, differences, load
from tests.support.forked import Process, start
from tests.support.silence import Silent
from tests.support.store_files import copied, unlike, work_folder

CHILD = Path(__file__).parents[1] / "support" / "child.py"
#: A unit of every step, in the order in which a run comes to them.
IN_EVERY_STEP = (
    "read-0", "register-1", "grey-1", "denoise-0", "mask-0", "labels-0", "transfer-1", "sharpness-1",
    "levels-1", "measure-2", "track-0",
)  # fmt: skip
#: What hangs on the mask of the second state, in the order of a run; sharpness is compared over all states.
AFTER_MASK_1 = (
    "transfer-1", "sharpness-1", "levels-1", "transfer-2", "sharpness-2", "levels-2",
    "measure-0", "measure-1", "measure-2", "track-0",
)  # fmt: skip


@pytest.fixture(scope="module")
def grey_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run that came as far as grey."""
    store = tmp_path_factory.mktemp("grey") / "grey.zarr"
    outcome, _ = experiment.run(store, CUT | {"keep_intermediate": False}, until="grey")
    assert not outcome.failures
    return store


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
    only_asked = ("reconstruct", "electrochemistry")
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


# ---------------------------------------------------------------- what fails


class Failing:
    """Stands in for the engine's work on a block and fails where a rule says so."""

    def __init__(self, fails: Callable[[BlockJob, int], bool]) -> None:
        self.fails, self.do = fails, engine.run_block
        self.tries: Counter[tuple[str, str, int]] = Counter()

    def __call__(self, job: BlockJob) -> BlockReport:
        key = (job.records.folder.parent.name, job.pass_.name, job.number)
        self.tries[key] += 1
        if self.fails(job, self.tries[key]):
            raise OSError(f"invented failure of {key}")
        return self.do(job)


def test_every_third_block_fails_once(
    experiment: Experiment, cut_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(lambda job, tries: tries == 1 and job.number % 3 == 0)
    monkeypatch.setattr(engine, "run_block", failing)
    outcome, _ = experiment.run(tmp_path / "a.zarr", CUT)
    assert not outcome.failures
    assert set(failing.tries.values()) == {1, 2}
    assert unlike(tmp_path / "a.zarr", cut_store) == []


def test_a_block_that_dies_between_its_voxels_and_its_record_is_done_again(
    experiment: Experiment, cut_store: Path, grey_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, died = Records.add, set[Place]()

    def dying(records: Records, number: int, tally: Any, seals: Any) -> int:
        path = records.path(number)
        if number == 2 and path not in died:
            died.add(path)
            raise OSError("no space left on device")
        return add(records, number, tally, seals)

    monkeypatch.setattr(Records, "add", dying)
    outcome, _ = experiment.run(copied(grey_store, tmp_path / "a.zarr"), CUT)
    assert not outcome.failures
    assert len(died) > 25
    assert unlike(tmp_path / "a.zarr", cut_store) == []


def test_a_block_that_always_fails_is_set_aside_and_the_rest_goes_on(
    experiment: Experiment, cut_store: Path, grey_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied(grey_store, tmp_path / "a.zarr")
    failing = Failing(lambda job, _: job.records.folder.parent.name == "mask-1" and job.number == 5)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "run_block", failing)
        outcome, _ = experiment.run(store, CUT)
    (failure,) = outcome.failures
    assert (str(failure.unit), failure.pass_, failure.number) == ("mask-1", "threshold", 5)
    assert "invented failure" in failure.error
    assert failing.tries["mask-1", "threshold", 5] == 3
    assert outcome.blocked == AFTER_MASK_1
    assert {"labels-0", "sharpness-0", "mask-2"} <= set(outcome.done)
    told = CliRunner().invoke(app, ["status", str(store), "--json"])
    assert [(f["unit"], f["block"]) for f in json.loads(told.stdout)["failed"]] == [("mask-1", 5)]

    outcome, job = experiment.run(store, CUT)
    assert outcome.done == ("mask-1", *outcome_order(outcome.done[1:]))
    assert outcome.skipped == 17
    assert [n for unit, pass_, n in done_blocks(job) if (unit, pass_) == ("mask-1", "threshold")] == [5]
    assert unlike(store, cut_store) == []


def outcome_order(done: tuple[str, ...]) -> tuple[str, ...]:
    """Return the units that hang on the mask of the second state, in the order of a run."""
    assert set(done) == set(AFTER_MASK_1)
    return AFTER_MASK_1


def done_blocks(job: Any) -> list[tuple[str, str, int]]:
    return [(str(unit), pass_, report.number) for unit, pass_, report in job.engine.reports]


def test_a_failing_match_of_the_registration_is_tried_again_then_set_aside(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crackdask.steps import subblocks

    refine, calls = subblocks.refine, Counter[Any]()

    def failing(block: Any, *args: Any, **options: Any) -> Any:
        calls[block] += 1
        if calls[block] <= limit:
            raise OSError("the disk went away")
        return refine(block, *args, **options)

    monkeypatch.setattr(subblocks, "refine", failing)
    limit = 1
    outcome, _ = experiment.run(tmp_path / "a.zarr", CUT, until="register")
    assert not outcome.failures
    calls.clear()
    limit = 1000
    outcome, _ = experiment.run(tmp_path / "b.zarr", CUT, until="register")
    assert {(str(f.unit), f.pass_) for f in outcome.failures} == {
        ("register-1", "register"),
        ("register-2", "register"),
    }
    assert "the disk went away" in outcome.failures[0].error


def test_a_damaged_record_counts_as_not_done(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "a.zarr"
    with monkeypatch.context() as patched:
        patched.setattr(engine, "run_block", Failing(lambda job, _: job.pass_.name == "grey" and job.number == 7))
        outcome, _ = experiment.run(store, CUT, until="grey")
    assert {f.number for f in outcome.failures} == {7}
    (folder,) = (Work.beside(store).folder / "blocks" / "grey-1").iterdir()
    whole = (folder / "000003").read_bytes()
    (folder / "000001").write_bytes(b"")
    (folder / "000002").write_bytes(b"no record at all")
    (folder / "000003").write_bytes(whole[: len(whole) // 2])
    (folder / "000004").write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    outcome, job = experiment.run(store, CUT, until="grey")
    assert not outcome.failures
    assert [n for unit, _, n in done_blocks(job) if unit == "grey-1"] == [1, 2, 3, 4, 7]


# ---------------------------------------------------------------- what a rerun does


def test_two_runs_never_write_one_store(experiment: Experiment, tmp_path: Path) -> None:
    recipe, store = experiment.write("cut.toml", CUT), tmp_path / "a.zarr"
    with Work.beside(store).held():
        with pytest.raises(StoreError, match=f"another run.*process {os.getpid()}"):
            experiment.run(store, CUT)
        told = CliRunner().invoke(app, ["run", str(recipe), "--store", str(store), "--cluster", "synchronous"])
    assert told.exit_code == 2
    assert "another run is writing" in told.stderr
    assert not store.exists()


def test_a_store_is_there_whole_or_not_at_all(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("crackdask.store.create.add_volumes", killed)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(tmp_path / "a.zarr", CUT, until="read")
    assert not (tmp_path / "a.zarr").exists()
    outcome, _ = experiment.run(tmp_path / "a.zarr", CUT, until="read")
    assert not outcome.failures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "a.zarr.work"]


def test_a_run_killed_when_all_is_done_is_still_brought_to_its_end(
    experiment: Experiment, grey_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    store, compute = copied(grey_store, tmp_path / "a.zarr"), CUT | {"keep_intermediate": False}
    with monkeypatch.context() as patched:
        patched.setattr("crackdask.engine.track_runner.track", killed)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(store, compute)
    basin = Work.beside(store).volume("basin", 1)
    assert isinstance(basin, Path)
    basin.mkdir()
    mark = RunStore.mark
    with monkeypatch.context() as patched:
        patched.setattr(RunStore, "mark", lambda own, complete: killed() if complete else mark(own, complete=complete))
        with pytest.raises(KeyboardInterrupt):
            experiment.run(store, compute)
    assert not attributes(store).get("complete")
    outcome, _ = experiment.run(store, compute)
    assert outcome.done == ()
    assert attributes(store)["complete"]
    assert not basin.exists()


def test_a_finished_store_is_left_alone(experiment: Experiment, cut_store: Path, tmp_path: Path) -> None:
    store = copied(cut_store, tmp_path / "a.zarr")
    before = {path: path.stat().st_mtime_ns for path in store.rglob("c/*") if path.is_file()}
    outcome, job = experiment.run(store, CUT)
    assert (outcome.done, outcome.failures, outcome.blocked) == ((), (), ())
    assert not job.engine.reports
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("c/*") if path.is_file()}


def test_a_run_stops_after_a_step_and_continues(experiment: Experiment, cut_store: Path, tmp_path: Path) -> None:
    store, done = tmp_path / "a.zarr", list[str]()
    for until in ("read", "denoise", None):
        outcome, _ = experiment.run(store, CUT, until=until)
        assert not outcome.failures
        assert outcome.skipped == len(done)
        done += outcome.done
        steps = [unit.split("-")[0] for unit in outcome.done]
        if until:
            assert steps[-1] == until or until in steps
            assert max(map(STEPS.index, steps)) == STEPS.index(until)
    assert len(done) == len(set(done)) == 28
    assert unlike(store, cut_store) == []


def test_a_changed_step_is_done_again_with_what_follows_and_nothing_before(
    experiment: Experiment, cut_store: Path, grey_store: Path, tmp_path: Path
) -> None:
    store, changed = copied(cut_store, tmp_path / "a.zarr"), {"min_depth": 2.0}
    for left in ("zarr.0a1b.partial", "volumes/label/zarr.0a1b.partial", "volumes/label/c/0/0/0/0.0a1b.partial"):
        (store / left).write_bytes(b"what a killed writer leaves")
    outcome, _ = experiment.run(store, CUT, labels=changed)
    assert {unit.split("-")[0] for unit in outcome.done} == {
        "labels", "transfer", "sharpness", "levels", "measure", "track",
    }  # fmt: skip
    assert outcome.skipped == 15
    fresh = copied(grey_store, tmp_path / "b.zarr")
    experiment.run(fresh, CUT, labels=changed)
    assert unlike(store, fresh) == []
    assert load(fresh)["particles"].sizes != load(cut_store)["particles"].sizes


def interrupted(
    experiment: Experiment, store: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[[BlockJob, int], bool],
    compute: dict[str, Any], **sections: Any,
) -> None:  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(engine, "run_block", Failing(fails))
        outcome, _ = experiment.run(store, compute, **sections)
    assert outcome.failures


def test_records_of_a_recipe_do_not_outlive_a_run_of_another(
    experiment: Experiment, cut_store: Path, grey_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second recipe writes over blocks that the first has records of; then the first is back.
    store = copied(grey_store, tmp_path / "a.zarr")

    def fails(job: BlockJob, _: int) -> bool:
        return job.records.folder.parent.name == "labels-0" and job.pass_.name == "relabel" and job.number == 7

    interrupted(experiment, store, monkeypatch, fails, CUT)
    interrupted(experiment, store, monkeypatch, fails, CUT, labels={"min_depth": 2.0, "smoothing": 2.0})
    outcome, _ = experiment.run(store, CUT)
    assert not outcome.failures
    assert unlike(store, cut_store) == []


def test_records_of_other_blocks_do_not_count(
    experiment: Experiment, cut_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many blocks as before, but others.
    store = tmp_path / "a.zarr"
    other = CUT | {"block": [24, 60, 48]}
    again = CUT | {"block": [24, 40, 72]}

    def fails(job: BlockJob, _: int) -> bool:
        return job.pass_.name in ("grey", "ascent") and job.number == 3

    interrupted(experiment, store, monkeypatch, fails, other)
    outcome, job = experiment.run(store, again)
    assert len(job.grid) == 4
    assert not outcome.failures
    assert differences(load(store), load(cut_store)) == []


def test_what_a_failed_unit_wrote_is_kept_for_its_rerun(
    experiment: Experiment, grey_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody but the failed unit itself reads this depth, and other units are done after it.
    store = copied(grey_store, tmp_path / "a.zarr")
    sections: dict[str, Any] = {"transfer": {"mode": "reference"}}

    def fails(job: BlockJob, _: int) -> bool:
        return job.records.folder.parent.name == "transfer-1" and job.pass_.name == "saddles" and job.number == 3

    interrupted(experiment, store, monkeypatch, fails, CUT, **sections)
    experiment.run(store, CUT, until="read", **sections)
    outcome, _ = experiment.run(store, CUT, **sections)
    assert not outcome.failures
    wanted = copied(grey_store, tmp_path / "b.zarr")
    experiment.run(wanted, CUT, **sections)
    assert unlike(store, wanted) == []


def test_volumes_that_are_to_be_kept_later_are_made_again(
    experiment: Experiment, cut_store: Path, grey_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied(grey_store, tmp_path / "a.zarr")
    dropped = CUT | {"keep_intermediate": False}

    def fails(job: BlockJob, _: int) -> bool:
        return job.records.folder.parent.name == "denoise-2" and job.pass_.name == "denoise" and job.number == 7

    interrupted(experiment, store, monkeypatch, fails, dropped)
    outcome, _ = experiment.run(store, CUT)
    assert not outcome.failures
    assert {unit.split("-")[0] for unit in outcome.done} >= {"denoise", "mask"}
    assert differences(load(store), load(cut_store)) == []
