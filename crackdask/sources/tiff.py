"""TIFF: folders of slices, and multipage files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from crackdask.grid import Box
from crackdask.sources.base import FORMATS, Source, SourceError, checked, named, read_raw, refuse_no_file
from crackdask.storage.locations import Place, Prefix, fetched, opened, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIFF = (".tif", ".tiff")
#: PhotometricInterpretation (tag 262) of images whose numbers are grey levels, and what people call some of the others.
_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.LINEAR_RAW)
_ORIENTATION = 274
_INTERPRETED = {0: "MinIsWhite, so bright is dark", 3: "palette colours, so numbers are places in a table"}


@dataclass(frozen=True)
class SliceFolder(Source):
    """A folder with one 2-D TIFF image a slice, in the order of the numbers in their names."""

    names: tuple[str, ...]

    def _files(self) -> Iterable[tuple[str, Place]]:
        folder = place(self.location)
        if isinstance(folder, Prefix):  # one listing tells of all
            return [(entry.name, entry) for entry in folder.iterdir() if entry.name in set(self.names)]
        return [(name, folder / name) for name in self.names]

    def _load(self, box: Box) -> NDArray[Any]:
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        voxels = np.empty(box.shape, self.dtype)
        for z in range(z0, z1):
            path = place(self.location) / self.names[z]
            with named(str(path)), fetched(path) as file, tifffile.TiffFile(file, name=str(path)) as tif:
                shape, dtype = _header(tif, path)
                if (shape, dtype) != (self.shape[1:], self.dtype):
                    raise SourceError(
                        f"{path}: now {shape} {dtype}, was {self.shape[1:]} {self.dtype} when the "
                        "scan was opened; leave a scan alone while it is used"
                    )
                page = tif.pages.first
                if page.is_contiguous and page.predictor == page.fillorder == 1:
                    stored = self.dtype.newbyteorder(tif.byteorder)
                    flat = Box((0, y0, x0), (1, y1, x1))
                    start = page.dataoffsets[0]
                    voxels[z - z0] = read_raw(file, str(path), start, stored, (1, *shape), flat)[0]
                else:
                    voxels[z - z0] = _rows(tif, page, y0, y1)[:, x0:x1]
        return voxels


@dataclass(frozen=True)
class TiffStack(Source):
    """A multipage TIFF; `offset` is that of the first voxel if all lie in one run, else -1."""

    offset: int
    stored: str

    def _load(self, box: Box) -> NDArray[Any]:
        if self.offset >= 0:
            with opened(place(self.location)) as file:
                return read_raw(file, self.location, self.offset, np.dtype(self.stored), self.shape, box)
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        voxels = np.empty(box.shape, self.dtype)
        where = place(self.location)
        with opened(where) as file, tifffile.TiffFile(file, name=self.location) as tif:
            pages = volume(tif, where).pages
            for z in range(z0, z1):
                page = pages[z]
                if page is None:
                    raise SourceError(f"{self.location}: page {z} is gone; copy it again")
                with named(f"{self.location}, page {z}"):
                    voxels[z - z0] = _rows(tif, page, y0, y1)[:, x0:x1]
        return voxels


def _header(tif: tifffile.TiffFile, path: Place) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Return shape and dtype of a single image, after a look whether all of it is there."""
    page = tif.pages.first
    if tif.pages.is_multipage:
        raise SourceError(f"{path}: found several pages, wanted one image a slice; split it")
    if page.samplesperpixel != 1:
        raise SourceError(
            f"{path}: found {page.samplesperpixel} samples a voxel (RGB or RGBA), wanted grey; convert it"
        )
    if len(page.shape) != 2:
        raise SourceError(f"{path}: found an image of shape {page.shape}, wanted a 2-D slice")
    _, dtype = checked(str(path), (1, *page.shape), page.dtype or np.dtype("V1"))
    _grey(page, path)
    _complete(tif, page, path)
    return (page.shape[0], page.shape[1]), dtype


def _grey(page: tifffile.TiffPage | tifffile.TiffFrame, path: Place) -> None:
    """Check that an image's numbers are grey levels; one that does not say what they are is taken by its numbers."""
    key = page.keyframe
    if 262 in key.tags and key.photometric not in _GREY:
        said = _INTERPRETED.get(int(key.photometric), f"PhotometricInterpretation {int(key.photometric)}")
        raise SourceError(
            f"{path}: found {said}, wanted grey levels "
            "(PhotometricInterpretation MinIsBlack); convert it, in ImageJ by Image > Lookup Tables > Grays"
        )


def _complete(tif: tifffile.TiffFile, page: tifffile.TiffPage | tifffile.TiffFrame, path: Place) -> None:
    """Check that a page's voxels lie within the file."""
    pairs = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    end = max((offset + size for offset, size in pairs), default=0)
    if not pairs or min(size for _, size in pairs) == 0:
        raise SourceError(f"{path}: image without voxels (never written?); copy it again")
    if end > tif.filehandle.size:
        raise SourceError(f"{path}: truncated, {tif.filehandle.size} bytes of {end}; copy it again")


def _rows(tif: tifffile.TiffFile, page: tifffile.TiffPage | tifffile.TiffFrame, y0: int, y1: int) -> NDArray[Any]:
    """Return rows y0 to y1 of an image; only the strips or tiles that hold them are decoded."""
    key = page.keyframe
    height, width = key.imagelength, key.imagewidth
    length = key.tilelength if key.is_tiled else min(key.rowsperstrip, height)
    across = -(-width // key.tilewidth) if key.is_tiled else 1
    rows = np.empty((y1 - y0, width), key.dtype)
    for index in range(y0 // length * across, -(-y1 // length) * across):
        offset, size = page.dataoffsets[index], page.databytecounts[index]
        tif.filehandle.seek(offset)
        packed = tif.filehandle.read(size)
        if len(packed) < size or size == 0:
            raise SourceError(f"{tif.filehandle.path}: truncated; copy it again")
        part, (_, _, top, left, _), _ = key.decode(packed, index, jpegtables=key.jpegtables, jpegheader=key.jpegheader)
        if part is None:
            raise SourceError(f"{tif.filehandle.path}: a strip or tile holds nothing; copy it again")
        image = part[0, :, : width - left, 0]
        first, last = max(top, y0), min(top + length, y1, height)
        rows[first - y0 : last - y0, left : left + image.shape[1]] = image[first - top : last - top]
    return rows


def volume(tif: tifffile.TiffFile, path: Place) -> tifffile.TiffPageSeries:
    """Return the one volume of a multipage file."""
    series = tif.series
    if any(s.keyframe.samplesperpixel != 1 for s in series):
        raise SourceError(f"{path}: found colour images (RGB or RGBA), wanted grey; convert it")
    described = ", ".join(f"{s.shape} {s.dtype}" for s in series[:6])
    if len(series) > 1 and series[0].kind in ("generic", "uniform", "shaped"):
        raise SourceError(f"{path}: found pages of different shape or type ({described}); split it")
    if sum(len(s.shape) > 2 for s in series) > 1:
        raise SourceError(
            f"{path}: found {len(series)} images ({described}), wanted one; write each to a file of its own"
        )
    _grey(series[0].keyframe, path)
    # In an ImageJ file three axes say nothing: programs that write one call any stack channels.
    if series[0].kind == "ome" and len(series[0].shape) == 3 and series[0].axes != "ZYX":
        raise SourceError(
            f"{path}: found axes {series[0].axes} (C: channels, T: times), wanted ZYX, a stack of slices; write the "
            "channel or time that is meant to a file of its own, or, if these are slices, write it again with axes ZYX"
        )
    return series[0]


def open_tiff(path: Place) -> TiffStack:
    """Look at a multipage file."""
    with opened(path) as file, tifffile.TiffFile(file, name=str(path)) as tif:
        series = volume(tif, path)
        end = tif.pages.next_page_offset
        if end is not None:
            tif.filehandle.seek(end)
            last = tif.filehandle.read(tif.tiff.offsetsize)
            if last.strip(b"\0") or len(last) < tif.tiff.offsetsize:
                raise SourceError(f"{path}: truncated, the file ends before its last page; copy it again")
        shape, dtype = checked(str(path), series.shape, series.dtype or np.dtype("V1"))
        if len(tif.pages) > max(shape[0], sum(len(s.pages) for s in tif.series)):
            raise SourceError(
                f"{path}: found {len(tif.pages)} pages, of which its header ({series.kind}) knows {shape[0]}; correct "
                "the header, or write the slices that are meant to a file of their own"
            )
        offset = -1 if series.dataoffset is None else series.dataoffset
        if offset < 0:
            pages = [page for page in series.pages if page is not None]
            if len(pages) != shape[0]:
                raise SourceError(f"{path}: found {len(pages)} pages for {shape[0]} slices; copy it again")
            for page in pages:
                _complete(tif, page, path)
        elif offset + prod(shape) * dtype.itemsize > tif.filehandle.size:
            raise SourceError(f"{path}: truncated, too few bytes for {shape} voxels; copy it again")
        stored = dtype.newbyteorder(tif.byteorder).str
    return TiffStack(shape, dtype, "tiff", str(path), offset, stored)


def open_image(path: Place) -> SliceFolder | None:
    """Look at a file with a single image: a stack of one; None if it holds several."""
    with opened(path) as file, tifffile.TiffFile(file, name=str(path)) as tif:
        if tif.pages.is_multipage or len(volume(tif, path).shape) != 2:
            return None
        shape, dtype = _header(tif, path)
    return SliceFolder((1, *shape), dtype, "slices", str(path.parent), (path.name,))


def open_slices(folder: Place) -> SliceFolder:
    """Look at every slice of a folder."""
    seen = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    slices = [p for p in seen if p.suffix.lower() in TIFF and _is_slice(p)]
    if not seen:
        raise SourceError(f"{folder}: the folder is empty, wanted TIFF slices; copy the scan there")
    if not slices:
        kinds = Counter("folder" if p.is_dir() else p.suffix or "no suffix" for p in seen)
        others = ", ".join(f"{n} x {kind}" for kind, n in kinds.most_common(6))
        raise SourceError(f"{folder}: found no TIFF slices (but {others}); wanted {FORMATS}")
    if len(slices) == 1:
        raise SourceError(
            f"{folder}: found a single TIFF, wanted one a slice; if it is a stack, name the file itself: {slices[0]}"
        )
    slices = in_order(slices)

    def look(path: Place) -> tuple[tuple[tuple[int, int], np.dtype[Any]], int]:
        with named(str(path)), opened(path) as file, tifffile.TiffFile(file, name=str(path)) as tif:
            tag = tif.pages.first.tags.get(_ORIENTATION)
            return _header(tif, path), 1 if tag is None else int(tag.value)

    with ThreadPoolExecutor(8) as pool:  # waits on the disk, most of the time
        looked = list(pool.map(look, slices))
    headers = [header for header, _ in looked]
    (shape, dtype), votes = Counter(headers).most_common(1)[0]
    for path, header in zip(slices, headers, strict=True):
        if header != (shape, dtype):
            raise SourceError(
                f"{path}: found {header[0]} {header[1]}, where {votes} of {len(slices)} slices are "
                f"{shape} {dtype}; replace or remove it"
            )
    turns = [turn for _, turn in looked]
    usual, votes = Counter(turns).most_common(1)[0]
    for path, turn in zip(slices, turns, strict=True):
        if turn != usual:  # where all are alike, the scan is turned as a whole, which changes nothing
            raise SourceError(
                f"{path}: found Orientation {turn} (turned or mirrored), where {votes} of {len(slices)} slices have "
                f"{usual}; write it again as the others are"
            )
    names = tuple(p.name for p in slices)
    return SliceFolder((len(names), *shape), dtype, "slices", str(folder), names)


def _is_slice(path: Place) -> bool:
    """Whether something that is named like a slice is a file; a link to one that is gone is a slice that is missing."""
    refuse_no_file(path)
    if isinstance(path, Path) and path.is_symlink() and not path.exists():
        raise SourceError(f"{path}: a link to {path.readlink()}, which is not there; copy the slice, or mend the link")
    return path.is_file()


def in_order(slices: Sequence[Place]) -> list[Place]:
    """Return slices by the numbers in their names, and see that none is missing.

    >>> from pathlib import Path
    >>> [p.name for p in in_order([Path("a10.tif"), Path("a9.tif"), Path("a11.tif")])]
    ['a9.tif', 'a10.tif', 'a11.tif']
    """
    split = {p: re.split(r"(\d+)", p.stem) for p in slices}
    ordered = sorted(slices, key=lambda p: [int(t) if i % 2 else t for i, t in enumerate(split[p])])
    templates = Counter(tuple(split[p][::2]) for p in slices)
    template, votes = templates.most_common(1)[0]
    if len(template) == 1 or votes == 1 < len(slices):
        return ordered  # names without a common number: nothing to check
    odd = [p for p in ordered if tuple(split[p][::2]) != template]
    if odd:
        raise SourceError(
            f"{odd[0]}: does not belong to the series of {votes} slices named like "
            f"{'#'.join(template)!r} in this folder ({len(odd)} such files); move it elsewhere"
        )
    numbers = np.array([[int(t) for t in split[p][1::2]] for p in ordered], dtype=object)
    fields = [f for f in numbers.T if len(set(f)) == len(f)]
    if not fields:
        raise SourceError(
            f"{ordered[0].parent}: slices share their numbers ({ordered[0].name}, "
            f"{ordered[1].name}), so it holds more than one series; one folder a scan"
        )
    field = min(fields, key=lambda f: max(f) - min(f))
    ordered = [p for _, p in sorted(zip(field, ordered, strict=True))]
    _no_gap(ordered, sorted(field))
    return ordered


def _no_gap(slices: Sequence[Place], numbers: Sequence[int]) -> None:
    """Raise if a number is missing; a series may be numbered in steps if all are the same."""
    jumps = [b - a for a, b in pairwise(numbers)]
    step = min(jumps) if len(jumps) > 2 else 1
    gaps = [i for i, jump in enumerate(jumps) if jump != step]
    if gaps:
        i = gaps[0]
        raise SourceError(
            f"{slices[0].parent}: number {numbers[i] + step} is missing between {slices[i].name} "
            f"and {slices[i + 1].name} ({len(gaps)} gap{'s' * (len(gaps) > 1)} in "
            f"{len(slices)} slices); copy the missing slices, or renumber the rest"
        )
