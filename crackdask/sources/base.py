"""What all scans on disk have in common: reading a box, a fingerprint, and checks of headers."""

from __future__ import annotations

import errno
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from crackdask.grid import Box, Triple
from crackdask.storage.locations import Place, PlaceError, UnreachableError, no_file, place, stamps

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = ("uint8", "uint16", "uint32", "int16", "float32", "float64")
FORMATS = "a folder of TIFF slices, a multipage .tif, .h5/.hdf5/.nxs::/path/in/file, .zarr[::/path] or .npy"
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EMFILE}


class SourceError(ValueError):
    """A scan that cannot be used: what was found, what was wanted, and the way out."""


class NotThereError(SourceError):
    """A scan of which nothing is there."""


@dataclass(frozen=True)
class Source(ABC):
    """One scan on disk, in voxels (z, y, x); no file stays open between reads.

    Attributes
    ----------
    shape : Triple
        Size in voxels (z, y, x).
    dtype : numpy.dtype
        Type of the voxels that `read` returns, in this machine's byte order.
    kind : str
        "slices", "tiff", "hdf5", "zarr" or "npy".
    location : str
        Absolute path, or URL, of the file or folder.
    unwritten : str
        What of the scan is not there and read as the fill value, because the recipe says so; or nothing.
    """

    shape: Triple
    dtype: np.dtype[Any]
    kind: str
    location: str
    unwritten: str = field(default="", kw_only=True)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole scan in memory."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def slab(self) -> int:
        """Slices that the format stores together; reads of whole multiples waste nothing."""
        return 1

    @property
    def inner(self) -> str:
        """Path of the dataset within the file, if the format has one."""
        return ""

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box, C-ordered, in this machine's byte order.

        Raises
        ------
        SourceError
            If a file is gone, truncated, corrupt or no longer what it was when it was opened.
        """
        if min(box.start) < 0 or min(box.shape) < 1 or box.intersect(self._whole) != box:
            raise ValueError(f"box {box.start}..{box.stop} is not within a scan of {self.shape}")
        with named(self.location):
            voxels = self._load(box)
        return np.ascontiguousarray(voxels, dtype=self.dtype)

    def fingerprint(self) -> str:
        """Return a sha256 over what was scanned, not over where it lies.

        Names (relative to the scan), sizes and modification times (in object storage: ETags) of its files, shape,
        dtype and the path within the file.
        """
        digest = hashlib.sha256()
        digest.update(repr((self.kind, self.shape, self.dtype.name, self.inner)).encode())
        with named(self.location):
            for stamp in stamps(self._files()):
                digest.update(repr(stamp).encode())
        return digest.hexdigest()

    @property
    def _whole(self) -> Box:
        return Box.whole(self.shape)

    @abstractmethod
    def _load(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box that lies within the scan."""

    def _files(self) -> Iterable[tuple[str, Place]]:
        """Return the files of the scan, each with the name that the fingerprint sees."""
        path = place(self.location)
        return [(path.name, path)]


@dataclass(frozen=True)
class InnerSource(Source):
    """A scan that is one array of several in a file or a store.

    Attributes
    ----------
    path
        Of the array within.
    thick
        Slices in a chunk, or in a shard where there are shards.
    """

    path: str
    thick: int

    @property
    def inner(self) -> str:
        """Path of the array within the file or store."""
        return self.path

    @property
    def slab(self) -> int:
        """Slices that are stored together."""
        return self.thick


@contextmanager
def named(location: str) -> Iterator[None]:
    """Turn a reader's failure into one that names the file; what may pass on a retry is kept."""
    try:
        yield
    except (SourceError, MemoryError, PlaceError, UnreachableError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise SourceError(f"{location}: no such file can be ({error.strerror}); correct the path") from error
        if isinstance(error, FileNotFoundError):
            raise SourceError(f"{error.filename or location}: the file is gone") from error
        if isinstance(error, PermissionError):
            raise SourceError(f"{location}: no permission to read it") from error
        if type(error).__name__ == "UnknownCodecError":  # of zarr or of numcodecs
            raise SourceError(
                f"{location}: packed with a codec that is not known here ({error}); install what reads it, or write "
                "the scan again without it"
            ) from error
        raise SourceError(
            f"{location}: unreadable, truncated or corrupt ({type(error).__name__}: {error}); "
            "copy it again from where it was recorded"
        ) from error


def refuse_no_file(path: Place) -> None:
    """Raise for what is there but is neither a file nor a folder, before anything waits for it."""
    if found := no_file(path):
        raise SourceError(f"{path}: found {found}, wanted a file or a folder; copy the scan into one")


def checked(where: str, shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[Triple, Any]:
    """Return shape and native dtype of a volume, or say why it is none."""
    if len(shape) != 3:
        more = "choose one volume of it" if len(shape) > 3 else "a scan is a stack of slices"
        raise SourceError(f"{where}: found {len(shape)}-D data of shape {tuple(shape)}, wanted 3-D (z, y, x); {more}")
    if min(shape) < 1:
        raise SourceError(f"{where}: found no voxels, shape {tuple(shape)}; was it recorded?")
    if dtype.name not in DTYPES:
        raise SourceError(f"{where}: found voxels of type {dtype.name}, wanted one of {', '.join(DTYPES)}; convert it")
    z, y, x = (int(n) for n in shape)
    return (z, y, x), np.dtype(dtype.name)


def chosen(path: Place, inner: str, shapes: dict[str, tuple[int, ...]]) -> str:
    """Return the path of the one 3-D dataset, or list those that there are."""
    volumes = {name: shape for name, shape in shapes.items() if len(shape) == 3}
    listed = "; ".join(f"{name} {shape}" for name, shape in list(volumes.items())[:12])
    if not inner and len(volumes) == 1:
        return next(iter(volumes))
    what = f"no dataset {inner!r}" if inner else "no dataset was named"
    if volumes:
        raise SourceError(f"{path}: {what}; name one as {path.name}::PATH; it has {listed}")
    others = "; ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:12])
    raise SourceError(f"{path}: {what}, and it has no 3-D dataset (it has {others or 'none'})")


def read_raw(
    file: BinaryIO, path: str, offset: int, stored: np.dtype[Any], shape: tuple[int, ...], box: Box
) -> NDArray[Any]:
    """Read a box of voxels that lie in C order behind `offset` of a file, whole rows at a time."""
    _, ny, nx = shape
    (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
    rows = np.empty((z1 - z0, y1 - y0, nx), stored)
    runs = [rows] if (y0, y1) == (0, ny) else list(rows)
    for i, run in enumerate(runs):
        file.seek(offset + ((z0 + i) * ny + y0) * nx * stored.itemsize)
        got = file.readinto(run.view(np.uint8).data)  # type: ignore[attr-defined]
        if got < run.nbytes:
            raise SourceError(f"{path}: truncated, it ends {run.nbytes - got} bytes early; copy it again")
    return rows[:, :, x0:x1]
