"""The cell's record goes into the store, states are linked to it or told, and nothing else changes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import crackdask
from crackdask import analyse
from crackdask.phantom.cell_record import START, cell_record, write_mpt
from crackdask.phantom.cell_states import FIVE_STATES
from tests.support import forked
from tests.support.store_files import copied, unlike, work_folder
from tests.support.tiny import Tiny

KILLED = Path(__file__).parents[1] / "support" / "killed.py"
TRUE = cell_record(FIVE_STATES[:2])


def with_cell(tiny: Tiny, **keys: object) -> None:
    write_mpt(TRUE, tiny.folder / "cell.mpt")
    tiny.change("electrochemistry", files=["cell.mpt"], **keys)


def test_a_cell_is_added_to_a_finished_store_and_taken_out_again(ran: Tiny) -> None:
    before = {path: path.stat().st_mtime_ns for path in (ran.store / "volumes").rglob("c/*/*/*/*")}
    alone = ran.contents(ran.store)
    with_cell(ran, active_mass_mg=10.0)
    said = ran.run()
    assert said.code == 0, said.err
    assert before == {path: path.stat().st_mtime_ns for path in (ran.store / "volumes").rglob("c/*/*/*/*")}
    store = crackdask.open(ran.store)
    record = analyse.cell_record(store)
    assert [str(by) for by in record.linked_by.values] == ["rest", "rest"]
    np.testing.assert_allclose(record.scan_charge, TRUE.charges, atol=1e-3 * max(TRUE.charges))
    np.testing.assert_allclose(record.specific_charge, 100 * record.charge)
    assert record.attrs["start"] == START.isoformat()
    steps = analyse.incremental_capacity(store)
    summed = float((steps.dq_dv * 0.01).sum())
    assert summed == pytest.approx(np.ptp(TRUE.charges), rel=0.02)  # less the last interval
    told = {k: v for k, v in ran.contents(ran.store).items() if not k.startswith("electrochemistry/")}
    assert told.keys() == alone.keys()
    for name, values in told.items():
        np.testing.assert_array_equal(values, alone[name], err_msg=name)
    del ran.content["electrochemistry"]
    assert ran.run().code == 0
    assert "electrochemistry" not in crackdask.open(ran.store).children


def test_a_longer_file_makes_only_the_tables_anew(ran: Tiny) -> None:
    with_cell(ran)
    assert ran.run().code == 0
    write_mpt(cell_record(FIVE_STATES), ran.folder / "cell.mpt")
    said = ran.run()
    assert said.code == 0, said.err
    assert analyse.cell_record(crackdask.open(ran.store)).time[-1] > TRUE.table.time.iloc[-1]
    assert ran.run().out.count("nothing to do") == 1


# ---------------------------------------------------------------- without the work folder


@pytest.fixture(scope="module")
def recorded(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished store with a record; look, do not touch."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copytree(finished.folder / "scans", folder / "scans")
    tiny = Tiny(folder)
    copied(finished.store, tiny.store)
    with_cell(tiny)
    assert tiny.run().code == 0
    return tiny


@pytest.fixture
def alone(recorded: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of it without its work folder."""
    shutil.copytree(recorded.folder / "scans", tmp_path / "scans")
    tiny = Tiny(tmp_path)
    shutil.copytree(recorded.store, tiny.store, symlinks=True)
    with_cell(tiny)
    return tiny


def longer(tiny: Tiny) -> None:
    """Let the cell go on."""
    write_mpt(cell_record(FIVE_STATES), tiny.folder / "cell.mpt")


def named_otherwise(tiny: Tiny) -> None:
    tiny.content["states"][1] |= {"time": (START + timedelta(days=30)).isoformat()}


def without(tiny: Tiny) -> None:
    del tiny.content["electrochemistry"]


def removed(tiny: Tiny) -> None:
    shutil.rmtree(tiny.store / "electrochemistry")


@pytest.mark.parametrize("changed", [longer, named_otherwise, without, removed])
def test_without_its_work_folder_a_store_gets_another_record_and_nothing_else(
    recorded: Tiny, alone: Tiny, tmp_path: Path, changed: Callable[[Tiny], None]
) -> None:
    changed(alone)
    before = {path: path.stat().st_mtime_ns for path in alone.store.rglob("c/*") if "electrochemistry" not in str(path)}
    said = alone.run()
    assert said.code == 0, said.err
    done = {line.split()[1] for line in said.out.splitlines() if line.startswith("done ")}
    assert done == {"track"} if changed is without else {"electrochemistry", "track"}
    after = {path: path.stat().st_mtime_ns for path in alone.store.rglob("c/*") if "electrochemistry" not in str(path)}
    assert before == after
    assert "nothing to do" in alone.run().out
    assert "complete" in alone.crackdask("status", alone.store).out
    assert not (work_folder(alone.store) / "results").exists(), "which would say that all else is lost"
    whole = copied(recorded.store, tmp_path / "whole.zarr")
    if changed is not removed:
        assert alone.crackdask("run", alone.recipe, "--store", whole, "--cluster", "synchronous").code == 0
    assert unlike(alone.store, whole) == []


def test_a_record_that_is_killed_on_its_way_goes_on(recorded: Tiny, alone: Tiny, tmp_path: Path) -> None:
    """Killed again and again, each time a few files later."""
    longer(alone)
    whole = copied(recorded.store, tmp_path / "whole.zarr")
    words = [
        sys.executable,
        KILLED,
        alone.store,
        "run",
        alone.recipe,
        "--store",
        alone.store,
        "--cluster",
        "synchronous",
    ]
    found = []
    for at in (3, 14, 26, 38):
        with (tmp_path / "log").open("wb") as log:
            process = forked.start([str(w) for w in (*words[:3], at, *words[3:])], log, os.environ)
            found.append(process.wait(120))
        if found[-1] == 0:
            break
    assert found[:3] == [-signal.SIGKILL] * 3, (tmp_path / "log").read_text()
    said = alone.run()
    assert said.code == 0, said.err
    done = {line.split()[1] for line in said.out.splitlines() if line.startswith("done ")}
    assert done <= {"electrochemistry", "track"}
    assert alone.crackdask("run", alone.recipe, "--store", whole, "--cluster", "synchronous").code == 0
    assert unlike(alone.store, whole) == []


def test_other_tables_that_are_damaged_are_not_vouched_for(alone: Tiny) -> None:
    longer(alone)
    shutil.rmtree(alone.store / "contacts")
    said = alone.run()
    assert said.code == 0, said.err
    assert "done denoise" in said.out


def test_check_shows_links_and_why_there_is_none(tiny: Tiny) -> None:
    with_cell(tiny)
    tiny.content["states"][1]["voltage"] = 4.3
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 0
    shown = " ".join(said.out.split())
    assert "3.000 to 4.200 V" in shown
    assert "the only rest before the first charge that fits" in shown
    assert "not linked: the record goes from 3.000 to 4.200 V and never is at 4.3 V" in shown


def test_check_says_by_which_clocks_times_are_compared(tiny: Tiny) -> None:
    with_cell(tiny)
    tiny.content["states"][1]["time"] = f"{(START + timedelta(seconds=TRUE.scans[1][0] + 60)).isoformat()}+01:00"
    shown = " ".join(tiny.crackdask("check", tiny.recipe).out.split())
    assert "from 2026-03-14 08:00 by its own clock, of which no zone is told" in shown
    assert "+01:00, has an offset from UTC, and the cycler's clock has none: say which zone" in shown
    with_cell(tiny, zone="Europe/Zurich")
    shown = " ".join(tiny.crackdask("check", tiny.recipe).out.split())
    assert "from 2026-03-14 08:00+01:00," in shown
    assert "by its time in the recipe, 2026-03-14 10:23+01:00, at 4.196 V" in shown


def test_a_state_without_a_link_is_a_finding(ran: Tiny) -> None:
    with_cell(ran)
    moment = START + timedelta(days=30)
    ran.content["states"][1]["time"] = moment.isoformat()
    said = ran.run()
    assert said.code == 0, said.err
    codes = {each["code"]: each for each in crackdask.open(ran.store).attrs["findings"]}
    assert codes["not-linked"]["state"] == "4.2 V"
    assert "is not within the record" in codes["not-linked"]["text"]
    assert "linked to no moment of the cell's record" in " ".join((said.out + said.err).split())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"files": []}, "electrochemistry.files"),
        ({"files": ["nowhere.mpt"]}, "there is no file"),
        ({"files": ["empty.mpt"]}, "the file is empty"),
        ({"files": ["cell.mpt"], "active_mass_mg": -1.0}, "electrochemistry.active_mass_mg"),
        ({"files": ["cell.mpt"], "columns": {"time": "hours"}}, "no column 'hours'"),
        ({"files": ["cell.mpt"], "tolerance": 0}, "electrochemistry.tolerance"),
        ({"files": ["cell.mpt"], "dates": "swiss"}, "electrochemistry.dates"),
        ({"files": ["cell.mpt"], "zone": "Swiss"}, "electrochemistry.zone: no time zone 'Swiss' is known here"),
        ({"files": ["cell.mpt", "cell.mpt"]}, "begins"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(keys: dict[str, object], words: str, tiny: Tiny) -> None:
    write_mpt(TRUE, tiny.folder / "cell.mpt")
    (tiny.folder / "empty.mpt").touch()
    text = tiny.recipe.read_text() + "[electrochemistry]\n"
    for key, value in keys.items():
        shown = "{time = 'hours'}" if isinstance(value, dict) else repr(value)
        text += f"{key} = {shown}\n"
    path: Path = tiny.folder / "wrong.toml"
    path.write_text(text)
    said = tiny.crackdask("check", path)
    assert said.code == 2
    assert words in " ".join(said.err.split())


def test_a_scan_that_is_missing_is_told_together_with_a_file_that_cannot_be_read(tiny: Tiny) -> None:
    (tiny.folder / "cell.mpt").write_bytes(b"EC-Lab")
    tiny.change("electrochemistry", files=["cell.mpt"])
    tiny.content["states"][1]["source"] = "scans/nowhere"
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    words = " ".join(said.err.split())
    assert "states[1].source (4.2 V)" in words
    assert "cell.mpt: found no table of numbers" in words


@pytest.mark.parametrize("time", ["noon", 14, "2026-13-01T00:00:00"])
def test_a_time_that_is_none_is_told_with_its_key(time: object, tiny: Tiny) -> None:
    tiny.content["states"][0]["time"] = time
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    assert "states[0].time" in said.err
