"""The benchmarks of whole runs and of the engine, once at a small size and without a look at the clock."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from crackdask.blocks.passes import Block, Result
from crackdask.grid import Grid
from crackdask.phantom import Phantom, states, write

from . import engine
from .whole import halved, ours, quality, theirs

SMALL = Phantom(shape=(48, 72, 72), states=states(2), seed=1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(SMALL, tmp_path_factory.mktemp("whole"))


def test_both_ways_find_the_particles(recipe: Path, tmp_path: Path) -> None:
    for finish in (ours(recipe, tmp_path, 1, keep=True), theirs(recipe, tmp_path)):
        assert finish.peak > 2**27
        print(quality(finish, SMALL))
        score = float(quality(finish, SMALL).split()[1].rstrip(","))
        assert score > 0.7, "most particles of so small a field are cut by its border, yet most are found"


def test_the_engine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block is done, and the time told is that of one of them."""
    grid, done = Grid((64, 64, 80), (16, 16, 16)), list[int]()

    def noted(block: Block) -> Result:
        done.append(block.number)
        return Result()

    monkeypatch.setattr(engine, "nothing", noted)
    began = time.perf_counter()
    seconds, *_ = engine.overhead(grid, "synchronous", 1)
    took = time.perf_counter() - began
    assert sorted(done) == sorted([*range(4**3), *range(len(grid))])
    assert 0 < seconds * len(grid) < took


def test_an_eighth() -> None:
    assert halved((8, 4, 2)) == (4, 2, 1)
