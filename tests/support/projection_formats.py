"""One scan of projections in every form that is known, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crackdask.sources.projections import Projections, is_projections, open_projections
from crackdask.steps.reconstruct_parameters import ReconstructParams
from tests.support.projection_scans import Scan, write_dxchange, write_frames, write_nxtomo

SCAN = Scan()
ENTRY = "/entry1/tomo_entry"
DETECTOR = f"{ENTRY}/instrument/detector"


def opened(spec: str, base: Path, missing: Any = "refuse", **keys: Any) -> Projections:
    """Return what a source says with some keys of the recipe's section."""
    params = ReconstructParams(**keys)
    assert is_projections(spec, base, params)
    return open_projections(spec, base, params, missing)


def nxtomo(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write an NXtomo file."""
    return write_nxtomo(tmp / "scan.nxs", SCAN), {}


def nxtomo_of_reals(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write one whose keys are real and whose angles are radians, in chunks."""
    key, radians = SCAN.key.astype(float), np.radians(SCAN.all_angles)
    write_nxtomo(tmp / "scan.nxs", SCAN, image_key=key, rotation_angle=radians, units=[b"rad"], _chunks=(4, 6, 8))
    return f"scan.nxs::{ENTRY}", {}


def nxtomo_split(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write one whose frames lie in another file."""
    write_nxtomo(tmp / "scan.nxs", SCAN, data=None)
    with h5py.File(tmp / "camera.hdf", "w") as file:
        file["entry/data"] = SCAN.data
    with h5py.File(tmp / "scan.nxs", "a") as file:
        file[f"{DETECTOR}/data"] = h5py.ExternalLink("camera.hdf", "entry/data")
    return f"scan.nxs::{DETECTOR}/data", {}


def dxchange(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write a DXchange file."""
    return write_dxchange(tmp / "scan.h5", SCAN), {}


def folders(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write folders of TIFF frames."""
    for name, kind in (("frames", 0), ("frames/flats", 1), ("darks", 2)):  # within the scan, and beside it
        write_frames(tmp / name, SCAN.of(kind))
    (tmp / "frames/angles.txt").write_text("\n".join(map(str, SCAN.angles)))
    return "frames", {}


def one_folder(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write one folder of all frames."""
    write_frames(tmp / "all", SCAN.data)
    (tmp / "keys.csv").write_text("image_key\n" + "\n".join(map(str, SCAN.key)))
    return "all", {"rotation_angle": [0.0, 180.0], "image_key": "keys.csv"}


def parts_of_a_folder(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write a folder with a folder of each kind."""
    for name, kind in (("projections", 0), ("flats", 1), ("dark", 2)):
        write_frames(tmp / "scan" / name, SCAN.of(kind))
    np.save(tmp / "scan/theta.npy", SCAN.angles)
    return "scan", {"data": "projections", "flats": "flats", "darks": "dark", "rotation_angle": "theta.npy"}


def no_definition(tmp: Path) -> tuple[str, dict[str, Any]]:
    """Write an HDF5 file that says nothing of what it holds."""
    with h5py.File(tmp / "scan.hdf5", "w") as file:
        file["raw/images"], file["raw/white"], file["raw/black"] = SCAN.of(0), SCAN.of(1), SCAN.of(2)
        file["raw/angle"] = SCAN.angles
    keys = {"data": "raw/images", "flats": "/raw/white", "darks": "raw/black", "rotation_angle": "/raw/angle"}
    return "scan.hdf5", keys


FORMATS: dict[str, Callable[[Path], tuple[str, dict[str, Any]]]] = {
    "NXtomo": nxtomo,
    "NXtomo with real keys and radians": nxtomo_of_reals,
    "NXtomo with frames in another file": nxtomo_split,
    "DXchange": dxchange,
    "TIFF folders": folders,
    "a TIFF folder of all frames": one_folder,
    "parts of a TIFF folder": parts_of_a_folder,
    "HDF5 without a definition": no_definition,
}
