"""What is kept of named arrays, what is refused, and what earlier versions kept."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes
from numcodecs.zstd import Zstd

from crackdask.engine.packed_arrays import Arrays, pack, unpack

FIELDS = st.just(np.dtype([("place", "<i8"), ("crc", "<u4")]))
ANY = st.dictionaries(st.text(), arrays(scalar_dtypes() | FIELDS, array_shapes(min_dims=0, min_side=0)), max_size=4)


def assert_kept(kept: Arrays, given: Arrays) -> None:
    assert list(kept) == list(given)
    for name, values in given.items():
        assert (kept[name].dtype, kept[name].shape) == (values.dtype, values.shape)
        assert kept[name].tobytes() == values.tobytes()
        assert kept[name].flags.writeable


@given(ANY)
def test_the_arrays_that_were_given_are_kept_and_nothing_else(given: Arrays) -> None:
    assert_kept(unpack(pack(given)), given)


@given(ANY.filter(len), st.data())
def test_bytes_that_are_not_whole_are_refused(given: Arrays, data: st.DataObject) -> None:
    packed = bytearray(pack(given))
    with pytest.raises((RuntimeError, ValueError)):
        unpack(bytes(packed[: data.draw(st.integers(0, len(packed) - 1))]))
    packed[data.draw(st.integers(len(packed) - 4, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((RuntimeError, ValueError)):
        unpack(bytes(packed))


def test_what_earlier_versions_kept_is_read() -> None:
    tally = {"voxels": np.arange(5, dtype=np.uint32), "mean": np.array([0.5, np.nan]), "none": np.zeros((0, 3))}
    buffer = io.BytesIO()
    np.savez(buffer, **tally)  # type: ignore[arg-type]  # no array is named allow_pickle
    assert_kept(unpack(Zstd(level=1, checksum=True).encode(buffer.getvalue())), tally)


@pytest.mark.parametrize("values", [np.array([{}], object), np.zeros(2, [("a", "u1"), ("b", "O")])])
def test_objects_are_refused_before_they_are_kept(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="tally holds Python objects"):
        pack({"tally": values})


def test_turned_arrays_keep_their_order() -> None:
    turned = np.arange(6).reshape(2, 3).T
    assert unpack(pack({"turned": turned}))["turned"].tolist() == turned.tolist()
