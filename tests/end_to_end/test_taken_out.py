"""States that were added and never finished are taken out of a store again: it is then what it was before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crackdask.cluster.launch import connect
from crackdask.engine import growth
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import load
from crackdask.sources import SourceError
from crackdask.store import root
from crackdask.store.root import attributes
from tests.support.growing import Growing
from tests.support.silence import Silent
from tests.support.store_files import copied, unlike
from tests.support.tiny import scan, write_slices


def test_a_store_that_was_about_to_grow_goes_back(
    beamtime: Growing, two_states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied(two_states, tmp_path / "a.zarr")

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(growth, "end", dies)
        with pytest.raises(KeyboardInterrupt):
            beamtime.grown(3, store)
    beamtime.grown(2, store)
    assert unlike(store, two_states) == []
    beamtime.grown(3, store)
    assert unlike(store, beamtime.store) == []


def blank(folder: Path) -> Growing:
    """Return an experiment of which the third scan holds nothing."""
    other = Growing(folder)
    write_slices(folder / "scans" / "c", np.full_like(scan(2), 7))
    return other


def test_a_state_whose_scan_is_none_may_be_taken_out(beamtime: Growing, tmp_path: Path) -> None:
    store, other = tmp_path / "a.zarr", blank(tmp_path)
    other.grown(2, store)
    before = copied(store, tmp_path / "before.zarr")
    with pytest.raises(SourceError, match="every voxel is 7"):
        other.grown(3, store)
    assert attributes(store)["identity"]["states"] == ["pristine", "4.2 V", "3.6 V"]
    outcome, _ = other.grown(2, store)
    assert outcome.done == ()
    assert unlike(store, before) == []
    with pytest.raises(SourceError, match="every voxel is 7"):
        other.grown(3, store)
    other.content["states"][2] |= {"name": "again", "source": str(beamtime.folder / "scans" / "c")}
    scans = Scans.of(load(other.recipe), tmp_path)
    with connect("synchronous", 1, scans.recipe.compute.memory) as executor:
        run, alone = Run(scans, store, executor, Silent()), Run(scans, tmp_path / "alone.zarr", executor, Silent())
        assert not run().failures
        assert not alone().failures
    assert unlike(store, tmp_path / "alone.zarr") == []


def test_states_are_taken_out_whenever_that_is_killed(
    beamtime: Growing, two_states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = copied(two_states, tmp_path / "half.zarr")
    beamtime.grown(3, half, "levels")

    def killed_after(calls: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
        left = iter(range(calls))

        def wrapped(function: Callable[..., None]) -> Callable[..., None]:
            def called(*words: Any) -> None:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                function(*words)

            return called

        return wrapped

    for number, calls in enumerate((0, 4, 9)):
        store = copied(half, tmp_path / f"{number}.zarr")
        with monkeypatch.context() as patched:
            wrapped = killed_after(calls)
            for module, name in ((growth, "remove"), (growth, "_lengthen"), (root, "set_attributes")):
                patched.setattr(module, name, wrapped(getattr(module, name)))
            with suppress(KeyboardInterrupt):
                beamtime.grown(2, store)
        if number % 2:
            beamtime.grown(2, store)
            assert unlike(store, two_states) == []
        beamtime.grown(3, store)
        assert unlike(store, beamtime.store) == []
