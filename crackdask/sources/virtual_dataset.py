"""Virtual datasets of HDF5: whether each voxel is mapped to one that is there.

HDF5 gives the fill value for what is mapped to nothing, or to a file, dataset or slice that is not there. A source that
is virtual itself is refused: HDF5 follows a circle of them until the process dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from math import prod
from typing import Any

import h5py  # type: ignore[import-untyped, unused-ignore]
import numpy as np

from crackdask.sources.base import SourceError, named
from crackdask.sources.completeness import Gaps, hdf5_gaps

#: Start, stride, count and block along each axis.
Slab = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
_NO_END = h5py.h5s.UNLIMITED


def virtual_gaps(
    where: str, data: Any, opened: Callable[[str], AbstractContextManager[tuple[str, Any]]]
) -> Iterator[tuple[str, Gaps]]:
    """Yield what of a virtual dataset is not there, each with the dataset that lacks it.

    Parameters
    ----------
    where
        The dataset, for messages.
    data
        The dataset.
    opened
        Opens a source file by the name that the dataset has for it, and gives its path and content.

    Raises
    ------
    SourceError
        If a source is not there, too small, of a type whose values the dataset cannot hold, or virtual itself.
    """
    left = h5py.h5s.create_simple(data.shape)
    left.select_hyperslab((0,) * data.ndim, (1,) * data.ndim, block=data.shape)
    sources: dict[tuple[str, str], tuple[int, ...]] = {}
    for mapping in data.virtual_sources():
        key = (mapping.file_name, mapping.dset_name)
        if key not in sources:
            with opened(mapping.file_name) as (path, file), named(path):
                source = _source(where, path, file, mapping.dset_name)
                _same_numbers(where, data.dtype, f"{path}::{mapping.dset_name}", source.dtype)
                sources[key] = source.shape
                gaps = hdf5_gaps(source)
            if gaps:
                yield f"{path}::/{mapping.dset_name.strip('/')}", gaps
        _large_enough(where, mapping, sources[key])
        for start, stride, count, block in _slabs(where, mapping, data.shape, sources[key]):
            if min(count) > 0 and min(block) > 0:
                left.select_hyperslab(start, count, stride, block, op=h5py.h5s.SELECT_NOTB)
    unmapped = left.get_select_npoints()
    if unmapped:
        first = [int(n) for n in left.get_select_bounds()[0]]
        yield where, Gaps(unmapped, prod(data.shape), "voxels", f"are mapped to no file, the first in slice {first[0]}")


def _source(where: str, path: str, file: Any, name: str) -> Any:
    """Return the dataset that a part is mapped to."""
    source = file.get(name)
    if not isinstance(source, h5py.Dataset):
        raise SourceError(
            f"{where}: takes its voxels from {path}, which has no dataset {name}; copy the file again from where it "
            "was recorded"
        )
    if source.is_virtual or source.external or source.file.filename != file.filename:
        how = "is virtual itself" if source.is_virtual else "has its voxels in yet another file"
        raise SourceError(
            f"{where}: takes its voxels from {path}::{name}, which {how}; name that dataset as the source, or gather "
            "the scan into one file"
        )
    return source


def _same_numbers(where: str, wanted: np.dtype[Any], source: str, there: np.dtype[Any]) -> None:
    """Check that voxels keep their values; HDF5 cuts off what the dataset's own type cannot hold."""
    if not (np.can_cast(there, wanted, "safe") or there.kind == wanted.kind == "f"):
        raise SourceError(
            f"{where}: its voxels are {wanted.name}, those that it takes from {source} are {there.name}, which would "
            "be cut off; name that dataset as the source, or gather the scan into one file of its type"
        )


def _large_enough(where: str, mapping: Any, there: Sequence[int]) -> None:
    """Check that a source has the voxels that are taken from it."""
    space = mapping.src_space
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        enough = prod(there) >= mapping.vspace.get_select_npoints()
    elif _has_no_end(space):
        return
    else:
        enough = all(last < n for last, n in zip(space.get_select_bounds()[1], there, strict=True))
    if not enough:
        raise SourceError(
            f"{where}: {mapping.file_name}::{mapping.dset_name} has {tuple(there)} voxels, fewer than are taken from "
            "it; copy the file again from where it was recorded"
        )


def _slabs(where: str, mapping: Any, shape: Sequence[int], there: Sequence[int]) -> Iterator[Slab]:
    """Yield the parts of the dataset that a mapping covers."""
    space, kind = mapping.vspace, mapping.vspace.get_select_type()
    ones = (1,) * len(shape)
    if kind == h5py.h5s.SEL_ALL:
        yield (0,) * len(shape), ones, ones, tuple(shape)
    elif kind != h5py.h5s.SEL_HYPERSLABS:
        raise SourceError(f"{where}: is mapped voxel by voxel, which is not known here; gather the scan into one file")
    elif not space.is_regular_hyperslab():
        for first, last in space.get_select_hyper_blocklist():
            yield tuple(first), ones, ones, tuple(b - a + 1 for a, b in zip(first, last, strict=True))
    elif _has_no_end(space):
        yield _as_far_as_recorded(mapping, shape, there)
    else:
        yield space.get_regular_hyperslab()


def _has_no_end(space: Any) -> bool:
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return False
    _, _, count, block = space.get_regular_hyperslab()
    return _NO_END in (*count, *block)


def _as_far_as_recorded(mapping: Any, shape: Sequence[int], there: Sequence[int]) -> Slab:
    """Return what a mapping without an end covers, which ends with what its source has."""
    start, stride, count, block = mapping.vspace.get_regular_hyperslab()
    axis = next(k for k, ends in enumerate(zip(count, block, strict=True)) if _NO_END in ends)
    wide = _runs(mapping.vspace, axis, shape[axis])
    if _has_no_end(mapping.src_space):
        _, _, counts, blocks = mapping.src_space.get_regular_hyperslab()
        own = next(k for k, ends in enumerate(zip(counts, blocks, strict=True)) if _NO_END in ends)
        deep = _runs(mapping.src_space, own, there[own])
        wide = (min(wide[0], deep[0]), min(wide[1], deep[1]))
    return start, stride, _put(count, axis, wide[0]), _put(block, axis, wide[1])


def _runs(space: Any, axis: int, extent: int) -> tuple[int, int]:
    """Return how many blocks of how many voxels a selection without an end has in an extent."""
    start, stride, count, block = (part[axis] for part in space.get_regular_hyperslab())
    if block == _NO_END:
        return count, max(0, extent - start)
    return max(0, (extent - start - block) // stride + 1), block


def _put(values: Sequence[int], axis: int, value: int) -> tuple[int, ...]:
    return (*values[:axis], value, *values[axis + 1 :])
