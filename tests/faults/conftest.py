"""What the fault suite shares: scans, one undisturbed run, and stores that are done up to a step."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from crackdask.phantom import Phantom, states
from crackdask.store.root import attributes
from tests.faults.harness import CUT, Lab, Moments, chance
from tests.support.experiment import Experiment
from tests.support.shared import made_once
from tests.support.store_files import copied

PHANTOM = Phantom(
    shape=(26, 36, 40),
    states=states(2),
    seed=3,
    dtype="uint16",
    max_shift=2.0,
    radius_median=5.0,
    radius_range=(4.0, 7.0),
)


#: Where half-done stores end: all steps up to these are done for both states, and nothing of any other is begun.
HALF_DONE = ("read", "grey", "denoise", "mask", "labels", "transfer", "sharpness", "levels")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a run on two workers that nothing happened to."""

    def make(folder: Path) -> None:
        experiment = Experiment.make(folder / "scans", PHANTOM)
        experiment.write("recipe.toml", CUT)
        lab = Lab(folder, experiment)
        try:
            run = lab.run("--cluster", "local", "--workers", "2")
            assert run.wait(600) == 0, run.said  # kernels may have to be compiled
        finally:
            lab.end()

    folder = made_once(tmp_path_factory, "undisturbed", make)
    lab = Lab(folder, Experiment(folder / "scans"))
    lab.wanted = lab.store
    assert lab.check_lost(in_flight=0) == 0
    lab.check_same()
    return lab


@pytest.fixture(scope="session")
def half_done(undisturbed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with stores that a run came so far with, each with its work folder and named by its last step."""

    def make(folder: Path) -> None:
        store = folder / "on-its-way.zarr"
        for step in HALF_DONE:
            outcome, _ = undisturbed.experiment.run(store, CUT, until=step)
            assert not outcome.failures
            copied(store, folder / f"{step}.zarr")

    return made_once(tmp_path_factory, "half-done", make)


@pytest.fixture
def lab(undisturbed: Lab, half_done: Path, tmp_path: Path) -> Iterator[Lab]:
    """Return a folder with the same scans, for a run that something will happen to."""
    scans = tmp_path / "scans"
    shutil.copytree(undisturbed.experiment.folder, scans)
    made = Lab(tmp_path, Experiment(scans), undisturbed.store, half_done)
    yield made
    made.end()


@pytest.fixture
def moments(undisturbed: Lab, lab: Lab, request: pytest.FixtureRequest) -> Moments:
    """Return random moments in the run of this test."""
    blocks = Counter(block.split()[0] for word, _, block in undisturbed.lines() if word == "begin")
    steps = attributes(undisturbed.store)["steps"]
    seconds = {unit: facts["seconds"] for unit, facts in steps.items()}
    return Moments(lab, chance(request.node.name), blocks, seconds)
