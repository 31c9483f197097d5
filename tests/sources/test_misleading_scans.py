"""Scans whose headers promise other voxels than a reader would get: each is refused, none is read in silence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from crackdask.grid import Box
from crackdask.sources import SourceError, open_source

SHAPE = (7, 20, 33)
VOXELS = np.random.default_rng(5).integers(1, 60_000, SHAPE).astype(np.uint16)
WHOLE = Box.whole(SHAPE)


def refused(spec: str | Path, folder: Path, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        open_source(str(spec), folder)


def reads(spec: str | Path, folder: Path) -> None:
    np.testing.assert_array_equal(open_source(str(spec), folder).read(WHOLE), VOXELS)


# ---------------------------------------------------------------- TIFF


@pytest.mark.parametrize("second", [VOXELS, VOXELS[:, ::2]])
def test_of_two_volumes_in_an_ome_file_none_is_chosen(second: np.ndarray[Any, Any], tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as tif:
        for image in (VOXELS, second):
            tif.write(image, metadata={"axes": "ZYX"}, photometric="minisblack")
    refused("two.ome.tif", tmp_path, r"two\.ome\.tif: found 2 images \(\(7, 20, 33\) uint16, .*of its own")


def test_a_pyramid_and_a_preview_are_no_second_volume(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "one.ome.tif", ome=True) as tif:
        tif.write(VOXELS, subifds=1, metadata={"axes": "ZYX"}, photometric="minisblack", tile=(16, 16))
        tif.write(VOXELS[:, ::2, ::2], subfiletype=1, metadata=None, tile=(16, 16))
        tif.write(VOXELS[0], metadata={"axes": "YX"}, photometric="minisblack")
    reads("one.ome.tif", tmp_path)


@pytest.mark.parametrize(
    ("options", "old", "new"),
    [
        ({"ome": True, "metadata": {"axes": "ZYX"}, "photometric": "minisblack"}, b'SizeZ="7"', b'SizeZ="5"'),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, b"images=7\nslices=7", b"images=5\nslices=5"),
    ],
)
def test_pages_that_the_header_does_not_know(options: dict[str, Any], old: bytes, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "scan.ome.tif" if "ome" in options else tmp_path / "scan.tif"
    tifffile.imwrite(path, VOXELS, **options)
    reads(path, tmp_path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    refused(path, tmp_path, r"scan.*: found 7 pages, of which its header \((ome|imagej)\) knows 5")


def slices(folder: Path, turned: Sequence[int] = ()) -> Path:
    folder.mkdir()
    for z, image in enumerate(VOXELS):
        turn = [(274, "H", 1, 3, True)] if z in turned else []
        tifffile.imwrite(folder / f"a_{z:03}.tif", image, extratags=turn)
    return folder


def test_a_slice_that_is_turned_among_others(tmp_path: Path) -> None:
    reads(slices(tmp_path / "all", range(7)), tmp_path)
    words = r"a_003\.tif: found Orientation 3 .*6 of 7 slices have 1"
    refused(slices(tmp_path / "one", [3]), tmp_path, words)


def test_a_superscript_is_no_number(tmp_path: Path) -> None:
    for path in slices(tmp_path / "a").iterdir():
        path.rename(path.with_name(f"²{path.name}"))
    reads(tmp_path / "a", tmp_path)


# ---------------------------------------------------------------- HDF5


@pytest.mark.parametrize("cut", [0, 100])
def test_an_external_file_without_an_end_holds_all_that_is_left(cut: int, tmp_path: Path) -> None:
    half = VOXELS.nbytes // 2
    content = VOXELS.tobytes()
    (tmp_path / "raw_0").write_bytes(content[:half])
    (tmp_path / "raw_1").write_bytes(bytes(50) + content[half : len(content) - cut])
    files = [("raw_0", 0, half), ("raw_1", 50, h5py.h5f.UNLIMITED)]
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("scan", SHAPE, "u2", external=files)
    if cut:
        wanted = VOXELS.nbytes - half + 50
        refused("scan.h5::scan", tmp_path, rf"raw_1: truncated, {wanted - cut} bytes of {wanted}")
    else:
        reads("scan.h5::scan", tmp_path)


@pytest.mark.parametrize(("own", "fits"), [("u2", True), ("u1", True), ("u4", False), ("i2", False), ("f4", False)])
def test_voxels_that_a_virtual_dataset_would_cut_off(own: str, fits: bool, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["scan"] = VOXELS.astype(own)
    layout = h5py.VirtualLayout(SHAPE, "u2")
    layout[...] = h5py.VirtualSource("own.h5", "scan", SHAPE)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)
    if fits:
        found = open_source("scan.h5::scan", tmp_path).read(WHOLE)
        np.testing.assert_array_equal(found, VOXELS.astype(own))
    else:
        refused("scan.h5::scan", tmp_path, r"its voxels are uint16, those .*own\.h5::scan are .* cut off")


def test_a_filter_that_is_not_installed_is_told_before_a_voxel_is_read(tmp_path: Path) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((1, *SHAPE[1:]))
    made.set_filter(305, h5py.h5z.FLAG_OPTIONAL)  # LZO, which no plugin of ours reads
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        scan = h5py.h5d.create(file.id, b"scan", h5py.h5t.STD_U16LE, h5py.h5s.create_simple(SHAPE), made)
        for z, image in enumerate(VOXELS):
            scan.write_direct_chunk((z, 0, 0), image.tobytes(), filter_mask=0)
    refused("scan.h5::scan", tmp_path, r"scan\.h5::/scan: packed with HDF5 filter 305 .*HDF5_PLUGIN_PATH")


def test_a_link_to_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/scan"] = h5py.ExternalLink("pipe.h5", "/scan")
    refused("scan.h5::entry/scan", tmp_path, r"pipe\.h5: found a named pipe")


def test_a_file_that_another_program_writes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["scan"] = VOXELS
    program = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print(flush=True); input()"
    command = [sys.executable, "-c", program, str(tmp_path / "scan.h5")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        refused("scan.h5::scan", tmp_path, r"scan\.h5: another program has it open for writing; wait")
        writer.communicate(b"\n")
    reads("scan.h5::scan", tmp_path)


def test_a_virtual_dataset_of_numbered_files(tmp_path: Path) -> None:
    for z, image in enumerate(VOXELS):
        with h5py.File(tmp_path / f"part_{z}.h5", "w") as file:
            file["scan"] = image[None]
    made, ends = h5py.h5p.create(h5py.h5p.DATASET_CREATE), (h5py.h5s.UNLIMITED, *SHAPE[1:])
    space = h5py.h5s.create_simple(SHAPE, ends)
    space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 1, 1), (1, *SHAPE[1:]))
    made.set_virtual(space, b"part_%b.h5", b"scan", h5py.h5s.create_simple((1, *SHAPE[1:])))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        h5py.h5d.create(file.id, b"scan", h5py.h5t.STD_U16LE, h5py.h5s.create_simple(SHAPE, ends), made)
    refused("scan.h5::scan", tmp_path, r"numbered as they come \(part_%b\.h5\), which is not known here; gather")


# ---------------------------------------------------------------- numpy and Zarr


def test_a_numpy_file_that_goes_on_behind_its_array(tmp_path: Path) -> None:
    with (tmp_path / "scan.npy").open("wb") as file:
        np.save(file, VOXELS)
        np.save(file, VOXELS)
    refused("scan.npy", tmp_path, r"scan\.npy: found a second array behind the first")


def as_zarr(folder: Path, **options: Any) -> Path:
    array = zarr.create_array(folder, shape=SHAPE, dtype="u2", chunks=(3, 8, 16), **options)
    array[:] = VOXELS
    return folder


def test_of_two_zarr_arrays_in_one_folder_none_is_chosen(tmp_path: Path) -> None:
    old, new = as_zarr(tmp_path / "old.zarr", zarr_format=2), as_zarr(tmp_path / "new.zarr")
    reads(old, tmp_path)
    shutil.copytree(new, old, dirs_exist_ok=True)
    refused(old, tmp_path, r"old\.zarr: found two arrays in one folder, .*\.zarray.*zarr\.json")


def named(folder: Path, axes: str) -> Path:
    return as_zarr(folder / "scan.zarr", dimension_names=list(axes))


def as_image(folder: Path, axes: str) -> Path:
    group = zarr.open_group(folder / "scan.zarr", mode="w")
    group.attrs["ome"] = {"multiscales": [{"axes": [{"name": name} for name in axes], "datasets": [{"path": "0"}]}]}
    as_zarr(folder / "scan.zarr" / "0")
    return folder / "scan.zarr"


@pytest.mark.parametrize("write", [named, as_image])
def test_channels_and_times_of_zarr_are_no_slices(write: Callable[[Path, str], Path], tmp_path: Path) -> None:
    for axes in ("zyx", "tyx", "cyx", "xyz"):
        (tmp_path / axes).mkdir()
        spec = write(tmp_path / axes, axes)
        if axes == "zyx":
            reads(spec, tmp_path)
        else:
            refused(spec, tmp_path, rf"found axes {', '.join(axes)}, wanted z, y, x")


def as_labels(data: h5py.Dataset, axes: Sequence[str]) -> None:
    for dim, name in zip(data.dims, axes, strict=True):
        dim.label = name


def as_nxdata(data: h5py.Dataset, axes: Sequence[str]) -> None:
    data.parent.attrs.update(NX_class="NXdata", signal="v", axes=list(axes))


@pytest.mark.parametrize("say", [as_labels, as_nxdata])
@pytest.mark.parametrize("axes", [("z", "y", "x"), ("time", "y", "x"), ("energy", "row", "column"), ("X", "Y", "Z")])
def test_what_hdf5_says_of_axes(say: Callable[..., None], axes: tuple[str, ...], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        say(file.create_dataset("entry/v", data=VOXELS), axes)
    spec = f"{tmp_path / 'scan.h5'}::/entry/v"
    if axes == ("z", "y", "x"):
        reads(spec, tmp_path)
    else:
        refused(spec, tmp_path, rf"found axes {', '.join(axes)}, wanted z, y, x")


def changed(scan: Path, **values: Any) -> None:
    path = scan / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_metadata_with_more_chunks_than_memory_holds(tmp_path: Path) -> None:
    scan = as_zarr(tmp_path / "scan.zarr")
    changed(scan, shape=[10**12, *SHAPE[1:]])
    refused(scan, tmp_path, r"scan\.zarr: shape .* makes 3000000000006 chunks, more than any scan has")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("scan", (10**12, *SHAPE[1:]), "u2", chunks=(3, 8, 16))
    refused("scan.h5::scan", tmp_path, r"scan\.h5: shape .* more than any scan has")


def test_a_codec_that_is_not_known(tmp_path: Path) -> None:
    scan = as_zarr(tmp_path / "scan.zarr")
    codecs = json.loads((scan / "zarr.json").read_text())["codecs"]
    changed(scan, codecs=[*codecs, {"name": "jpegxl_of_tomorrow", "configuration": {}}])
    refused(scan, tmp_path, r"packed with a codec that is not known here \(.*jpegxl_of_tomorrow.*install")
