"""Every format round trip, nothing read before its time."""

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
from tests.support.scan_writers import SHAPE, hdf5, npy, pages, slices, stack, volume, write_slices, zarr_array
from tests.support.threes import three

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


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
