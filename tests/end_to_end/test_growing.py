"""A store that grows by states at the end of its recipe is that of a run which had all of them at once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crackdask.engine import growth
from crackdask.engine.checkpoints import Work
from crackdask.engine.status import status
from crackdask.engine.work_units import units
from crackdask.recipe.recipe import load
from crackdask.schema import STEPS
from crackdask.storage.locations import Place, write_whole
from crackdask.store.root import attributes, set_attributes
from tests.support import forked
from tests.support.growing import Growing, large_balls
from tests.support.store_files import copied, unlike, work_folder

KILLED = Path(__file__).parents[1] / "support" / "killed.py"
#: What is done for a state that is added as the third: its own units, the reference's scan read again to compare with,
#: and what compares all states, of which only the tables of the store are written anew.
_NOT_ADDED = ("reconstruct", "tomograms", "labels", "electrochemistry", "track")
ADDED = {f"{step}-2" for step in STEPS if step not in _NOT_ADDED} | {
    "read-0", "measure-0", "measure-1", "track-0"
}  # fmt: skip
#: Every how many files that a run changes it is killed; 1 for all.
STRIDE = int(os.environ.get("CRACKDASK_KILL_STRIDE", "20"))


def chunks(store: Path) -> Mapping[Path, int]:
    """Return when the voxels of the first two states were written."""
    found = {path: path.stat().st_mtime_ns for path in (store / "volumes").rglob("c/[01]/*/*/*")}
    assert len(found) >= 2 * 2 * 2
    return found


def made(context: Any) -> set[str]:
    """Return the units of which blocks were done."""
    return {str(unit) for unit, _, _ in context.engine.reports}


def test_a_finished_store_grows_and_nothing_of_the_old_states_is_made_anew(
    beamtime: Growing, two_states: Path, tmp_path: Path
) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    before, spent = chunks(store), attributes(store)["steps"]["measure-1"]["cost"]
    outcome, context = beamtime.grown(3, store)
    assert set(outcome.done) == ADDED
    assert before.items() <= chunks(store).items()
    assert not made(context) & {"measure-0", "measure-1"}
    assert attributes(store)["steps"]["measure-1"]["cost"] == spent
    assert unlike(store, beamtime.store) == []
    outcome, _ = beamtime.grown(3, store)
    assert outcome.done == ()
    assert status(store).complete


@pytest.mark.parametrize("reached", ["mask", "measure"])
def test_a_half_finished_store_grows(beamtime: Growing, tmp_path: Path, reached: str) -> None:
    store = tmp_path / "a.zarr"
    for states in (1, 2):
        beamtime.grown(states, store, until=reached)
    beamtime.grown(3, store)
    assert unlike(store, beamtime.store) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"transfer": {"mode": "reference"}},
        {"register": {"transform": "none", "reference": "4.2 V"}},
        {"compute": {"chunk": [10, 28, 16], "shard": [20, 28, 16], "block": [20, 28, 32], "keep_intermediate": True}},
    ],
    ids=["from the reference", "reference amid", "shards"],
)
def test_it_grows_under_other_recipes(tmp_path: Path, changed: dict[str, Any]) -> None:
    growing = Growing(tmp_path, **changed)
    growing.grown(3)
    grown = tmp_path / "grown.zarr"
    for states in (2, 3):
        _, context = growing.grown(states, grown)
    assert {unit.rpartition("-")[2] for unit in made(context) - {"read-0", "read-1"}} == {"2"}
    assert unlike(grown, growing.store) == []


def test_a_blurrier_state_has_the_others_measured_anew(tmp_path: Path) -> None:
    growing = Growing(tmp_path, labels={"max_radius": 16})
    for number, letter in enumerate("abc"):
        growing.write_slices(tmp_path / "scans" / letter, large_balls(number, 1.3 if letter == "c" else 0.6))
    growing.grown(3)
    grown = tmp_path / "grown.zarr"
    growing.grown(2, grown)
    assert set(attributes(grown)["found"]["blurred_by"].values()) == {0.0}
    before = chunks(grown)
    _, context = growing.grown(3, grown)
    assert attributes(grown)["found"]["blurred_by"]["pristine"] > 0.5
    assert made(context) >= {"measure-0", "measure-1"}
    assert before.items() <= chunks(grown).items()
    assert unlike(grown, growing.store) == []


# ---------------------------------------------------------------- kills


def killed(growing: Growing, store: Path, below: Path, at: int) -> bool:
    """Run in a process that is killed when it changes its n-th file below a path; tell whether it was."""
    growing.has(3)
    words = ["run", growing.recipe, "--store", store, "--cluster", "synchronous"]
    log = store.with_name("log")
    with log.open("ab") as said:
        process = forked.start([str(w) for w in (sys.executable, KILLED, below, at, *words)], said, os.environ)
        code = process.wait(120)
    assert code in (0, -signal.SIGKILL), log.read_text()
    return code != 0


def test_a_store_killed_at_any_file_that_its_growth_changes(
    beamtime: Growing, two_states: Path, tmp_path: Path
) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    work, at, kills, grew = Work.beside(store), 1, 0, 0
    while not grew or work.noted("growing") is not None:
        assert killed(beamtime, store, tmp_path, at)
        at, kills, grew = at + STRIDE, kills + 1, grew + (work.noted("growing") is not None)
        told = status(store)
        assert told.damaged == ()
        assert told.complete == (attributes(store)["identity"]["states"] == ["pristine", "4.2 V"])
    print(f"killed {kills} times, {grew} of them while it grew")
    assert grew >= 3
    beamtime.grown(3, store)
    assert unlike(store, beamtime.store) == []


def test_a_store_killed_in_every_unit_of_a_new_state(beamtime: Growing, two_states: Path, tmp_path: Path) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    work = work_folder(store)
    for unit in units(load(beamtime.has(3).recipe)):
        if unit.name in ADDED:
            place = {
                "register": work / "results" / f".{unit.name}.",
                "track": store / "particles",
            }.get(unit.step, work / "blocks" / unit.name)
            if unit.name in ("measure-0", "measure-1"):  # of which no block is done again
                place = work / "results" / f".{unit.name}."
            assert killed(beamtime, store, place, 2), unit.name
    beamtime.grown(3, store)
    assert unlike(store, beamtime.store) == []


def test_what_the_root_tells_changes_by_one_write(
    two_states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    told: list[tuple[int, int]] = []

    def seen(path: Place, data: bytes) -> None:
        write_whole(path, data)
        found = attributes(store)  # as anybody may who looks just now
        told.append((len(found["recipe"]["states"]), len(found["identity"]["states"])))

    facts = attributes(store)
    longer = {**facts["recipe"], "states": [*facts["recipe"]["states"], {"name": "new"}]}
    with monkeypatch.context() as patched:
        patched.setattr("crackdask.store.root.write_whole", seen)
        set_attributes(
            store, {"recipe": longer, "identity": facts["identity"] | {"states": [*facts["identity"]["states"], "new"]}}
        )
    assert told == [(3, 3)]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ((0,), "lacks '4.2 V'."),
        ((1, 0), "has them in another order."),
        ((0, 2, 1), "has '3.6 V' before states that are there."),
        ((0, 2), "lacks '4.2 V' and has '3.6 V'."),
    ],
)
def test_states_that_are_removed_moved_or_renamed_are_refused(
    beamtime: Growing, two_states: Path, tmp_path: Path, order: tuple[int, ...], found: str
) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    other = Growing(tmp_path)
    other.content["states"] = [other.content["states"][number] for number in order]
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    said = other.refused(store)
    assert said.code == 2
    words = re.sub(r"\s+", " ", said.err)
    assert f"holds the states 'pristine', '4.2 V'; the recipe {found}" in words
    assert "A store grows by states added at the end" in words
    assert "or choose another --store" in words
    assert before == {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("lengthened", [0, 2, 99])
def test_growth_that_was_cut_short_goes_on_without_its_work_folder(
    beamtime: Growing, two_states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengthened: int
) -> None:
    """Some arrays are longer then, and others are not."""
    store = copied(two_states, tmp_path / "a.zarr")
    longer, calls = growth._lengthen, iter(range(100))

    def lengthen(*words: Any) -> None:
        if next(calls) == lengthened:
            raise KeyboardInterrupt
        longer(*words)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(growth, "_lengthen", lengthen)
        patched.setattr(growth, "add_coordinates", dies)
        with pytest.raises(KeyboardInterrupt):
            beamtime.grown(3, store)
    shutil.rmtree(work_folder(store))
    outcome, _ = beamtime.grown(3, store)
    assert not outcome.failures
    assert unlike(store, beamtime.store) == []


def test_two_runs_that_would_grow_one_store(beamtime: Growing, two_states: Path, tmp_path: Path) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    with Work.beside(store).held():
        beamtime.has(3)
        said = beamtime.refused(store)
    assert said.code == 2
    assert "another run is writing" in said.err
    assert attributes(store)["identity"]["states"] == ["pristine", "4.2 V"]


def test_metadata_that_is_damaged_while_a_store_grows_is_made_anew(
    beamtime: Growing, two_states: Path, tmp_path: Path
) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    (store / "volumes" / "grey" / "zarr.json").write_text("{")
    beamtime.grown(3, store)
    assert unlike(store, beamtime.store) == []


def test_it_grows_without_what_its_run_kept(beamtime: Growing, two_states: Path, tmp_path: Path) -> None:
    store = copied(two_states, tmp_path / "a.zarr")
    for path in (work_folder(store) / "volumes").rglob("*"):  # as a store of before it could grow
        if path.is_file():
            path.unlink()
    for path in (work_folder(store) / "volumes").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    beamtime.grown(3, store)
    assert unlike(store, beamtime.store) == []
