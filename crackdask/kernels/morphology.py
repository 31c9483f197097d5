"""Opening and closing of a mask by a ball, on bits: 64 voxels of a row to a word (Serra 1982)."""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled

_WORD = np.uint64(64)


def ball(radius: int) -> Array:
    """Return the voxels within a radius of the middle one, which opening and closing move through the mask.

    >>> int(ball(1).sum())
    7
    """
    z, y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    return np.asarray(z * z + y * y + x * x <= radius * radius)


def opened_and_closed(phase: Array, opening: int, closing: int) -> Array:
    """Return a phase, opened and then closed by balls of some radii; 0 leaves it out.

    What lies beyond the array is not known: voxels within ``2 * (opening + closing)`` of its faces may come out either
    way, and are of no use.

    Parameters
    ----------
    phase
        bool, (z, y, x).
    opening, closing
        Radii in voxels, below 64.

    >>> phase = np.zeros((7, 7, 9), bool)
    >>> phase[2:5, 2:5, 2:5] = phase[3, 3, 5:8] = True
    >>> opened_and_closed(phase, 1, 0)[3, 3].astype(int).tolist()
    [0, 0, 1, 1, 1, 1, 0, 0, 0]
    """
    if not opening and not closing:
        return phase
    bits = np.packbits(phase, axis=2, bitorder="little")
    words = np.zeros((*bits.shape[:2], -(-bits.shape[2] // 8)), np.uint64)
    words.view(np.uint8)[..., : bits.shape[2]] = bits
    for radius, inverse in ((opening, True), (opening, False), (closing, False), (closing, True)):
        if radius:
            grown = np.empty_like(words)
            _dilate(~words if inverse else words, _reaches(radius), grown)
            words = ~grown if inverse else grown
    nx = phase.shape[2]
    return np.unpackbits(words.view(np.uint8), axis=2, count=nx, bitorder="little").view(bool)


def _reaches(radius: int) -> Array:
    """Return how far a ball reaches along x at each (dz, dy), -1 where it does not."""
    return np.asarray(ball(radius).sum(axis=2) // 2 - (~ball(radius).any(axis=2)), np.int64)


@compiled(error_model="numpy")
def _widen(row: Array, reach: int, out: Array) -> None:
    """Add the voxels of a row, moved by up to `reach` voxels both ways, to another."""
    last = row.size - 1
    for i in range(row.size):
        here = row[i]
        grown = here
        before = row[i - 1] if i > 0 else np.uint64(0)
        after = row[i + 1] if i < last else np.uint64(0)
        for k in range(1, reach + 1):
            step = np.uint64(k)
            grown |= here << step | here >> step | before >> (_WORD - step) | after << (_WORD - step)
        out[i] |= grown


@compiled(error_model="numpy")
def _dilate(words: Array, reaches: Array, out: Array) -> None:
    """Move a ball through a phase; beyond the array nothing belongs to it."""
    nz, ny, _ = words.shape
    radius = reaches.shape[0] // 2
    for z in range(nz):
        for y in range(ny):
            grown = out[z, y]
            grown[:] = np.uint64(0)
            for dz in range(max(-radius, -z), min(radius + 1, nz - z)):
                for dy in range(max(-radius, -y), min(radius + 1, ny - y)):
                    reach = reaches[dz + radius, dy + radius]
                    if reach >= 0:
                        _widen(words[z + dz, y + dy], reach, grown)
