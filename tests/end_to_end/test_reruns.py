"""What a run does where there was one before: nothing twice, and nothing of another recipe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crackdask.cli import app
from crackdask.engine import pass_runner as engine
from crackdask.engine.checkpoints import Work
from crackdask.engine.pass_runner import BlockJob
from crackdask.engine.run_store import RunStore
from crackdask.schema import STEPS
from crackdask.store.root import StoreError, attributes
from tests.support.experiment import CUT, Experiment, differences, load
from tests.support.failing import Failing
from tests.support.store_files import copied, unlike


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
        patched.setattr("crackdask.store.create._write_volumes", killed)
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
