"""What is done, what failed and what a rerun would do: true before, while, and after."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crackdask.engine import pass_runner as engine
from crackdask.engine.checkpoints import Work
from crackdask.engine.job_note import Job, note_job
from crackdask.engine.progress import BlockReport
from crackdask.engine.status import status
from crackdask.schema import STEPS
from tests.support.tiny import SHAPE, Tiny, assert_same_store, crackdask, write_slices


def as_json(store: Path) -> dict[str, Any]:
    said = crackdask("status", store, "--json")
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    keys = {"name", "complete", "running", "job", "steps", "at_work", "failed", "rerun", "damaged", "findings"}
    assert set(found) == keys
    assert [step["step"] for step in found["steps"]] == [
        step for step in STEPS if step not in ("reconstruct", "tomograms", "electrochemistry")
    ]
    for step in found["steps"]:
        assert not set(step["done"]) & set(step["left"])
    return found


def done(found: dict[str, Any]) -> dict[str, list[str]]:
    return {step["step"]: step["done"] for step in found["steps"] if step["done"]}


BOTH = ["pristine", "4.2 V"]


def test_a_finished_store(finished: Tiny) -> None:
    found = as_json(finished.store)
    assert (found["name"], found["complete"], found["running"]) == ("tiny", True, None)
    assert (found["at_work"], found["failed"], found["rerun"]) == ([], [], [])
    assert all(not step["left"] for step in found["steps"])
    said = crackdask("status", finished.store)
    assert "(tiny): complete" in said.out
    assert "rerun" not in said.out
    told, _, _ = said.out.partition("to look at it elsewhere")  # what is to be copied is as long as it is
    assert max(map(len, told.replace(str(finished.store), "").splitlines())) < 80


def test_a_job_that_was_asked_for_and_has_not_begun(tiny: Tiny) -> None:
    nothing = f"`crackdask run RECIPE --store {tiny.store}` makes one"
    assert nothing in crackdask("status", tiny.store).err
    whole = {"system": "slurm", "said": "7", "logs": "", "when": ""}
    notes: list[Any] = [
        [],
        {"system": "slurm"},
        {**whole, "system": "none"},
        {**whole, "system": []},
        {**whole, "said": "\x1b"},
    ]
    for strange in notes:
        Work.beside(tiny.store).note("job", strange)
        assert nothing in crackdask("status", tiny.store).err
    note_job(
        Work.beside(tiny.store), Job("slurm", "Submitted batch job 7", "/shared/logs", "2026-01-02 03:04:05+01:00")
    )
    said = crackdask("status", tiny.store)
    assert said.code == 2
    job = "Submitted batch job 7, 2026-01-02 03:04:05+01:00"
    assert f"there is no store at {tiny.store} yet, but a job was asked for that makes it ({job})" in said.err
    assert "and /shared/logs what it said" in said.err
    assert tiny.run("--until", "read").code == 0
    assert f"last job: {job}; its log in /shared/logs" in crackdask("status", tiny.store).out
    assert as_json(tiny.store)["job"]["logs"] == "/shared/logs"


@pytest.mark.parametrize("work", ["there", "deleted"])
@pytest.mark.parametrize("removed", ["", "volumes", "volumes/grey", "volumes/label", "particles", "transforms"])
def test_what_was_removed_of_a_store_is_made_anew(ran: Tiny, finished: Tiny, removed: str, work: str) -> None:
    if work == "deleted":
        shutil.rmtree(ran.store.with_name("out.zarr.work"))
    shutil.rmtree(ran.store / removed)
    if removed:
        found = as_json(ran.store)
        assert not found["complete"]
        assert found["rerun"]
        assert ran.run("--until", "read").code == 0, "which adds the volume, empty"
        assert not as_json(ran.store)["complete"]
    said = ran.run()
    assert said.code == 0, said.err
    assert_same_store(ran.store, finished.store)


def test_a_store_by_its_other_names(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny.run("--until", "grey").code == 0
    wanted = status(tiny.store)
    assert wanted.steps[2].done
    link = tiny.folder / "elsewhere" / "link.zarr"
    link.parent.mkdir()
    link.symlink_to(tiny.store)
    assert status(link) == wanted
    monkeypatch.chdir(tiny.store)
    assert status(Path()) == wanted
    monkeypatch.chdir(tiny.folder)
    assert "there is no store at" in crackdask("status", "").err


def test_part_of_the_way_and_on(tiny: Tiny, finished: Tiny) -> None:
    assert tiny.run("--until", "denoise").code == 0
    found = as_json(tiny.store)
    assert not found["complete"]
    assert done(found) == {"read": BOTH, "register": BOTH, "grey": BOTH, "denoise": BOTH}
    assert found["rerun"][0] == ["mask", "pristine"]
    assert found["rerun"][-1] == ["track", "pristine"]
    assert len(found["rerun"]) == 11
    said = crackdask("status", tiny.store)
    assert "a rerun would do 11 steps, from mask pristine to track" in said.out
    said = tiny.run()
    assert said.code == 0
    assert "11 steps done, 8 done before" in said.out
    assert "read" not in said.out
    assert_same_store(tiny.store, finished.store)
    assert as_json(tiny.store)["complete"]


def test_a_rerun_does_what_was_said(tiny: Tiny) -> None:
    """Also where a volume that only the run needs is gone."""
    assert tiny.run("--until", "labels").code == 0
    promised = [f"{step} {state}".replace("track pristine", "track") for step, state in as_json(tiny.store)["rerun"]]
    said = tiny.run()
    did = [line.removeprefix("done ").rsplit("  ", 1)[0] for line in said.out.splitlines() if line.startswith("done ")]
    assert did == promised


def test_after_a_change_of_the_recipe(ran: Tiny) -> None:
    """What the last recipe left no longer counts as done."""
    ran.change("mask", threshold=254)
    assert ran.run().code == 2
    found = as_json(ran.store)
    assert not found["complete"]
    assert set(done(found)) == {"read", "register", "grey", "denoise"}
    assert ["track", "pristine"] in found["rerun"]


def test_failed_blocks(tiny: Tiny, finished: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = engine.run_block

    def flaky(job: engine.BlockJob) -> BlockReport:
        if job.pass_.name == "denoise" and job.number == 2:
            raise RuntimeError("a [bad] day")
        return sound(job)

    monkeypatch.setattr(engine, "run_block", flaky)
    tiny.change("compute", retries=1)
    said = tiny.run()
    assert said.code == 1
    assert said.out.count("block 2 is tried again: RuntimeError: a [bad] day") == 1
    assert said.out.count("block 2 is set aside: RuntimeError: a [bad] day") == 1
    assert "denoise-0 (denoise) block 2 [z 0:16 y 16:28 x 0:16]: RuntimeError: a [bad] day" in said.err
    assert "not done because of them: mask-0, labels-0, sharpness-0, levels-0, denoise-1," in said.err
    assert "everything else is kept; mend the cause and run the same command again" in said.err
    found = as_json(tiny.store)
    assert not found["complete"]
    assert [(f["unit"], f["pass"], f["block"]) for f in found["failed"]] == [("denoise-0", "denoise", 2)]
    assert found["failed"][0]["error"] == "RuntimeError: a [bad] day"
    assert ["denoise", "pristine", "denoise", 7, 8] in found["at_work"]
    text = crackdask("status", tiny.store).out
    assert "failed: denoise-0 (denoise) block 2: RuntimeError: a [bad] day" in text
    assert "a rerun would do 13 steps, from denoise pristine to track" in text
    monkeypatch.setattr(engine, "run_block", sound)
    said = tiny.run()
    assert said.code == 0, said.err
    assert "denoise pristine: 7 of 8 blocks were done before" in said.out
    assert_same_store(tiny.store, finished.store)
    assert as_json(tiny.store)["failed"] == []


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it puts into the background deaf to it
from crackdask.engine import pass_runner as engine
from crackdask.cli import main
sound = engine.run_block
def slow(job):
    found = sound(job)
    if job.pass_.name == "denoise" and job.number == 2:
        time.sleep(60)
    return found
engine.run_block = slow
sys.argv[0] = "crackdask"
main()
"""


def test_while_a_run_is_at_work_and_after_it_was_stopped(tiny: Tiny, finished: Tiny) -> None:
    words = ["run", str(tiny.recipe), "--store", str(tiny.store), "--cluster", "synchronous"]
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wanted = ("denoise", "pristine", "denoise", 3, 8)
        until = time.monotonic() + 60
        while run.poll() is None and time.monotonic() < until:
            if (tiny.store / "volumes/label/zarr.json").exists() and wanted in status(tiny.store).at_work:
                break
            time.sleep(0.05)
        assert run.poll() is None, run.communicate()
        found = as_json(tiny.store)
        assert found["running"].startswith(f"process {run.pid} on ")
        assert not found["complete"]
        assert done(found) == {"read": BOTH, "register": BOTH, "grey": BOTH}
        text = crackdask("status", tiny.store).out
        assert f"not complete, being written by process {run.pid}" in text
        assert "begun: denoise pristine (denoise), 3 of 8 blocks" in text
        assert "rerun" not in text
        second = tiny.run()
        assert second.code == 2
        assert f"another run is writing this store (process {run.pid} on " in second.err
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 130
    assert err.strip() == "stopped; the finished blocks are kept, and the same command continues"
    found = as_json(tiny.store)
    assert found["running"] is None
    assert tuple(found["at_work"][0]) == wanted
    assert "a rerun would do 13 steps, from denoise pristine to track" in crackdask("status", tiny.store).out
    said = tiny.run()
    assert "denoise pristine: 3 of 8 blocks were done before" in said.out
    assert_same_store(tiny.store, finished.store)


def test_a_source_that_changed_is_read_again(tiny: Tiny) -> None:
    assert tiny.run("--until", "grey").code == 0
    write_slices(tiny.folder / "scans" / "b", np.clip(tiny.scan(9, SHAPE), 0, 2500))
    said = tiny.run("--until", "grey")
    assert said.code == 0
    assert "done read 4.2 V" in said.out
    assert "done grey pristine" not in said.out
