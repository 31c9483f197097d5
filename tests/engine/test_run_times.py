"""What is expected of a run follows from those before it on the machine, and never stands in the way of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crackdask.engine.run_times import KEPT, RunTime, learned, path, remember, remembered
from tests.support.tiny import Tiny

seconds = st.floats(0.5, 1e5)
#: What runs of one machine took: quiet and busy ones of tests and of whole experiments, (expected, took, waited).
SEEN = [
    (1.87, 3.2, 0.0), (1.87, 25.6, 0.0), (1.93, 33.9, 0.0), (1.87, 22.4, 0.0), (11.0, 66.1, 0.0), (14.7, 17.2, 0.0),
    (29.4, 21.9, 0.0), (37.2, 144.3, 0.79), (37.2, 117.8, 0.0), (42.8, 97.0, 0.0), (42.8, 77.0, 0.56),
]  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRACKDASK_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_whole_run_is_remembered_and_check_learns_from_it(
    tiny: Tiny, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiles = iter([False, True, False])
    monkeypatch.setattr("crackdask.cli.run.say_what_is_awaited", lambda: next(compiles))
    assert "on this machine" not in tiny.crackdask("check", tiny.recipe).out
    assert tiny.run("--until", "mask").code == 0
    assert remembered() == []  # a part of a run says nothing of a whole one
    first = Tiny(tiny.folder)
    first.store = tiny.folder / "first.zarr"
    assert first.run().code == 0
    assert remembered() == []  # nor one that compiled its kernels
    again = Tiny(tiny.folder)
    again.store = tiny.folder / "again.zarr"
    assert again.run().code == 0
    (run,) = remembered()
    assert run.like == "nlm 3 1"
    assert 0.1 < run.undisturbed <= run.took < 200
    said = tiny.crackdask("check", tiny.recipe).out
    assert "as 1 run on this machine tells" in said
    assert str(tiny.folder) not in path().read_text()
    assert again.run().code == 0  # nothing to do
    assert len(remembered()) == 1


@example(start=0.0, rate=0.25, sizes=[1.0, 1.5])
@given(start=st.floats(0, 60), rate=st.floats(0.2, 5), sizes=st.lists(st.floats(1, 1e4), min_size=2, max_size=8))
def test_runs_that_follow_a_rule_tell_it(start: float, rate: float, sizes: list[float]) -> None:
    runs = [RunTime("nlm", size, start + rate * size) for size in sizes]
    for size in sizes:
        found, count = learned("nlm", size, runs)
        assert 1 <= count <= len(sizes)
        assert (start + rate * size) / 2 < found < 2 * (start + rate * size)


@pytest.mark.parametrize(("expected", "took"), [(1.87, 4.0), (14.7, 17.0), (40.0, 31.0), (924.8, 770.0)])
def test_busy_runs_of_tests_do_not_decide_what_a_large_one_takes(expected: float, took: float) -> None:
    """Nor a busy one of its own size, beside quicker ones; measured on a machine that was quiet then."""
    for busy in ([], [(924.8, 1900.0, 0.55)], [(924.8, 2600.0, 0.0), (924.8, 800.0, 0.02)]):
        runs = [RunTime("nlm", *each) for each in [*SEEN, *busy]]
        assert took / 2 < learned("nlm", expected, runs)[0] < 2 * took


def test_what_a_slower_machine_takes_is_learned_in_a_run(cache: Path) -> None:
    slow = [RunTime("nlm", 10.0, 90.0), RunTime("nlm", 1000.0, 6000.0)]
    for run in slow:
        assert learned("nlm", run.expected, slow)[0] == pytest.approx(run.took)


def test_only_the_latest_of_a_size_count() -> None:
    before = [RunTime("nlm", 100.0, 50.0)] + [RunTime("nlm", 110.0, 140.0)] * 5
    found, count = learned("nlm", 100.0, before)
    assert found == pytest.approx(130, rel=0.1)
    assert count == 5


@given(runs=st.lists(st.builds(RunTime, st.just("nlm"), seconds, seconds), min_size=1, max_size=6), expected=seconds)
def test_whatever_runs_took_a_time_is_told(runs: list[RunTime], expected: float) -> None:
    found, _ = learned("nlm", expected, runs)
    assert found > 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"{}",
        b"[1]",
        b'[{"like": "nlm"}]',
        b'[{"like": 1, "expected": -1, "took": "x"}]',
        b'[{"like": "nlm", "expected": 1, "took": 1, "waited": "much"}]',
    ],
)
def test_a_file_that_holds_something_else_is_written_over(cache: Path, content: bytes) -> None:
    cache.mkdir()
    path().write_bytes(content)
    assert remembered() == []
    remember(RunTime("nlm", 1.0, 2.0))
    assert remembered() == [RunTime("nlm", 1.0, 2.0)]


def test_only_the_latest_are_kept(cache: Path) -> None:
    for number in range(KEPT + 3):
        remember(RunTime("nlm", 1.0, 1.0 + number))
    assert [run.took for run in remembered()] == [1.0 + number for number in range(3, KEPT + 3)]
    assert set(json.loads(path().read_text())[0]) == {"like", "expected", "took", "waited"}


def test_without_a_place_nothing_is_learned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CRACKDASK_CACHE_DIR", str(tmp_path / "file" / "below"))
    remember(RunTime("nlm", 1.0, 2.0))
    assert remembered() == []
