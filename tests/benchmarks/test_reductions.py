"""The reductions of a field whose tallies are repeated, at a small size and without a look at the clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crackdask.engine.checkpoints import Work
from crackdask.engine.table_writer import WORK_TABLES

from . import reductions
from .reductions import field_costs

EDGE, COUNTS = 80, (3, 3, 4)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the reductions of a small field, among 36 blocks and among 27."""
    folder = tmp_path_factory.mktemp("field")
    costs = field_costs(EDGE, COUNTS, folder, 2, alone=False, keep=folder / "kept")
    assert len(costs) == 15
    return folder


def test_more_blocks_are_more_of_the_same(place: Path) -> None:
    """Reduced, a field of 36 blocks holds 36 / 27 times what one of 27 holds: nothing is lost between blocks."""
    for unit, table in (
        ("labels-0", "peaks"), ("labels-0", "highest"), ("transfer-1", "peaks"), ("measure-1", "particle_a"),
        ("mask-1", "holes"), ("transfer-1", "cutting"), ("transfer-1", "label_of_node"), ("transfer-1", "cut_rim"),
    ):  # fmt: skip
        few, more = (len(np.load(place / size / "known" / unit / f"{table}.npy")) for size in ("mini", "whole"))
        assert few > 27, (unit, table)
        # At the ends of a field holes are open, and basins are cut otherwise.
        exact = table not in ("holes", "cutting", "label_of_node", "cut_rim")
        assert more == pytest.approx(36 / 27 * few, rel=0 if exact else 0.25), (unit, table)


def test_particles_are_those_of_the_tile(place: Path) -> None:
    """Each particle of the tile is in the tables as often as there are blocks, with its voxels and grey levels."""
    few, more = (Work(place / size).part(WORK_TABLES, 1, 1) for size in ("mini", "whole"))
    for column in ("particles.voxels", "particles.grey_mean", "particles.n_contacts"):
        one, times = np.unique(few[column][~np.isnan(few[column].astype(float))], return_counts=True)
        other, again = np.unique(more[column][~np.isnan(more[column].astype(float))], return_counts=True)
        assert one.size > 3
        assert np.array_equal(one, other)
        assert np.array_equal(times * 36, again * 27)
    assert (few["particles.voxels"] == 0).any(), "one particle vanishes, so its seed is carried on"


def test_a_process_of_its_own_tells_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a process of its own took is told as a row."""
    around, units, facts = reductions.on_one_tile(EDGE)
    reductions.begin(tmp_path, around, units, facts)
    unit = units[0]
    np.save(tmp_path / "known" / unit.name / "threshold.npy", unit.tables["threshold"])
    size = reductions.write_records(Work(tmp_path), unit, unit.passes[0], around, unit.tables)
    cost = reductions._cost(unit.name, unit.passes[0].name, [tmp_path], size, alone=True)
    assert cost.seconds > 0
    assert "mask-0 threshold" in str(cost)


def test_a_rehearsal_does_all_blocks_of_all_steps(place: Path) -> None:
    """Two states on four workers that sleep, a thousand times faster than a core is."""
    from tests.benchmarks.rehearsal import rehearsed  # by the name that workers can import it by

    went = rehearsed(place, 4, 2, speed=1000)
    # Of both states read, grey, denoise, mask (3 passes), measure, levels and sharpness; labels; transfer.
    assert went.blocks == 36 * (2 * 9 + 3 + 4)
    assert 0 < went.share < 1
    assert went.reductions > 0
    assert "4 workers, 2 states" in str(went)
