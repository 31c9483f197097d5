"""The full field of the explorer's benchmark, small and without a look at the clock: it is a store like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import crackdask
from crackdask.store.root import attributes
from tests.support.explored import Asker, served

from .full_field import make


def test_an_invented_field_is_served_as_any_store(tmp_path: Path) -> None:
    store, shape = tmp_path / "field.zarr", (70, 200, 330)
    make(store, shape, particles=400)
    assert attributes(store)["complete"]
    tree = crackdask.open(store)
    grey = tree["volumes"].to_dataset().grey
    assert np.asarray(grey[1, 69]).max() > 150
    with served(store) as held:
        ask = Asker(held)
        told = ask.json("api/layout")
        assert told["shape"] == list(shape)
        assert told["stored_levels"] == told["levels"] > 2
        for level in range(told["levels"]):
            words = {"plane": "xz", "index": 100, "level": level, "row": 0, "column": 0, "state": 1}
            label = ask.array("api/tile", "uint32", volume="label", **words)
            assert label.shape == tuple(min(256, -(-n // 2**level)) for n in (70, 330))
            assert label.any() or level
        damage = ask.array("api/column", "float32", column="damage.damage", state=1)
        assert damage.size == 401
        assert np.isfinite(damage).sum() > 300
        assert ask("api/strip", label=7, plane="xy").code == 200
