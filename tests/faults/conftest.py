"""What the fault suite shares: scans, one undisturbed run, and the counts of what was done to all the others."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crackdask.phantom import Phantom, states
from crackdask.store.root import attributes
from tests.faults.harness import COUNTS, CUT, Lab, Moments, chance
from tests.support.experiment import Experiment

PHANTOM = Phantom(
    shape=(26, 36, 40),
    states=states(2),
    seed=3,
    dtype="uint16",
    max_shift=2.0,
    radius_median=5.0,
    radius_range=(4.0, 7.0),
)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a run on two workers that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    experiment = Experiment.make(folder / "scans", PHANTOM)
    experiment.write("recipe.toml", CUT)
    lab = Lab(folder, experiment)
    try:
        lab.finish("--cluster", "local", "--workers", "2")
    finally:
        lab.end()
    lab.wanted = lab.store
    assert lab.check_lost(in_flight=0) == 0
    lab.check_same()
    return lab


@pytest.fixture
def lab(undisturbed: Lab, tmp_path: Path) -> Iterator[Lab]:
    """Return a folder with the same scans, for a run that something will happen to."""
    scans = tmp_path / "scans"
    shutil.copytree(undisturbed.experiment.folder, scans)
    made = Lab(tmp_path, Experiment(scans), undisturbed.store)
    yield made
    made.end()


@pytest.fixture
def moments(undisturbed: Lab, lab: Lab, request: pytest.FixtureRequest) -> Moments:
    """Return random moments in the run of this test."""
    blocks = Counter(block.split()[0] for word, _, block in undisturbed.lines() if word == "begin")
    steps = attributes(undisturbed.store)["steps"]
    seconds = {unit: facts["seconds"] for unit, facts in steps.items()}
    return Moments(lab, chance(request.node.name), blocks, seconds)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was done to the runs, and what became of them."""
    if COUNTS.runs_compared:
        terminalreporter.write_sep("-", "faults")
        terminalreporter.write_line(
            f"{COUNTS.kills} kills, {COUNTS.cuts} cuts, {COUNTS.faults} faults; {COUNTS.runs_compared} runs compared "
            f"with an undisturbed one: {COUNTS.recomputed} blocks recomputed, {COUNTS.bytes_lost} bytes lost, "
            f"{COUNTS.results_that_differ} results that differ"
        )
