"""Small scans of projections on disk: NXtomo, DXchange, folders of TIFF frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

Array = np.ndarray[Any, Any]
ROWS, COLUMNS = 6, 8


def frames(count: int, first: int = 0, dtype: str = "uint16") -> Array:
    """Return frames of which no two are alike, nor two rows."""
    number = np.arange(first, first + count)[:, None, None] * 100 + np.arange(ROWS)[:, None] * 10
    return (number + np.arange(COLUMNS)).astype(dtype)


@dataclass
class Scan:
    """What was recorded, in this order: darks, flats, projections, flats, darks."""

    angles: Array = field(default_factory=lambda: np.arange(19) * 10.0)
    before: tuple[int, int] = (2, 3)  # darks, flats
    after: tuple[int, int] = (1, 2)
    dtype: str = "uint16"

    @property
    def key(self) -> Array:
        """Kind of each frame."""
        (darks, flats), (last_darks, last_flats) = self.before, self.after
        counts = [darks, flats, len(self.angles), last_flats, last_darks]
        return np.repeat([2, 1, 0, 1, 2], counts)

    @property
    def data(self) -> Array:
        """All frames."""
        return frames(len(self.key), dtype=self.dtype)

    @property
    def all_angles(self) -> Array:
        """Angle of each frame; flats and darks are taken where the stage stands."""
        n = self.key.size
        return np.interp(np.arange(n), np.flatnonzero(self.key == 0), self.angles)

    def of(self, kind: int) -> Array:
        """Return the frames of one kind."""
        return self.data[self.key == kind]


def write_nxtomo(path: Path, scan: Scan, entry: str = "entry1/tomo_entry", **changed: Any) -> str:
    """Write a file as Diamond Light Source does; `changed` has other data, image_key, rotation_angle, or None for none.

    Options of the dataset are those that begin with an underscore.
    """
    parts = {"data": scan.data, "image_key": scan.key, "rotation_angle": scan.all_angles}
    parts.update({name: value for name, value in changed.items() if name in parts})
    options = {name[1:]: value for name, value in changed.items() if name.startswith("_")}
    with h5py.File(path, "a") as file:
        group = file.create_group(entry)
        group["definition"] = "NXtomo"
        for name, home in (("data", "instrument/detector"), ("image_key", "instrument/detector"), *_ANGLE):
            if parts[name] is not None:
                group.create_dataset(f"{home}/{name}", data=parts[name], **(options if name == "data" else {}))
        if "units" in changed:
            group["sample/rotation_angle"].attrs["units"] = changed["units"]
    return path.name


_ANGLE = (("rotation_angle", "sample"),)


def write_dxchange(path: Path, scan: Scan, **changed: Any) -> str:
    """Write a file as the Advanced Photon Source does."""
    parts = {"data": scan.of(0), "data_white": scan.of(1), "data_dark": scan.of(2), "theta": scan.angles, **changed}
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            if value is not None:
                file[f"exchange/{name}"] = value
    return path.name


def write_frames(folder: Path, images: Array) -> str:
    """Write a folder of TIFF frames."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        tifffile.imwrite(folder / f"frame_{number:04d}.tif", image)
    return folder.name
