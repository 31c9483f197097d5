"""Every bad scan is named, before a voxel is read or when it breaks later."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from crackdask.grid import Box
from crackdask.sources import SourceError, open_source
from tests.support.scan_writers import SHAPE, hdf5, npy, pages, slices, stack, volume, zarr_array


def replaced(tmp: Path, image: np.ndarray[Any, Any], **options: Any) -> str:
    spec = slices(tmp, volume())
    tifffile.imwrite(tmp / "slices" / "scan_10.tif", image, **options)
    return spec


def removed(tmp: Path, *names: str) -> str:
    spec = slices(tmp, volume())
    for name in names:
        (tmp / "slices" / name).unlink()
    return spec


def added(tmp: Path, name: str) -> str:
    spec = slices(tmp, volume())
    shutil.copy(tmp / "slices" / "scan_9.tif", tmp / "slices" / name)
    return spec


def cut_short(path: Path, share: float = 0.5) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def truncated(tmp: Path, write: Callable[..., str], share: float, **options: Any) -> str:
    spec = write(tmp, volume(), **options)
    path = Path(spec.split("::")[0])
    cut_short(path / "scan_10.tif" if path.is_dir() else path, share)
    return spec


def folder_of(tmp: Path, *names: str) -> str:
    (tmp / "folder").mkdir()
    for name in names:
        (tmp / "folder" / name).write_bytes(b"not a picture")
    return "folder"


def two_volumes(tmp: Path) -> str:
    with h5py.File(tmp / "two.h5", "w") as file:
        file["raw"], file["flat"], file["theta"] = volume(), volume()[:2], np.arange(9)
    return "two.h5"


def empty_folder(tmp: Path) -> str:
    (tmp / "empty.zarr").mkdir()
    return str(tmp / "empty.zarr")


def two_zarrs(tmp: Path) -> str:
    group = zarr.open_group(tmp / "two.zarr", mode="w")
    for name in ("raw", "flat"):
        group.create_array(name, shape=SHAPE, dtype="uint8")
    return "two.zarr"


def array_of(tmp: Path, voxels: Any) -> str:
    np.save(tmp / "scan.npy", voxels)
    return "scan.npy"


def virtual(tmp: Path) -> str:
    hdf5(tmp, volume())
    layout = h5py.VirtualLayout(SHAPE, "u2")
    layout[...] = h5py.VirtualSource(tmp / "scan.nxs", "entry/data/data", SHAPE)
    with h5py.File(tmp / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    (tmp / "scan.nxs").unlink()
    return "master.h5::data"


def uneven(tmp: Path) -> str:
    with tifffile.TiffWriter(tmp / "uneven.tif") as tif:
        for image in (volume()[0], volume()[1], volume()[2, :5]):
            tif.write(image, metadata=None)
    return "uneven.tif"


BAD: dict[str, tuple[Callable[[Path], str], str]] = {
    "missing path": (lambda t: "nowhere/scan", r"nowhere.scan: no such .* relative to"),
    "empty folder": (folder_of, r"folder: the folder is empty, wanted TIFF slices"),
    "no TIFFs": (
        lambda t: folder_of(t, "a.png", "b.png", "c"),
        r"no TIFF slices \(but 2 x \.png, 1 x no suffix\)",
    ),
    "one TIFF": (
        lambda t: str(Path(stack(t, volume())).parent),
        r"single TIFF, wanted one a slice.*stack\.tif",
    ),
    "not a TIFF": (lambda t: folder_of(t, "1.tif", "2.tif"), r"1\.tif: unreadable, trunc"),
    "unknown suffix": (lambda t: folder_of(t, "a.raw") + "/a.raw", r"a\.raw: not a format"),
    "gap": (lambda t: removed(t, "scan_11.tif"), r"number 11 is missing between scan_10\.tif and"),
    "two of three": (
        lambda t: removed(t, *(f"scan_{n}.tif" for n in (9, 11, 12, 13, 14))),
        r"number 9 is missing between scan_8\.tif and scan_10\.tif",
    ),
    "gaps": (lambda t: removed(t, "scan_9.tif", "scan_12.tif"), r"number 9 .*\(2 gaps in 5"),
    "same number": (lambda t: added(t, "scan_009.tif"), r"share their numbers"),
    "foreign TIFF": (lambda t: added(t, "flat_9.tif"), r"flat_9\.tif: does not belong"),
    "unnumbered TIFF": (lambda t: added(t, "mean.tif"), r"mean\.tif: does not belong"),
    "wrong shape": (
        lambda t: replaced(t, volume()[0, :19]),
        r"scan_10\.tif: found \(19, 33\) uint16, where 6 of 7 slices are \(20, 33\) uint16",
    ),
    "wrong type": (
        lambda t: replaced(t, volume("uint8")[0]),
        r"scan_10\.tif: found \(20, 33\) uint8, where 6 of 7",
    ),
    "RGB slice": (
        lambda t: replaced(t, np.zeros((20, 33, 3), "u1"), photometric="rgb"),
        r"scan_10\.tif: found 3 samples",
    ),
    "pages in slice": (
        lambda t: replaced(t, volume()[:2], metadata=None),
        r"scan_10\.tif: found several pages",
    ),
    "truncated slice": (lambda t: truncated(t, slices, 0.9), r"scan_10\.tif: truncated"),
    "beheaded slice": (lambda t: truncated(t, slices, 0.001), r"scan_10\.tif: unreadable"),
    "truncated stack": (lambda t: truncated(t, stack, 0.9), r"stack\.tif: .*truncated"),
    "truncated pages": (lambda t: truncated(t, pages, 0.7), r"pages\.tiff: .*truncated"),
    "truncated packed pages": (
        lambda t: truncated(t, pages, 0.7, compression="zlib"),
        r"pages\.tiff: .*truncated",
    ),
    "truncated npy": (lambda t: truncated(t, npy, 0.9), r"scan\.npy: truncated, \d+ bytes of \d+"),
    "beheaded npy": (lambda t: truncated(t, npy, 0.001), r"scan\.npy: unreadable"),
    "truncated hdf5": (lambda t: truncated(t, hdf5, 0.5), r"scan\.nxs: .*truncated"),
    "RGB stack": (
        lambda t: stack(t, np.zeros((4, 20, 33, 3), "u1"), photometric="rgb"),
        r"stack\.tif: found colour",
    ),
    "2-D TIFF": (lambda t: stack(t, volume()[0]), r"found 2-D data of shape \(20, 33\), wanted 3"),
    "4-D TIFF": (
        lambda t: stack(t, np.zeros((2, *SHAPE), "u1"), photometric="minisblack"),
        r"found 4-D data",
    ),
    "uneven pages": (uneven, r"uneven\.tif: found pages of different shape"),
    "2-D npy": (lambda t: array_of(t, volume()[0]), r"scan\.npy: found 2-D data"),
    "4-D npy": (lambda t: array_of(t, volume()[None]), r"4-D data .*choose one volume"),
    "empty npy": (lambda t: array_of(t, np.zeros((0, 4, 4), "u1")), r"no voxels"),
    "complex": (lambda t: array_of(t, np.zeros(SHAPE, "c8")), r"type complex64, wanted one of uin"),
    "bool": (lambda t: array_of(t, np.zeros(SHAPE, "?")), r"type bool, wanted"),
    "int64": (lambda t: array_of(t, np.zeros(SHAPE, "i8")), r"type int64, wanted .*convert"),
    "float16 slices": (lambda t: slices(t, volume().astype("f2")), r"scan_8\.tif: .*float16"),
    "object npy": (
        lambda t: array_of(t, np.array([{}, []], object).reshape(2, 1, 1)),
        r"type object",
    ),
    "hdf5 path": (
        lambda t: hdf5(t, volume()) + "x",
        r"no dataset '/entry/data/datax'; .*it has /entry/data/data \(7, 20, 33\)",
    ),
    "hdf5 group": (lambda t: hdf5(t, volume())[:-5], r"no dataset '/entry/data'; .*/entry/data/d"),
    "hdf5 1-D": (lambda t: two_volumes(t) + "::theta", r"theta: found 1-D"),
    "hdf5 unnamed": (two_volumes, r"no dataset was named; name one as two\.h5::PATH.*/flat.*/raw"),
    "hdf5 none": (
        lambda t: hdf5(t, volume()[0]).split("::")[0],
        r"no 3-D dataset \(it has /entry/data/data \(20, 33\)\)",
    ),
    "hdf5 corrupt": (lambda t: folder_of(t, "a.h5") + "/a.h5::x", r"a\.h5: unreadable"),
    "hdf5 virtual": (virtual, r"master\.h5: /data points to .*scan\.nxs, which does not exist"),
    "zarr path": (
        lambda t: zarr_array(t, volume(), name="group/scan") + "x",
        r"no dataset 'group/scanx'; .*it has /group/scan \(7, 20, 33\)",
    ),
    "zarr unnamed": (two_zarrs, r"name one as two\.zarr::PATH; it has /flat.*/raw"),
    "zarr nothing": (
        empty_folder,
        r"empty\.zarr: found neither",
    ),
    "inner of TIFF": (lambda t: stack(t, volume()) + "::/data", r"only HDF5 and Zarr"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_scans_are_named_before_a_voxel_is_read(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    spec = make(tmp_path)
    with pytest.raises(SourceError, match=message):
        open_source(spec, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_no_permission(tmp_path: Path) -> None:
    spec = npy(tmp_path, volume())
    Path(spec).chmod(0)
    with pytest.raises(SourceError, match=r"scan\.npy: no permission"):
        open_source(spec, tmp_path)


@pytest.mark.parametrize("write", [slices, stack, pages, hdf5, npy, zarr_array])
def test_what_breaks_after_opening_is_named(write: Callable[..., str], tmp_path: Path) -> None:
    source = open_source(write(tmp_path, volume()), tmp_path)
    path = Path(source.location)
    if write is slices:
        path = path / "scan_11.tif"
    elif write is zarr_array:
        path = next(p for p in (path / "c").rglob("*") if p.is_file())
    cut_short(path)
    with pytest.raises(SourceError, match=r"truncated|corrupt") as caught:
        source.read(Box.whole(SHAPE))
    assert ("scan.zarr" if write is zarr_array else path.name) in str(caught.value)


def test_corrupt_strip_is_named(tmp_path: Path) -> None:
    spec = slices(tmp_path, volume(), compression="zlib")
    path = tmp_path / "slices" / "scan_11.tif"
    with tifffile.TiffFile(path) as tif:
        at = tif.pages.first.dataoffsets[0]
    whole = bytearray(path.read_bytes())
    whole[at : at + 40] = bytes(40)
    path.write_bytes(whole)
    source = open_source(spec, tmp_path)
    with pytest.raises(SourceError, match=r"scan_11\.tif: unreadable, truncated or corrupt"):
        source.read(Box.whole(SHAPE))


def test_slice_exchanged_after_opening(tmp_path: Path) -> None:
    source = open_source(slices(tmp_path, volume()), tmp_path)
    tifffile.imwrite(tmp_path / "slices" / "scan_9.tif", volume("uint8")[0])
    with pytest.raises(SourceError, match=r"scan_9\.tif: now \(20, 33\) uint8, was"):
        source.read(Box.whole(SHAPE))
