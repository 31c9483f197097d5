"""Adding up the tallies of many blocks, for a range of particles, one tally in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.surface import CELL_MEMBER
from crackdask.kernels.tally import FAR

Tally = Mapping[str, Array]

_RINGS = ("shell_voxels", "shell_grey_sum", "shell_grey_sumsq")
_WAITING = 200_000  # pairs kept before they are added up


class Pairs:
    """Faces between particles, added up by pair; all pairs, or those that name one of `labels`."""

    def __init__(self, labels: Array | None = None) -> None:
        self._labels = labels
        self._parts: list[tuple[Array, Array]] = [(np.zeros(0, np.uint64), np.zeros((0, 3), np.int64))]
        self._waiting = 0

    def add(self, tally: Tally) -> None:
        """Add the contacts of one tally."""
        a, b, faces = (tally[f"contact_{name}"] for name in ("a", "b", "faces"))
        if self._labels is not None:
            kept = among(self._labels, a) | among(self._labels, b)
            a, b, faces = a[kept], b[kept], faces[kept]
        if not a.size:
            return
        key = (a.astype(np.uint64) << np.uint64(32)) | b.astype(np.uint64)
        self._parts.append((key, faces.astype(np.int64)))
        self._waiting += a.size
        if self._waiting > self._parts[0][0].size + _WAITING:
            self._settle()

    def total(self) -> tuple[Array, Array, Array]:
        """Return both labels of each pair, sorted, and its faces normal to z, y, x."""
        self._settle()
        pairs, faces = self._parts[0]
        low = pairs & np.uint64(0xFFFFFFFF)
        return (pairs >> np.uint64(32)).astype(np.uint32), low.astype(np.uint32), faces

    def _settle(self) -> None:
        keys = np.concatenate([pairs for pairs, _ in self._parts])
        pairs, place = np.unique(keys, return_inverse=True)
        faces = np.zeros((pairs.size, 3), np.int64)
        np.add.at(faces, place, np.concatenate([faces for _, faces in self._parts]))
        self._parts, self._waiting = [(pairs, faces)], 0


class Totals:
    """The sums of tallies for some particles, added one after the other; about 1.5 kB are held for a particle.

    Parameters
    ----------
    labels
        Sorted, one row each.
    shells
        Width of the shell table; as wide as needed where it is None.
    """

    def __init__(self, labels: Array, shells: int | None) -> None:
        n = labels.size
        self._labels, self._shells, self._pairs = labels, shells, Pairs(labels)
        self._rows: dict[str, Array] = {
            "voxels": np.zeros(n, np.int64),
            "sums": np.zeros((n, 3), np.int64),
            "products": np.zeros((n, 6), np.int64),
            "cells": np.zeros((n, CELL_MEMBER.size), np.uint32),
            "low": np.full((n, 3), FAR, np.int32),
            "high": np.zeros((n, 3), np.int32),
            "depth": np.zeros(n, np.int64),
            "border": np.zeros(n, bool),
            "invalid": np.zeros(n, bool),
            "levels": np.zeros((n, 256), np.uint32),
            "rings": np.zeros((n, shells or 0, 3), np.uint64),
        }

    def add(self, tally: Tally) -> None:
        """Add one tally."""
        self._pairs.add(tally)
        kept = np.flatnonzero(among(self._labels, tally["ids"]))
        if kept.size:
            _add(self._rows, tally, kept, np.searchsorted(self._labels, tally["ids"][kept]), self._shells)

    def rows(self) -> dict[str, Array]:
        """Return the sums.

        Rows have the names of the tally's; `levels` is the dense histogram, `rings` the shells (particle, shell, voxels
        and sums of grey levels and of their squares), `pair_a`, `pair_b`, `pair_faces` the contacts.
        """
        first, second, faces = self._pairs.total()
        return {**self._rows, "pair_a": first, "pair_b": second, "pair_faces": faces}


def among(labels: Array, ids: Array) -> Array:
    """Return which of `ids` are in the sorted `labels`."""
    if not labels.size:
        return np.zeros(ids.shape, bool)
    rows = np.minimum(np.searchsorted(labels, ids), labels.size - 1)
    same: Array = labels[rows] == ids
    return same


def _add(rows: dict[str, Array], tally: Tally, kept: Array, at: Array, shells: int | None) -> None:
    for name in ("voxels", "sums", "products", "cells"):
        rows[name][at] += tally[name][kept]
    rows["low"][at] = np.minimum(rows["low"][at], tally["low"][kept])
    for name in ("high", "depth", "border", "invalid"):
        rows[name][at] = np.maximum(rows[name][at], tally[name][kept])
    row, entry, _ = _ragged(tally["grey_start"], kept, at)
    rows["levels"][row, tally["grey_level"][entry]] += tally["grey_voxels"][entry]
    row, entry, shell = _ragged(tally["shell_start"], kept, at)
    wide = int(shell.max(initial=-1)) + 1
    held = rows["rings"].shape[1]
    if wide > held:
        if shells is not None:
            raise ValueError(f"found a particle with {wide} shells, wanted at most {shells}")
        rows["rings"] = np.pad(rows["rings"], ((0, 0), (0, wide - held), (0, 0)))
    for i, name in enumerate(_RINGS):
        rows["rings"][row, shell, i] += tally[name][entry]


def _ragged(start: Array, kept: Array, at: Array) -> tuple[Array, Array, Array]:
    """Return for every entry of the kept rows its row in the sums, its index and its place."""
    count = start[kept + 1] - start[kept]
    ends = np.cumsum(count)
    place = np.arange(ends[-1]) - np.repeat(ends - count, count)
    return np.repeat(at, count), place + np.repeat(start[kept], count), place
