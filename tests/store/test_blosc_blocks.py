"""Parts of what blosc compressed are the same bytes as of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from crackdask.arrays import Array
from crackdask.store.blosc_blocks import excerpt


def packed(data: Array, codec: str, shuffle: int, block: int) -> Array:
    return np.frombuffer(blosc.compress(data, codec.encode(), 3, shuffle, block), np.uint8)


@settings(deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from(["u1", "u2", "u4", "f4"]),
    count=st.integers(200, 40_000),
    codec=st.sampled_from(["zstd", "lz4"]),
    shuffle=st.sampled_from([blosc.NOSHUFFLE, blosc.SHUFFLE, blosc.BITSHUFFLE]),
    block=st.sampled_from([0, 1024, 4096, 16_384]),
    noise=st.booleans(),
)
def test_a_part_is_that_part_of_the_whole(
    data: st.DataObject, dtype: str, count: int, codec: str, shuffle: int, block: int, noise: bool
) -> None:
    rng = np.random.default_rng(count)
    values = (rng.integers(0, 256, count) if noise else np.arange(count) // 7).astype(dtype)
    whole = values.view(np.uint8)
    first = data.draw(st.integers(0, whole.size - 1))
    last = data.draw(st.integers(first + 1, whole.size))
    found = excerpt(packed(values, codec, shuffle, block), first, last)
    if found is None:
        return
    part, start, stop = found
    assert start <= first < last <= stop <= whole.size
    assert stop - start < whole.size
    np.testing.assert_array_equal(np.frombuffer(blosc.decompress(part), np.uint8), whole[start:stop])


@pytest.mark.parametrize(("first", "last", "wanted"), [(0, 1, (0, 4096)), (9000, 9500, (4096, 9500)), (0, 9500, None)])
def test_only_the_blocks_that_are_asked_for_are_taken(first: int, last: int, wanted: tuple[int, int] | None) -> None:
    values = (np.arange(9500) // 50).astype(np.uint8)
    found = excerpt(packed(values, "zstd", blosc.BITSHUFFLE, 4096), first, last)
    assert (found and found[1:]) == wanted


def test_blocks_may_lie_in_any_order() -> None:
    values = np.arange(4 * 4096, dtype=np.uint8)
    whole = packed(values, "zstd", blosc.BITSHUFFLE, 4096)
    starts = whole[16:32].view("<i4")
    ends = [*starts[1:].tolist(), whole.size]
    order, place, turned = [2, 0, 3, 1], 32, whole.copy()
    for block in order:  # as several threads leave them
        data = whole[starts[block] : ends[block]]
        turned[place : place + data.size] = data
        turned[16:32].view("<i4")[block] = place
        place += data.size
    np.testing.assert_array_equal(np.frombuffer(blosc.decompress(turned), np.uint8), values)
    for first in range(0, 4 * 4096, 4096):
        found = excerpt(turned, first, first + 4096)
        assert found is not None
        np.testing.assert_array_equal(np.frombuffer(blosc.decompress(found[0]), np.uint8), values[first : first + 4096])
