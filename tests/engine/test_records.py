"""What a record keeps of named arrays, with the oldest numpy too."""

from __future__ import annotations

import numpy as np
import pytest

from crackdask.engine.records import pack, unpack


def test_a_record_holds_the_arrays_that_it_was_given_and_nothing_else() -> None:
    tally = {"voxels": np.arange(5, dtype=np.uint32), "mean": np.array([0.5, np.nan]), "none": np.zeros((0, 3))}
    kept = unpack(pack(tally))
    assert list(kept) == list(tally)
    for name, values in tally.items():
        assert kept[name].dtype == values.dtype
        np.testing.assert_array_equal(kept[name], values)


def test_objects_are_refused_before_they_are_pickled() -> None:
    with pytest.raises(ValueError, match="tally holds Python objects"):
        pack({"tally": np.array([{}], object)})
