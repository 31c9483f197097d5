"""Records of finished blocks: there, whole, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crackdask.engine.records import Records


def test_a_block_is_done_when_its_record_is_whole(tmp_path: Path) -> None:
    records = Records(tmp_path, 4)
    assert (records.done, records.missing(), records.is_open()) == (0, [0, 1, 2, 3], False)
    records.begin()
    assert (records.done, records.is_open()) == (0, True)
    for number in (3, 0, 1):
        assert records.add(number, {"voxels": np.array([number])}, {"grey-1": np.array([9 * number])}) > 0
    assert (records.done, records.missing()) == (3, [2])
    whole = records.path(1).read_bytes()
    for damaged in (whole[:-1], b"", b"zstd?" + whole[5:]):
        records.path(1).write_bytes(damaged)
        assert (records.done, records.missing(), records.has(1), records.has(0)) == (3, [1, 2], False, True)
    for number in (1, 2):
        records.add(number, {"voxels": np.array([number])}, {"grey-1": np.array([9 * number])} if number == 1 else {})
    assert (records.missing(), len(records)) == ([], 4)
    assert [tally["voxels"].tolist() for tally in records] == [[0], [1], [2], [3]]
    assert [list(tally) for tally in records[1:3]] == [["voxels"]] * 2
    assert records.seals(["grey-1"]) == {}, "a block recorded none"
    records.add(2, {"voxels": np.array([2])}, {"grey-1": np.array([18])})
    sealed = records.seals(["grey-1", "label-1"])
    assert {name: [part.tolist() for part in parts] for name, parts in sealed.items()} == {
        "grey-1": [[0], [9], [18], [27]]
    }
    with pytest.raises(IndexError):
        records[4]
