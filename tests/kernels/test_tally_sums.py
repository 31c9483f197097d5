"""Sums of tallies: the same, whenever what waits is added up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from crackdask.kernels import tally_sums
from crackdask.kernels.tally_sums import Pairs, among


@pytest.mark.parametrize("waiting", [0, 5, 200_000])
@pytest.mark.parametrize("labels", [None, [], [3, 2**32 - 1]])
def test_pairs_add_up_whenever_they_are_settled(monkeypatch, waiting, labels):
    monkeypatch.setattr(tally_sums, "_WAITING", waiting)
    rng = np.random.default_rng(0)
    names = np.array([1, 2, 3, 9, 2**31, 2**32 - 1], np.uint32)
    pairs = Pairs(None if labels is None else np.array(labels, np.uint32))
    wanted: Counter[tuple[int, int, int]] = Counter()
    for number in (7, 0, 12, 1, 9):
        a, b = np.sort(rng.choice(names, (2, number)), axis=0)
        faces = rng.integers(0, 2**31, (number, 3)).astype(np.uint32)  # two of them are more than 32 bits hold
        pairs.add({"contact_a": a, "contact_b": b, "contact_faces": faces})
        for one, other, counts in zip(a.tolist(), b.tolist(), faces.tolist(), strict=True):
            if labels is None or {one, other} & set(labels):
                wanted.update({(one, other, axis): count for axis, count in enumerate(counts)})
    first, second, faces = pairs.total()
    found = {
        (one, other, axis): count
        for one, other, counts in zip(first.tolist(), second.tolist(), faces.tolist(), strict=True)
        for axis, count in enumerate(counts)
    }
    assert found == wanted
    assert list(found) == sorted(found)
    assert [column.dtype.name for column in (first, second, faces)] == ["uint32", "uint32", "int64"]


def test_labels_are_found_among_labels():
    labels = np.array([2, 5, 9], np.uint32)
    assert among(labels, np.array([9, 1, 5, 10, 2], np.uint32)).tolist() == [True, False, True, False, True]
    assert among(labels[:0], np.array([1, 0], np.uint32)).tolist() == [False, False]
