"""Named arrays as bytes that are whole or are refused: what records of blocks and results of units are made of.

A run makes one for every block of every pass and reads each a few times over, so it is a plain layout instead of a file
of numpy's: a line of JSON that tells names, dtypes and shapes, then the values, in one frame of zstd with its checksum.
What earlier versions left, files of numpy's within such a frame, is read too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from math import prod

import numpy as np
from numcodecs.zstd import Zstd
from numpy.lib.format import descr_to_dtype, dtype_to_descr

from crackdask.arrays import Array

Arrays = Mapping[str, Array]
_ZSTD = Zstd(level=1, checksum=True)
#: How a file of numpy's begins, which is a zip archive.
_ZIP = b"PK"


def pack(arrays: Arrays) -> bytes:
    """Return named arrays as compressed bytes with a checksum.

    Raises
    ------
    ValueError
        An array holds Python objects.

    Examples
    --------
    >>> unpack(pack({"a": np.arange(3)}))["a"].tolist()
    [0, 1, 2]
    """
    named = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    for name, values in named.items():
        if values.dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which a record does not keep")
    told = [(name, dtype_to_descr(values.dtype), values.shape) for name, values in named.items()]
    parts = [json.dumps(told).encode(), b"\n", *(values.tobytes() for values in named.values())]
    return bytes(_ZSTD.encode(b"".join(parts)))


def unpack(data: bytes) -> dict[str, Array]:
    """Return the arrays that `pack` packed.

    Raises
    ------
    RuntimeError, ValueError
        The bytes are not all that was packed.
    """
    plain: bytes = _ZSTD.decode(data)
    if plain.startswith(_ZIP):
        with np.load(io.BytesIO(plain), allow_pickle=False) as packed:
            return {name: packed[name] for name in packed.files}
    begin, arrays = plain.index(b"\n") + 1, {}
    for name, dtype, shape in json.loads(plain[:begin]):
        arrays[name] = np.frombuffer(plain, descr_to_dtype(dtype), prod(shape), begin).reshape(shape).copy()
        begin += arrays[name].nbytes
    return arrays
