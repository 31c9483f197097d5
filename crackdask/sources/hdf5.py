"""HDF5 and NeXus."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py  # type: ignore[import-untyped, unused-ignore]
import hdf5plugin  # noqa: F401 (registers the filters that detectors use)

from crackdask.grid import Box
from crackdask.sources.axes import refuse_other_axes
from crackdask.sources.base import InnerSource, SourceError, checked, chosen, named, refuse_no_file
from crackdask.sources.completeness import Missing, accepted, external_complete, hdf5_gaps
from crackdask.sources.virtual_dataset import virtual_gaps
from crackdask.storage.locations import Place, Prefix, opened, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

HDF5 = (".h5", ".hdf5", ".hdf", ".nxs", ".nx")


@dataclass(frozen=True)
class Hdf5Source(InnerSource):
    """A dataset of an HDF5 or NeXus file; one image may count as a stack of one."""

    others: tuple[str, ...]

    def _files(self) -> Iterable[tuple[str, Place]]:
        home = place(self.location)
        return [(home.name, home), *((Path(p).name, Path(p)) for p in self.others)]

    def _load(self, box: Box) -> NDArray[Any]:
        for other in self.others:
            if not Path(other).is_file():  # HDF5 would read it as zeros
                raise SourceError(f"{other}: the file is gone")
        with hdf5_file(place(self.location)) as file:
            data = opened_dataset(file, self.path)
            if _stacked(data.shape) != self.shape:
                raise SourceError(
                    f"{self.location}: {self.path} is now {data.shape}, was {self.shape} when the "
                    "scan was opened; leave a scan alone while it is used"
                )
            voxels: NDArray[Any] = data[box.slices] if data.ndim == 3 else data[box.slices[1:]][None]
        return voxels


def _stacked(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a stack; an image is a stack of one."""
    return (1, *shape) if len(shape) == 2 else shape


@contextmanager
def hdf5_file(path: Place) -> Iterator[Any]:
    """Open a file for reading."""
    if isinstance(path, Prefix):
        with opened(path) as stream, h5py.File(stream, "r") as file:
            yield file
        return
    try:
        opened_file = h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        if "already open for write" not in str(error):
            raise
        raise SourceError(
            f"{path}: another program is writing it, or ended without closing it; wait, or then: h5clear -s {path}"
        ) from error
    with opened_file as file:
        yield file


def opened_dataset(file: Any, path: str) -> Any:
    """Return a dataset whose files of raw voxels are looked for beside it, as those of virtual ones are."""
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_efile_prefix(b"${ORIGIN}")
    return h5py.Dataset(h5py.h5d.open(file.id, path.encode(), access))


def above(path: str) -> Iterator[str]:
    """Yield the groups above a path, the nearest first.

    >>> list(above("/entry/data/data"))
    ['/entry/data', '/entry']
    """
    while path.rpartition("/")[0]:
        path = path.rpartition("/")[0]
        yield path


def groups_around(file: Any, inner: str) -> list[str]:
    """Return the groups that an object lies in, the nearest first; where none is named, those at the root."""
    return list(above(f"/{inner.strip('/')}")) if inner.strip("/") else list(file)


def text_of(value: Any) -> str:
    """Return a text that may be stored as bytes, or as an array of one."""
    if getattr(value, "shape", ()) and value.size == 1:
        value = value.ravel()[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def hdf5_shapes(file: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all datasets with more than one axis."""
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if len(getattr(item, "shape", None) or ()) > 1:
            shapes[f"/{name}"] = item.shape

    file.visititems(visit)
    return shapes


def open_hdf5(
    path: Place, inner: str, missing: Missing, *, may_be_one: bool = False, projected: bool = False
) -> Hdf5Source:
    """Look at one dataset of a file: slices, or projections along an axis of any name; one image where that is said."""
    try:
        return _open(path, inner, missing, may_be_one, projected)
    except BlockingIOError as error:
        raise SourceError(
            f"{path}: another program has it open for writing; wait until that has closed it, or copy it"
        ) from error


def _open(path: Place, inner: str, missing: Missing, may_be_one: bool, projected: bool) -> Hdf5Source:
    with hdf5_file(path) as file:
        _refuse_links_to_no_file(path, file, inner)
        data: Any = file.get(inner) if inner else None
        if not hasattr(data, "shape"):
            inner = chosen(path, inner, hdf5_shapes(file))
            data = file[inner]
        where = f"{path}::{inner}"
        shape, dtype = checked(where, (_stacked if may_be_one else tuple)(data.shape or ()), data.dtype)
        if not projected:
            refuse_other_axes(where, _axes(data))
        others = other_files(path, data)
        unwritten = unwritten_parts(where, data, missing)
        thick = data.chunks[0] if data.chunks and data.ndim == 3 else 1
    return Hdf5Source(shape, dtype, "hdf5", str(path), f"/{inner.strip('/')}", thick, others, unwritten=unwritten)


def _axes(data: Any) -> list[str]:
    """Return what labels of a dataset, or the NXdata that it is the signal of, say its axes are; else nothing."""
    labels = [str(dim.label) for dim in data.dims]
    if all(labels):
        return labels
    around = data.parent.attrs
    if text_of(around.get("NX_class", "")) != "NXdata" or text_of(around.get("signal", "")) not in data.name.split("/"):
        return []
    said = around.get("axes", [])
    names = text_of(said).replace(",", ":").split(":") if isinstance(said, bytes | str) else [*map(text_of, said)]
    return names if len(names) == data.ndim else []


def _refuse_links_to_no_file(path: Place, file: Any, inner: str) -> None:
    """Look where an external link leads before HDF5 does, which would wait for a pipe."""
    parts = inner.strip("/").split("/")
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if isinstance(link, h5py.ExternalLink) and isinstance(path, Path):
            refuse_no_file(path.parent / link.filename)
            return


def unwritten_parts(where: str, data: Any, missing: Missing) -> str:
    """Return what of a dataset is not there and allowed to be so."""
    home = Path(data.file.filename).parent

    @contextmanager
    def opened_source(name: str) -> Iterator[tuple[str, Any]]:
        if name == ".":
            yield where.partition("::")[0], data.file
            return
        path = home / name
        with named(str(path)), hdf5_file(path) as file:
            yield str(path), file

    if data.is_virtual:
        told = [accepted(each, gaps, missing) for each, gaps in virtual_gaps(where, data, opened_source)]
        return ", ".join(dict.fromkeys(told))
    if data.external:
        external_complete(
            [(home / name, offset, count) for name, offset, count in data.external], data.dtype.itemsize * data.size
        )
        return ""
    return accepted(where, hdf5_gaps(data), missing)


def other_files(path: Place, data: Any) -> tuple[str, ...]:
    """Return the other files that hold a dataset's voxels; HDF5 reads absent ones as zeros."""
    names = [source.file_name for source in data.virtual_sources()] if data.is_virtual else []
    names += [name for name, _, _ in data.external or ()]
    if isinstance(path, Prefix):
        if any(name != "." for name in names):
            raise SourceError(
                f"{path}: {data.name} has its voxels in other files ({names[0]}), which HDF5 finds on a disk only; "
                "copy the scan to one, or gather it into one file (h5repack)"
            )
        return ()
    home = Path(data.file.filename)
    files = [str(home.parent / n) for n in dict.fromkeys(names) if n != "."]
    if home != path:
        files.append(str(home))
    for name in files:
        if not Path(os.path.abspath(name)).is_relative_to(Path(os.path.abspath(path)).parent):  # noqa: PTH100
            raise SourceError(
                f"{path}: {data.name} takes its voxels from {name}, outside the folder of the file; a file from others "
                "could name any file of yours so: name that file itself as source, or put both into one folder"
            )
        if "%b" in Path(name).name and not Path(name).exists():
            raise SourceError(
                f"{path}: {data.name} takes its voxels from files that are numbered as they come "
                f"({Path(name).name}), which is not known here; gather the scan into one file (h5repack)"
            )
        if not Path(name).exists():
            raise SourceError(f"{path}: {data.name} points to {name}, which does not exist")
        refuse_no_file(Path(name))
    return tuple(files)
