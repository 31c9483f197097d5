"""Parts of what blosc compressed: its blocks know nothing of each other, and those nobody asks for need not be undone.

The format is that of c-blosc 1 (README_CHUNK_FORMAT.rst there): a header of 16 bytes, where each block begins, and the
blocks, in any order.
"""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array

#: Bytes of the header; which of them holds flags; the flag that nothing is compressed.
_HEADER, _FLAGS, _COPIED = 16, 2, 2


def excerpt(packed: Array, first: int, last: int) -> tuple[Array, int, int] | None:
    """Return the blocks that hold the bytes from `first` to before `last`, as blosc would have compressed them alone.

    Parameters
    ----------
    packed
        What blosc made of an array, bytes.
    first, last
        Of the bytes that are wanted, as they were before they were compressed.

    Returns
    -------
    tuple or None
        What blosc undoes, and from where to before where its bytes lie in the whole. None if these are all blocks.

    >>> from numcodecs import blosc
    >>> data = np.arange(100_000, dtype="u1")
    >>> packed = np.frombuffer(blosc.compress(data, b"zstd", 3, 2, 16_384), "u1")
    >>> part, start, stop = excerpt(packed, 40_000, 50_000)
    >>> start, stop, bool((np.frombuffer(blosc.decompress(part), "u1") == data[start:stop]).all())
    (32768, 65536, True)
    """
    total, size = (int.from_bytes(packed[k : k + 4].tobytes(), "little") for k in (4, 8))
    if packed[_FLAGS] & _COPIED or total <= size:
        return None
    count = -(-total // size)
    low, high = first // size, -(-last // size)
    if high == count and total % size:
        low = min(low, count - 2)  # the last block is short, and blosc undoes none that is short and alone
    if high - low == count:
        return None
    starts = packed[_HEADER : _HEADER + 4 * count].view("<i4")
    ends = np.append(np.sort(starts), len(packed))
    spans = [(start, int(ends[np.searchsorted(ends, start, side="right")])) for start in starts[low:high].tolist()]
    lengths = [end - start for start, end in spans]
    stop = min(high * size, total)
    head = packed[:_HEADER].copy()
    begin = _HEADER + 4 * len(spans)
    head.view("<u4")[[1, 3]] = stop - low * size, begin + sum(lengths)
    places = begin + np.cumsum([0, *lengths[:-1]])
    parts = [head, places.astype("<i4").view(np.uint8), *(packed[start:end] for start, end in spans)]
    return np.concatenate(parts), low * size, stop
