"""A run that waits takes scans without the cell's record while that is not there, and the record when it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import crackdask as package
from crackdask.cli.options import WatchOptions
from crackdask.cli.watch import watched
from crackdask.engine.scans import Scans
from crackdask.engine.state_hook import StateHook
from crackdask.phantom.cell_record import cell_record, write_mpt
from crackdask.phantom.cell_states import FIVE_STATES
from crackdask.recipe.recipe import load
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
