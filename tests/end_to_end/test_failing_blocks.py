"""What fails is tried again, then set aside, and the rest goes on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crackdask.cli import app
from crackdask.engine import pass_runner as engine
from crackdask.engine.checkpoints import Work
from crackdask.engine.records import Records
from crackdask.storage.locations import Place
from tests.support.experiment import CUT, Experiment
from tests.support.failing import Failing, done_blocks
from tests.support.store_files import copied, unlike

#: What hangs on the mask of the second state, in the order of a run; sharpness is compared over all states.
AFTER_MASK_1 = (
    "transfer-1", "sharpness-1", "levels-1", "transfer-2", "sharpness-2", "levels-2",
    "measure-0", "measure-1", "measure-2", "track-0",
)  # fmt: skip


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
