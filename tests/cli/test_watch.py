"""A run that waits takes scans without the cell's record while that is not there, and the record when it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import crackdask as package
from crackdask.cli.options import WatchOptions
from crackdask.cli.watch import watched
from crackdask.engine.arrivals import Arrivals
from crackdask.engine.scans import Scans
from crackdask.engine.state_hook import StateHook
from crackdask.phantom.cell_record import cell_record, write_mpt
from crackdask.phantom.cell_states import FIVE_STATES
from crackdask.recipe.recipe import RecipeError, load
from tests.support.growing import Growing
from tests.support.tiny import Tiny, crackdask


def test_the_record_of_the_cell_may_come_later_than_the_scans(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 3, electrochemistry={"files": ["cell.mpt"]})
    (tmp_path / "scans" / "c").rename(tmp_path / "later")
    recipe = load(growing.recipe)
    ran: list[tuple[int, bool]] = []

    def run(scans: Scans) -> bool:
        ran.append((len(scans.recipe.states), scans.recipe.electrochemistry is not None))
        if len(ran) == 1:
            (tmp_path / "cell.mpt").write_text("EC-Lab ASCII FILE\nNb header lines : 3\ntime/s\tEwe/V\tI/mA\n")
            write_mpt(cell_record(FIVE_STATES[:2]), tmp_path / "cell.mpt")
        if len(ran) == 2:
            shutil.copytree(tmp_path / "later", tmp_path / "scans" / "c")
        return True

    options = WatchOptions(watch=True, settle=0.05, until_state=None, on_state=None)
    assert watched(recipe, tmp_path, growing.store, options, StateHook(None, growing.store, print), run)
    assert ran == [(2, False), (2, True), (3, True)]


def test_states_that_came_meanwhile_are_told_of_one_after_the_other(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 5)
    for name in "cde":
        (tmp_path / "scans" / name).rename(tmp_path / name)
    ran: list[int] = []

    def run(scans: Scans) -> bool:
        ran.append(len(scans.recipe.states))
        if len(ran) == 1:
            for name in "cde":
                (tmp_path / name).rename(tmp_path / "scans" / name)
        return True

    options = WatchOptions(watch=True, settle=0.1, until_state=None, on_state=None)
    hook = StateHook(None, growing.store, print)
    assert watched(load(growing.recipe), tmp_path, growing.store, options, hook, run)
    assert ran == [2, 3, 4, 5]


def test_a_scan_that_vanishes_after_it_was_there_is_waited_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    growing = Growing(tmp_path, 2)
    recipe, ran = load(growing.recipe), list[int]()
    first, other = (tmp_path / "scans" / name for name in "ab")
    sound, looks = Arrivals.look, iter(range(10_000))

    def looked(arrivals: Arrivals) -> list[str]:
        words, look = sound(arrivals), next(looks)
        if arrivals.there == 2 and first.exists() and not ran:  # as where scans are moved on just now
            first.rename(tmp_path / "moved")
            (other / "slice_0007.tif").rename(tmp_path / "slice")
        elif not first.exists() and look > 8:
            (tmp_path / "moved").rename(first)
            (tmp_path / "slice").rename(other / "slice_0007.tif")
            ran.append(0)
        return words

    def run(scans: Scans) -> bool:
        ran.append(len(scans.recipe.states))
        return True

    monkeypatch.setattr(Arrivals, "look", looked)
    options = WatchOptions(watch=True, settle=0.1, until_state=None, on_state=None)
    assert watched(recipe, tmp_path, growing.store, options, StateHook(None, growing.store, print), run)
    assert ran in ([0, 2], [0, 1, 2])
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("waiting again: 2 of 2 scans cannot be used") == 1
    assert "scans/a: no such file or folder" in told


def test_scans_that_do_not_go_together_end_it(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 2)
    growing.content["states"][1]["source"] = "scans/a"
    options = WatchOptions(watch=True, settle=0.1, until_state=None, on_state=None)
    with pytest.raises(RecipeError, match="scans/a"):
        watched(load(growing.recipe), tmp_path, growing.store, options, StateHook(None, growing.store, print), bool)


def test_a_record_that_never_comes_is_told(ran: Tiny) -> None:
    ran.change("electrochemistry", files=["cell.mpt"])
    words: list[str | Path] = [
        "run",
        ran.recipe,
        "--store",
        ran.store,
        "--cluster",
        "synchronous",
        "--watch",
        "--settle",
        "0.1",
    ]
    said = crackdask(*words)
    assert said.code == 0, said.err
    assert "taking states without the cell's record for now: electrochemistry.files: there is no file" in " ".join(
        said.out.split()
    )
    assert "the store lacks the cell's record" in said.out
    (ran.folder / "cell.mpt").write_text("time/s,Ewe/V,I/mA\n")
    said = crackdask(*words)
    assert said.code == 0
    assert "found no table of numbers" in said.out
    write_mpt(cell_record(FIVE_STATES[:2]), ran.folder / "cell.mpt")
    said = crackdask(*words)
    assert said.code == 0, said.err
    assert "lacks" not in said.out
    assert "electrochemistry" in package.open(ran.store).children


def test_a_store_that_was_removed_and_made_again_is_told_of_again(ran: Tiny) -> None:
    told = ran.folder / "told"
    words = ("--on-state", f'echo "$CRACKDASK_STATE" >> {told}')
    assert ran.run(*words).code == 0
    assert sorted(told.read_text().split("\n")) == ["", "4.2 V", "pristine"]  # all are begun at once
    assert ran.run(*words).code == 0
    assert len(told.read_text().split("\n")) == 3
    shutil.rmtree(ran.store)
    assert ran.run(*words).code == 0
    assert sorted(told.read_text().split("\n")) == ["", *["4.2 V"] * 2, *["pristine"] * 2]
