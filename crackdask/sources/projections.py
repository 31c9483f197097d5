"""From what a recipe says to a scan of projections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crackdask.sources.base import Source, SourceError
from crackdask.sources.completeness import Missing
from crackdask.sources.frames import ALIGNMENT, DARK, FLAT, INVALID, PROJECTION, Frames, Run, runs_of
from crackdask.sources.number_lists import Numbers
from crackdask.sources.nxtomo import Layout
from crackdask.sources.opening import open_source, there
from crackdask.sources.projection_source import Projections
from crackdask.sources.references import references
from crackdask.sources.rotation import degrees_of, kept_angles
from crackdask.sources.scan_parts import AUTO, Home, ProjectionKeys, layout_of

__all__ = ["Projections", "is_projections", "open_projections"]

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_projections(spec: str, base: Path, keys: ProjectionKeys) -> bool:
    """Tell whether a state's source is projections, by headers alone.

    HDF5 is where it is NXtomo or DXchange, or where the recipe gives `rotation_angle` for what is named as source or
    `data`. Other formats (folders of TIFF frames) are where the recipe gives `rotation_angle`, or the folder holds
    angles.txt, angles.csv or angles.npy.

    Raises
    ------
    SourceError
        If there is no such file, it cannot be read, or it holds several scans and none was named.
    """
    home = Home(*there(spec, base), base)
    if home.is_hdf5:
        return layout_of(home, keys) is not None
    return keys.rotation_angle != AUTO or bool(home.angle_file())


def open_projections(spec: str, base: Path, params: ProjectionKeys, missing: Missing = "refuse") -> Projections:
    """Return the scan of projections that `spec` names, after a look at its headers, keys and angles.

    Parameters
    ----------
    spec
        As for `crackdask.sources.open_source`; in HDF5 ``::`` may be followed by the path of an entry.
    base
        Folder that a relative path starts from.
    params
        The recipe's section [reconstruct].
    missing
        As for `crackdask.sources.open_source`.

    Raises
    ------
    SourceError
        If a part is missing, incomplete, unreadable, or does not fit the others.
    """
    home = Home(*there(spec, base), base, missing)
    layout = layout_of(home, params) if home.is_hdf5 else Layout("frames", "", "")
    if layout is None:
        raise SourceError(
            f"{home.path}: found no projections: neither NXtomo nor DXchange; name the parts in [reconstruct]: data, "
            "rotation_angle, flats, darks"
        )
    stack = _stack(home, layout, params)
    keys, lists = _keys(home, layout, params, stack.shape[0])
    projections = np.flatnonzero(keys == PROJECTION)
    if not len(projections):
        raise SourceError(f"{home.path}: none of {stack.shape[0]} frames is a projection (image_key 0); is it a scan?")
    angles = _angles(home, layout, params, len(projections))
    degrees = degrees_of(angles, projections, stack.shape[0])
    kept = kept_angles(degrees, params.angles, str(home.path))
    rows = _rows(params, stack, str(home.path))
    flats, darks, notes = references(home, layout, params, stack, keys, rows)
    if invalid := int((keys == INVALID).sum()):
        notes.append(f"{invalid} of {stack.shape[0]} frames are marked as not valid (image_key 3) and left out")
    columns = stack.shape[2]
    return Projections(
        (rows[1] - rows[0], columns, columns), np.dtype(params.stored), "projections", str(home.path),
        Frames(stack, runs_of(projections), rows), tuple(degrees.tolist()), kept, tuple(flats), tuple(darks),
        tuple(notes), tuple(dict.fromkeys((*lists, *angles.files))), layout.kind, unwritten=stack.unwritten,
    )  # fmt: skip


def _stack(home: Home, layout: Layout, params: ProjectionKeys) -> Source:
    """Return the frames that hold the projections."""
    name = layout.data if params.data == AUTO else params.data
    if name:
        return home.frames(name, "data")[0]
    if layout.kind != "frames":
        raise SourceError(f"{home.path}: {layout.entry} has no frames (data, 3-D); name them (data = PATH)")
    return open_source(f"{home.path}::{home.inner}" if home.inner else str(home.path), home.base, home.missing)


def _keys(home: Home, layout: Layout, params: ProjectionKeys, frames: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the kind of each frame, and the files that tell it."""
    name = layout.image_key if params.image_key == AUTO else params.image_key
    if not name:
        if layout.kind == "NXtomo" and AUTO in (params.flats, params.darks):
            raise SourceError(
                f"{home.path}: {layout.entry} has no image_key, so flats and darks cannot be told from projections; "
                "name it with image_key in [reconstruct], or name both flats and darks"
            )
        return np.zeros(frames, np.int64), ()
    found = home.numbers(name, "image_key")
    if len(found.values) != frames:
        raise SourceError(
            f"{found.where}: found {len(found.values)} keys for {frames} frames; wanted one for each (was the scan "
            "stopped early? copy it again, or name the right image_key)"
        )
    values = np.where(found.values == ALIGNMENT, INVALID, found.values)
    unknown = sorted(set(values.tolist()) - {PROJECTION, FLAT, DARK, INVALID}, key=repr)
    if unknown:
        raise SourceError(
            f"{found.where}: found the key{'s' * (len(unknown) > 1)} {', '.join(f'{key:g}' for key in unknown[:5])}; "
            "known are 0 (projection), 1 (flat), 2 (dark) and 3 (not valid)"
        )
    return values.astype(np.int64), found.files


def _angles(home: Home, layout: Layout, params: ProjectionKeys, projections: int) -> Numbers:
    """Return the angles, wherever they stand."""
    given = params.rotation_angle
    if not isinstance(given, str):
        even = len(given) == 2 < projections
        return Numbers(
            np.linspace(given[0], given[-1], projections) if even else np.array(given), "[reconstruct] rotation_angle"
        )
    name = (layout.rotation_angle or home.angle_file()) if given == AUTO else given
    if not name:
        raise SourceError(
            f"{home.path}: found no angles (rotation_angle, theta); give rotation_angle in [reconstruct]: a path, or a "
            "list of degrees, such as [0.0, 180.0] for evenly spaced projections"
        )
    return home.numbers(name, "rotation_angle")


def _rows(params: ProjectionKeys, stack: Source, where: str) -> Run:
    """Return the detector rows that are reconstructed."""
    first, end = params.rows or (0, stack.shape[1])
    if end > stack.shape[1]:
        raise SourceError(
            f"{where}: [reconstruct] rows = [{first}, {end}] reaches outside the detector, which has {stack.shape[1]} "
            f"rows; end at {stack.shape[1]}"
        )
    return first, end
