"""Every format round trip, every bad scan with its message, nothing read before its time."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdask.grid import Box
from crackdask.sources import Source, SourceError, open_source, suggest
from tests.support.threes import three

SHAPE = (7, 20, 33)
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def volume(dtype: str = "uint16", shape: tuple[int, int, int] = SHAPE) -> np.ndarray[Any, Any]:
    """Voxels that all differ from their neighbours."""
    count = np.arange(np.prod(shape), dtype=np.int64) * 7919 % 65521
    if np.dtype(dtype).kind == "f":
        return (count / 7 - 1000).astype(dtype).reshape(shape)
    return (count + np.iinfo(dtype).min).astype(dtype).reshape(shape)


def write_slices(folder: Path, voxels: np.ndarray[Any, Any], **options: Any) -> Path:
    folder.mkdir()
    for z, image in enumerate(voxels):
        tifffile.imwrite(folder / f"scan_{z + 8}.tif", image, **options)  # 8, 9, 10: natural order
    return folder


def slices(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    return str(write_slices(tmp / "slices", voxels, **options))


def stack(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    tifffile.imwrite(tmp / "stack.tif", voxels, **options)
    return str(tmp / "stack.tif")


def pages(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    with tifffile.TiffWriter(tmp / "pages.tiff", byteorder=options.pop("byteorder", None)) as tif:
        for image in voxels:
            tif.write(image, metadata=None, contiguous=False, **options)
    return str(tmp / "pages.tiff")


def hdf5(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    with h5py.File(tmp / "scan.nxs", "w") as file:
        file.create_dataset("entry/data/data", data=voxels, **options)
        file["entry/angles"] = np.arange(4.0)
    return f"{tmp / 'scan.nxs'}::/entry/data/data"


def zarr_array(tmp: Path, voxels: np.ndarray[Any, Any], **options: Any) -> str:
    made = zarr.create_array(tmp / "scan.zarr", shape=voxels.shape, dtype=voxels.dtype, chunks=(3, 8, 16), **options)
    made[:] = voxels
    name = options.get("name")
    return f"{tmp / 'scan.zarr'}" + (f"::{name}" if name else "")


def npy(tmp: Path, voxels: np.ndarray[Any, Any], fortran: bool = False) -> str:
    np.save(tmp / "scan.npy", np.asfortranarray(voxels) if fortran else voxels)
    return str(tmp / "scan.npy")


FORMATS: dict[str, tuple[Callable[..., str], str, dict[str, Any]]] = {
    "slices uint8": (slices, "uint8", {}),
    "slices big-endian": (slices, "uint16", {"byteorder": ">"}),
    "slices deflate, strips, big-endian": (
        slices,
        "int16",
        {"byteorder": ">", "compression": "zlib", "predictor": True, "rowsperstrip": 6},
    ),
    "slices tiled lzw": (slices, "float32", {"compression": "lzw", "tile": (16, 16)}),
    "slices float64": (slices, "float64", {}),
    "stack": (stack, "uint16", {}),
    "stack big-endian": (stack, "float32", {"byteorder": ">"}),
    "stack imagej": (stack, "uint16", {"imagej": True}),
    "stack ome zstd": (
        stack,
        "uint16",
        {"ome": True, "compression": "zstd", "rowsperstrip": 5, "metadata": {"axes": "ZYX"}},
    ),
    "stack bigtiff uint32": (stack, "uint32", {"bigtiff": True}),
    "pages": (pages, "uint16", {}),
    "pages big-endian lzw": (pages, "int16", {"byteorder": ">", "compression": "lzw"}),
    "hdf5": (hdf5, "uint16", {}),
    "hdf5 gzip": (hdf5, "float32", {"compression": "gzip", "chunks": (2, 8, 8)}),
    "hdf5 bitshuffle": (hdf5, "float64", {"chunks": (2, 8, 8), **hdf5plugin.Bitshuffle()}),
    "hdf5 big-endian": (hdf5, ">f4", {}),
    "zarr 2": (zarr_array, "uint16", {"zarr_format": 2}),
    "zarr 2 big-endian": (zarr_array, ">i2", {"zarr_format": 2}),
    "zarr 3": (zarr_array, "float32", {"name": "group/scan"}),
    "zarr 3 shards": (zarr_array, "uint8", {"shards": (6, 16, 32)}),
    "npy": (npy, "uint16", {}),
    "npy big-endian": (npy, ">f8", {}),
    "npy Fortran": (npy, "int16", {"fortran": True}),
    "npy Fortran big-endian": (npy, ">u4", {"fortran": True}),
}


@pytest.fixture(scope="module", params=FORMATS)
def scan(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Source, np.ndarray[Any, Any]]:
    """Write a scan in each format; with what it should hold."""
    write, dtype, options = FORMATS[request.param]
    truth = volume(dtype)
    spec = write(tmp_path_factory.mktemp("scan"), truth, **options)
    return open_source(spec, Path("/")), truth.astype(truth.dtype.newbyteorder("="))


def test_reads_what_was_written(scan: tuple[Source, np.ndarray[Any, Any]]) -> None:
    source, truth = scan
    assert (source.shape, source.dtype, source.nbytes) == (truth.shape, truth.dtype, truth.nbytes)
    found = source.read(Box.whole(SHAPE))
    assert found.dtype == truth.dtype
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, truth)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_box_is_cut_from_the_whole(scan: tuple[Source, np.ndarray[Any, Any]], data: st.DataObject) -> None:
    source, truth = scan
    ends = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in SHAPE]
    box = Box(three(a for a, _ in ends), three(b for _, b in ends))
    np.testing.assert_array_equal(source.read(box), truth[box.slices])


def test_a_pickled_source_is_the_same_source(scan: tuple[Source, np.ndarray[Any, Any]]) -> None:
    source, truth = scan
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert again.fingerprint() == source.fingerprint()
    np.testing.assert_array_equal(again.read(Box.whole(SHAPE)), truth)


def test_nothing_is_read_before_it_is_asked_for(
    scan: tuple[Source, np.ndarray[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = scan

    def read(self: Source, box: Box) -> None:
        raise AssertionError(f"{box} was read")

    monkeypatch.setattr(Source, "read", read)
    monkeypatch.setattr(type(source), "_load", read)
    spec = f"{source.location}::{source.inner}" if source.kind == "hdf5" else source.location
    if source.inner in ("", "/") or source.kind == "hdf5":
        open_source(spec, Path("/"))


def test_box_outside_the_scan(tmp_path: Path) -> None:
    source = open_source(npy(tmp_path, volume()), tmp_path)
    for box in (Box((0, 0, 0), (8, 1, 1)), Box((-1, 0, 0), (1, 1, 1)), Box((2, 2, 2), (2, 3, 3))):
        with pytest.raises(ValueError, match="not within a scan of"):
            source.read(box)


def test_only_the_slices_asked_for_are_read(tmp_path: Path) -> None:
    source = open_source(slices(tmp_path, volume()), tmp_path)
    for name in ("scan_8.tif", "scan_14.tif"):
        (tmp_path / "slices" / name).unlink()
    box = Box((1, 4, 0), (6, 9, 33))
    np.testing.assert_array_equal(source.read(box), volume()[box.slices])
    with pytest.raises(SourceError, match=r"scan_8\.tif"):
        source.read(Box.whole(SHAPE))


def test_relative_to_the_recipe(tmp_path: Path) -> None:
    slices(tmp_path, volume())
    (tmp_path / "recipes").mkdir()
    found = open_source("../slices", tmp_path / "recipes")
    assert found.location == str(tmp_path / "slices")


def test_hidden_and_foreign_files_are_no_slices(tmp_path: Path) -> None:
    spec = Path(slices(tmp_path, volume()))
    (spec / "._scan_8.tif").write_bytes(b"x")
    (spec / "log.txt").write_text("exposure 0.1 s")
    assert open_source(str(spec), tmp_path).shape == SHAPE


def test_series_may_have_a_step_or_no_numbers(tmp_path: Path) -> None:
    for folder, names in {"step": ["a05", "a10", "a15", "a20"], "words": ["a", "b", "c"]}.items():
        (tmp_path / folder).mkdir()
        for name, image in zip(names, volume(), strict=False):
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", image)
        found = open_source(folder, tmp_path).read(Box((1, 0, 0), (3, 20, 33)))
        np.testing.assert_array_equal(found, volume()[1:3])


def test_the_only_volume_needs_no_name(tmp_path: Path) -> None:
    assert open_source(hdf5(tmp_path, volume()).split("::")[0], tmp_path).inner == ("/entry/data/data")
    zarr_array(tmp_path, volume(), name="group/scan")
    assert open_source("scan.zarr", tmp_path).inner == "/group/scan"


# ---------------------------------------------------------------- bad scans


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


# ---------------------------------------------------------------- fingerprints


@pytest.mark.parametrize("write", [slices, stack, hdf5, npy, zarr_array])
def test_fingerprint_is_of_the_scan_not_of_its_place(write: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    spec = write(tmp_path / "here", volume())
    shutil.copytree(tmp_path / "here", tmp_path / "there")  # keeps modification times
    moved = spec.replace("here", "there", 1)
    first = open_source(spec, tmp_path).fingerprint()
    assert len(first) == 64
    assert open_source(moved, tmp_path).fingerprint() == first

    path = Path(moved.split("::")[0])
    changed = max(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else path
    stat = changed.stat()
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
    assert open_source(moved, tmp_path).fingerprint() != first
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_source(moved, tmp_path).fingerprint() == first
    with changed.open("ab") as file:
        file.write(b"\n")
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_source(moved, tmp_path).fingerprint() != first


def test_fingerprint_knows_the_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = volume(), volume()
    a, b = (open_source(f"two.h5::{name}", tmp_path).fingerprint() for name in "ab")
    assert a != b
    assert a == open_source("two.h5::/a", tmp_path).fingerprint()


# ---------------------------------------------------------------- suggestions


def test_suggest_reads_voxel_sizes(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a_ome.ome.tif",
        volume(),
        ome=True,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeX": 325.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.325,
            "PhysicalSizeZ": 0.65,
        },
    )
    tifffile.imwrite(
        tmp_path / "b_imagej.tif",
        volume(),
        imagej=True,
        resolution=(1 / 0.325, 1 / 0.325),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 0.325},
    )
    with h5py.File(tmp_path / "c.nxs", "w") as file:
        group = file.create_group("entry/data")
        group["data"] = volume()
        group.attrs["axes"] = ["z", "y", "x"]
        for name, n in zip("zyx", SHAPE, strict=True):
            group[name] = np.arange(n) * 0.000325
            group[name].attrs["units"] = "mm"
    zarr_array(tmp_path, volume(), name="s0")
    zarr.open_group(tmp_path / "scan.zarr").attrs["multiscales"] = [
        {
            "axes": [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"],
            "datasets": [
                {
                    "path": "s0",
                    "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5, 0.5]}],
                }
            ],
        }
    ]
    slices(tmp_path, volume())
    found = {entry["name"]: entry for entry in suggest(tmp_path / "slices")}
    assert found["slices"]["voxel_um"] is None
    shutil.rmtree(tmp_path / "slices")
    entries = suggest(tmp_path)
    assert [entry["name"] for entry in entries] == ["a_ome", "b_imagej", "c", "scan"]
    assert entries[0]["voxel_um"] == (0.65, 0.325, 0.325)
    assert entries[1]["voxel_um"] == pytest.approx(0.325, rel=1e-5)
    assert entries[2]["voxel_um"] == pytest.approx(0.325)
    assert entries[3]["voxel_um"] == 0.5
    for entry in entries:
        assert (entry["shape"], entry["dtype"]) == (SHAPE, "uint16")
        assert open_source(entry["source"], Path("/")).shape == SHAPE


def test_suggest_finds_the_scans_of_a_folder_in_natural_order(tmp_path: Path) -> None:
    for name in ("charge10", "charge9", "pristine"):
        write_slices(tmp_path / name, volume())
    (tmp_path / "notes").mkdir()
    assert [e["name"] for e in suggest(tmp_path)] == ["charge9", "charge10", "pristine"]


def test_suggest_says_that_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(SourceError, match=r"no TIFF slices \(but 1 x \.txt\)"):
        suggest(tmp_path)


# ---------------------------------------------------------------- measured volumes


@pytest.mark.parametrize("name", ["snow", "snow_moved", "cement"])
def test_measured_volumes(name: str) -> None:
    path = DATA / f"{name}.tif"
    if not path.exists():
        pytest.skip(f"{path.name} is not in {DATA.name}/ beside the checkout")
    source = open_source(str(path), DATA)
    truth = tifffile.imread(path)
    box = Box((11, 22, 33), (44, 55, 66))
    np.testing.assert_array_equal(source.read(Box.whole(source.shape)), truth)
    np.testing.assert_array_equal(source.read(box), truth[box.slices])
