"""NXtomo: where in a NeXus file frames, their kinds and their angles lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py  # type: ignore[import-untyped, unused-ignore]

from crackdask.sources.base import SourceError
from crackdask.sources.hdf5 import above, text_of

#: How deep below the root an entry is looked for: /entry1/tomo_entry.
_DEPTH = 2


@dataclass(frozen=True)
class Layout:
    """Paths within a file; what was not found is empty."""

    kind: str
    entry: str
    data: str
    image_key: str = ""
    rotation_angle: str = ""
    flats: str = ""
    darks: str = ""


def nxtomo_layout(file: Any, where: str, inner: str) -> Layout | None:
    """Return where the parts of a scan lie, or None if the file, or what is named of it, is no NXtomo.

    Found by `definition`, or else by the attributes `default` from the root on, or by what `inner` names, if there are
    keys of frames.

    Raises
    ------
    SourceError
        If there are several scans and none was named.
    """
    entry = _entry(file, where, inner)
    if entry is None:
        return None
    data, key, angle = (_find(file, entry, *part) for part in (("data", 3), ("image_key", 1), ("rotation_angle", 1)))
    key = _find(file, entry, "image_key_control", 1) or key  # which marks alignment frames as well (ESRF)
    named = file.get(inner) if inner else None
    if isinstance(named, h5py.Dataset) and f"/{inner.strip('/')}" != data:
        if not key or len(named.shape or ()) != 3 or len(named) != len(file[key]):
            return None  # something else of that entry, such as what was reconstructed
        data = f"/{inner.strip('/')}"
    return Layout("NXtomo", entry, data, key, angle)


def _entry(file: Any, where: str, inner: str) -> str | None:
    """Return the path of the entry that holds a scan."""
    if inner:
        start = f"/{inner.strip('/')}"
        around = next((path for path in (start, *above(start)) if _is_nxtomo(file.get(path))), None)
        if around or not isinstance(file.get(start), h5py.Group):
            return around
    else:
        start = ""
    found = list(dict.fromkeys(_entries(file, start, _DEPTH)))
    if len(found) == 1:
        return found[0]
    if found:
        default = _default(file, "/")
        within = [path for path in found if default and f"{path}/".startswith(f"{default}/")]
        if len(within) == 1 and not inner:
            return within[0]
        listed = ", ".join(found[:12])
        raise SourceError(f"{where}: found {len(found)} scans; name one as {where.rpartition('/')[2]}::PATH; {listed}")
    default = start or _default(file, "/")
    return default if default and _find(file, default, "image_key", 1) else None


def _entries(file: Any, path: str, depth: int) -> Iterator[str]:
    """Yield the entries below a group that say they are NXtomo; links to other files are not followed."""
    group = file[path or "/"]
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            continue
        item = group.get(name)
        if isinstance(item, h5py.Group):
            below = f"{path}/{name}"
            if _is_nxtomo(item):
                yield below
            elif depth > 1:
                yield from _entries(file, below, depth - 1)


def _is_nxtomo(group: Any) -> bool:
    said = group.get("definition") if isinstance(group, h5py.Group) else None
    if not isinstance(said, h5py.Dataset) or said.dtype.kind not in "OSU" or said.size != 1:
        return False
    return text_of(said[()]).strip() == "NXtomo"


def _default(file: Any, path: str) -> str:
    """Return the path of what a group says is to be looked at, or nothing."""
    name = text_of(file[path].attrs.get("default", "")).strip("/")
    below = f"{path.rstrip('/')}/{name}"
    return below if name and isinstance(file.get(below), h5py.Group) else ""


def _find(file: Any, entry: str, name: str, axes: int) -> str:
    """Return the path of the first dataset of a name in the groups where NXtomo may have it."""
    for group in dict.fromkeys(_places(file, entry)):
        item = file.get(group)
        if not isinstance(item, h5py.Group):
            continue
        names = [name]
        if name == "data":
            names.append(text_of(item.attrs.get("signal", "")))
        for candidate in filter(None, names):
            dataset = item.get(candidate)
            if isinstance(dataset, h5py.Dataset):
                shape = dataset.shape or ()
                if len(shape) == axes or (axes == 1 and len(shape) == 2 and 1 in shape):
                    return f"{group.rstrip('/')}/{candidate}"
            elif isinstance(link := item.get(candidate, getlink=True), h5py.ExternalLink):
                raise SourceError(
                    f"{file.filename}: {group}/{candidate} is a link to {link.path} in {link.filename}, which is not "
                    "there; copy that file beside this one"
                )
    return ""


def _places(file: Any, entry: str) -> Iterator[str]:
    """Yield the groups that may hold parts of a scan, those of the definition first."""
    yield f"{entry}/instrument/detector"
    for instrument in _of_class(file, entry, "NXinstrument"):
        yield from _of_class(file, instrument, "NXdetector")
    yield f"{entry}/sample"
    yield from _of_class(file, entry, "NXsample")
    yield f"{entry}/data"
    if default := _default(file, entry):
        yield default
    yield from _of_class(file, entry, "NXdata")
    yield entry


def _of_class(file: Any, path: str, kind: str) -> Iterator[str]:
    """Yield the groups directly below that are of a NeXus class."""
    group = file[path]
    for name in group:
        item = group.get(name)
        if isinstance(item, h5py.Group) and text_of(item.attrs.get("NX_class", "")) == kind:
            yield f"{path.rstrip('/')}/{name}"
