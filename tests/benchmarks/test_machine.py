"""What is told of the machine at hand, without a look at how fast it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import harness, machine
from .__main__ import found, verdict
from .harness import Ratio
from .machine import Peak, Work


def test_the_longer_of_arithmetic_and_memory_counts() -> None:
    peak = Peak(operations=1e9, bytes=1e6)
    assert peak.seconds(Work(operations=2e9, bytes=1e6)) == 2
    assert peak.seconds(Work(operations=2e9, bytes=5e6)) == 5


def test_figures_of_this_cpu_are_kept_beside_those_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text('{"another": {"labels": 3.0}}')
    monkeypatch.setattr(machine, "_FIGURES", figures)
    assert machine.figures() == {}
    machine.keep({"labels": 28.111, "nlm": 50.0})
    machine.keep({"nlm": 60.0})
    assert machine.figures() == {"labels": 28.11, "nlm": 60.0}
    assert json.loads(figures.read_text())["another"] == {"labels": 3.0}


def test_figures_of_the_repository_are_of_benchmarks_that_are_there() -> None:
    names = {bench.name for bench in found()}
    for cpu, ratios in json.loads(Path(machine._FIGURES).read_text()).items():
        assert ", family " in cpu
        assert set(ratios) <= names


def test_a_line_tells_the_share_of_the_peak_and_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "peak", lambda: Peak(operations=1e9, bytes=1e9))
    bench = next(bench for bench in found() if bench.name == "labels_whole")
    ratio = Ratio(bench.name, times=12.0, worst=1, best=20, seconds=2 * 21 * bench.size**3 / 1e9)
    assert verdict(bench, ratio, None, 10.0).endswith("aim         50%  10.0x (+20%)")
    assert verdict(bench, ratio, None, None).endswith("50%")
    assert machine.cpu()
