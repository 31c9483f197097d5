"""The table of cracks counts only for the run that it was made from, and one passing error does not end it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import crackdask
from crackdask.analysis.cracks import origin, table
from crackdask.analysis.parameters import AnalysisError
from crackdask.engine.crack_table import BlockError, write_cracks
from crackdask.engine.executors import Serial
from crackdask.store.root import StoreError
from tests.support.silence import Silent
from tests.support.tiny import Tiny


@pytest.mark.parametrize("reference", ["pristine", "4.2 V"])
def test_a_table_of_before_a_rerun_is_stale_whichever_state_is_the_reference(tmp_path: Path, reference: str) -> None:
    tiny = Tiny(tmp_path)
    tiny.change("register", reference=reference)
    assert tiny.run().code == 0
    assert write_cracks(tiny.store, Serial(), Silent(), void_grey=30.0)[0] == ["pristine", "4.2 V"]
    assert table(crackdask.open(tiny.store)).computed.values.all()
    tiny.change("mask", threshold=110.0)
    assert tiny.run().code == 0
    with pytest.raises(AnalysisError, match="the store was run again since"):
        table(crackdask.open(tiny.store))
    assert write_cracks(tiny.store, Serial(), Silent(), void_grey=30.0) == (["pristine", "4.2 V"], [])


def test_the_origin_is_that_of_the_tables_whatever_else_is_remembered() -> None:
    tree = xr.DataTree()
    assert origin(tree) == ""
    tree.attrs["steps"] = {"measure-1": {"fingerprint": "other"}, "track-1": {"fingerprint": "mine"}}
    assert origin(tree) == "mine"
    tree.attrs["steps"] = {"tracking-1": {"fingerprint": "other"}, "track-12": {"fingerprint": "mine"}}
    assert origin(tree) == "mine"


@dataclass(frozen=True)
class Passing(Serial):
    """Workers on which every block fails, as often as `times`."""

    error: type[Exception] = RuntimeError
    times: int = 1
    tries: Counter[tuple[int, int]] = field(default_factory=Counter)

    def map(
        self, function: Callable[[Any], Any], jobs: Iterable[Any], called: Callable[[Any], str] | None = None
    ) -> Iterator[tuple[Any, Any]]:
        for job in jobs:
            self.tries[job.state, job.number] += 1
            fails = self.tries[job.state, job.number] <= self.times
            yield job, self.error("a bad moment") if fails else function(job)


@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_an_error_that_passes_does_not_end_the_cracks(ran: Tiny, error: type[Exception]) -> None:
    workers, progress = Passing(error=error), Silent()
    assert write_cracks(ran.store, workers, progress, block=(8, 8, 8), void_grey=30.0)[0] == ["pristine", "4.2 V"]
    assert set(workers.tries.values()) == {2}
    assert len(workers.tries) > 2
    assert [again for *_, again in progress.failures] == [True] * len(workers.tries)
    passed = table(crackdask.open(ran.store)).load()
    assert passed.computed.values.all()
    shutil.rmtree(ran.store / "cracks")
    write_cracks(ran.store, Serial(), Silent(), void_grey=30.0)
    xr.testing.assert_identical(passed, table(crackdask.open(ran.store)).load())


@pytest.mark.parametrize(
    ("error", "raised", "tries"), [(RuntimeError, BlockError, 3), (OSError, OSError, 3), (StoreError, StoreError, 1)]
)
def test_an_error_that_stays_ends_them(ran: Tiny, error: type[Exception], raised: type[Exception], tries: int) -> None:
    workers = Passing(error=error, times=99)
    with pytest.raises(raised, match="a bad moment"):
        write_cracks(ran.store, workers, Silent(), void_grey=30.0)
    assert max(workers.tries.values()) == tries
