"""The table of cracks counts only for the run that it was made from, and one passing error does not end it."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import crackdask
from crackdask.analysis.cracks import origin, table
from crackdask.analysis.parameters import AnalysisError
from crackdask.engine.crack_table import write_cracks
from crackdask.engine.executors import Serial
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
