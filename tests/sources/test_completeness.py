"""Nothing that is missing counts as measured: chunks, virtual datasets, slices; nothing is read that is no file."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from crackdask.engine.scans import Scans
from crackdask.grid import Box
from crackdask.recipe.recipe import check
from crackdask.sources import SourceError, open_source
from tests.support.tiny import Tiny

SHAPE = (7, 20, 33)
CHUNK = (3, 8, 16)  # 3 x 3 x 3 chunks, all of them cut at the upper faces
WHOLE = Box.whole(SHAPE)
UNLIMITED = h5py.h5s.UNLIMITED
Write = Callable[[Path, np.ndarray[Any, Any]], str]


def voxels() -> np.ndarray[Any, Any]:
    """Return voxels of which none is zero."""
    return (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 60_000 + 1).astype("u2")


def holed() -> np.ndarray[Any, Any]:
    """Return voxels with two chunks of zeros."""
    hole = voxels()
    hole[0:3, 8:16, 16:32] = hole[6:, 16:, 32:] = 0
    return hole


def as_zarr(name: str = "scan", **options: Any) -> Write:
    def write(tmp: Path, content: np.ndarray[Any, Any]) -> str:
        made = zarr.create_array(
            tmp / "scan.zarr", name=name, shape=SHAPE, dtype="u2", chunks=CHUNK, fill_value=0, **options
        )
        made[:] = content
        return "scan.zarr::scan"

    return write


SHARDS = {
    "index at the end": {"shards": (6, 16, 32)},
    "index at the start": {
        "shards": {"shape": (6, 16, 32), "index_location": "start"},
    },
}
ZARR: dict[str, Write] = {
    "2": as_zarr(zarr_format=2),
    "2, nested": as_zarr(zarr_format=2, chunk_key_encoding={"name": "v2", "separator": "/"}),
    "3": as_zarr(),
    "3, flat": as_zarr(chunk_key_encoding={"name": "default", "separator": "."}),
    **{f"3, shards, {name}": as_zarr(**options) for name, options in SHARDS.items()},
}


@pytest.mark.parametrize("form", ZARR)
def test_missing_chunks_of_zarr_are_not_the_fill_value(form: str, tmp_path: Path) -> None:
    spec = ZARR[form](tmp_path, holed())  # zarr leaves chunks of zeros out
    with pytest.raises(SourceError, match=r"2 of 27 chunks .* first .*0:3, 8:16, 16:32.* missing = \"fill\""):
        open_source(spec, tmp_path)
    allowed = open_source(spec, tmp_path, missing="fill")
    np.testing.assert_array_equal(allowed.read(WHOLE), holed())
    assert allowed.unwritten == "2 of 27 chunks"


@pytest.mark.parametrize("form", ZARR)
def test_a_whole_zarr_is_whole(form: str, tmp_path: Path) -> None:
    source = open_source(ZARR[form](tmp_path, voxels()), tmp_path)
    assert source.unwritten == ""
    np.testing.assert_array_equal(source.read(WHOLE), voxels())


def test_zarr_chunks_of_zeros_that_were_written_are_measured(tmp_path: Path) -> None:
    spec = as_zarr(config={"write_empty_chunks": True})(tmp_path, holed())
    np.testing.assert_array_equal(open_source(spec, tmp_path).read(WHOLE), holed())


def test_a_missing_shard_counts_with_all_its_chunks(tmp_path: Path) -> None:
    spec = as_zarr(shards=(6, 16, 32))(tmp_path, voxels())
    (tmp_path / "scan.zarr/scan/c/1/1/1").unlink()
    with pytest.raises(SourceError, match=r"1 of 27 chunks .*6:7, 16:20, 32:33"):
        open_source(spec, tmp_path)
    (tmp_path / "scan.zarr/scan/c/0/0/0").unlink()
    with pytest.raises(SourceError, match=r"9 of 27 chunks .*0:3, 0:8, 0:16"):
        open_source(spec, tmp_path)


def test_a_shard_whose_index_is_cut_off_is_not_whole(tmp_path: Path) -> None:
    spec = as_zarr(shards=(6, 16, 32))(tmp_path, voxels())
    shard = tmp_path / "scan.zarr/scan/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(SourceError, match=r"truncated or corrupt"):
        open_source(spec, tmp_path)


@pytest.mark.parametrize("form", ["2", "3"])
@pytest.mark.parametrize("missing", ["refuse", "fill"])
def test_a_zarr_chunk_that_goes_after_opening_is_missed(form: str, missing: Any, tmp_path: Path) -> None:
    source = open_source(ZARR[form](tmp_path, voxels()), tmp_path, missing=missing)
    (tmp_path / "scan.zarr/scan" / ("1.1.1" if form == "2" else "c/1/1/1")).unlink()
    elsewhere = Box((0, 0, 0), (3, 20, 33))
    np.testing.assert_array_equal(source.read(elsewhere), voxels()[elsewhere.slices])
    if missing == "refuse":
        with pytest.raises(SourceError, match=r"1/1/1|1\.1\.1"):
            source.read(WHOLE)
    else:
        assert not source.read(WHOLE)[3:6, 8:16, 16:32].any()


def as_hdf5(tmp: Path, written: list[tuple[int, ...]], **options: Any) -> str:
    """Write some chunks of a dataset."""
    with h5py.File(tmp / "scan.h5", "w") as file:
        data = file.create_dataset("scan", SHAPE, "u2", **options)
        for place in written:
            box = tuple(slice(c * i, c * i + c) for c, i in zip(CHUNK, place, strict=True))
            data[box] = voxels()[box]
    return "scan.h5::scan"


EVERY = list(product(range(3), repeat=3))


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"maxshape": (None, None, None)}])
def test_chunks_of_hdf5_that_were_never_written_are_missed(options: dict[str, Any], tmp_path: Path) -> None:
    spec = as_hdf5(tmp_path, EVERY, chunks=CHUNK, **options)
    assert open_source(spec, tmp_path).unwritten == ""
    spec = as_hdf5(tmp_path, [p for p in EVERY if p not in ((0, 1, 1), (2, 2, 2))], chunks=CHUNK, **options)
    with pytest.raises(SourceError, match=r"2 of 27 chunks .* first .*0:3, 8:16, 16:32.* missing = \"fill\""):
        open_source(spec, tmp_path)
    allowed = open_source(spec, tmp_path, missing="fill")
    np.testing.assert_array_equal(allowed.read(WHOLE), holed())
    assert allowed.unwritten == "2 of 27 chunks"


def test_a_dataset_that_was_never_written_is_missed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"scan: 4620 of 4620 voxels were never written"):
        open_source(as_hdf5(tmp_path, []), tmp_path)


def test_external_files_that_end_early_are_missed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("scan", shape=(4, 4, 4), dtype="u1", external=[("raw", 0, 64)])
    (tmp_path / "raw").write_bytes(bytes(range(63)))
    with pytest.raises(SourceError, match=r"raw: truncated, 63 bytes of 64"):
        open_source("scan.h5::scan", tmp_path)
    (tmp_path / "raw").write_bytes(bytes(range(64)))
    assert open_source("scan.h5::scan", tmp_path).read(Box.whole((4, 4, 4))).max() == 63


# ---------------------------------------------------------------- virtual datasets


def slices_of(tmp: Path, skipped: tuple[int, ...] = ()) -> None:
    """Write a file for each slice."""
    for z in range(SHAPE[0]):
        with h5py.File(tmp / f"slice_{z}.h5", "w") as file:
            if z not in skipped:
                file["image"] = voxels()[z]


def virtual(tmp: Path, mapped: tuple[int, ...] = tuple(range(SHAPE[0])), rows: int = SHAPE[1]) -> str:
    """Write a virtual dataset of slices, of which only some are mapped."""
    layout = h5py.VirtualLayout(SHAPE, "u2")
    for z in mapped:
        layout[z, :rows] = h5py.VirtualSource(f"slice_{z}.h5", "image", SHAPE[1:])[:rows]
    with h5py.File(tmp / "master.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)
    return "master.h5::scan"


def test_a_whole_virtual_dataset_is_read(tmp_path: Path) -> None:
    slices_of(tmp_path)
    np.testing.assert_array_equal(open_source(virtual(tmp_path), tmp_path).read(WHOLE), voxels())


def test_a_virtual_dataset_with_an_unmapped_part_is_missed(tmp_path: Path) -> None:
    slices_of(tmp_path)
    with pytest.raises(SourceError, match=r"master\.h5::/?scan: 660 of 4620 voxels are mapped to no file.* slice 4"):
        open_source(virtual(tmp_path, (0, 1, 2, 3, 5, 6)), tmp_path)
    with pytest.raises(SourceError, match=r"231 of 4620 voxels are mapped to no file.* slice 0"):
        open_source(virtual(tmp_path, rows=19), tmp_path)
    gaps = open_source(virtual(tmp_path, rows=19), tmp_path, missing="fill")  # between modules of a detector
    assert gaps.unwritten == "231 of 4620 voxels"
    assert not gaps.read(WHOLE)[:, 19].any()


@pytest.mark.parametrize("missing", ["refuse", "fill"])
def test_the_sources_of_a_virtual_dataset_are_there(missing: Any, tmp_path: Path) -> None:
    slices_of(tmp_path, skipped=(5,))
    with pytest.raises(SourceError, match=r"master\.h5.*slice_5\.h5.* no dataset .*image"):
        open_source(virtual(tmp_path), tmp_path, missing=missing)
    (tmp_path / "slice_5.h5").unlink()
    with pytest.raises(SourceError, match=r"master\.h5.*slice_5\.h5, which does not exist"):
        open_source(virtual(tmp_path), tmp_path, missing=missing)
    (tmp_path / "slice_5.h5").write_bytes(b"no HDF5")
    with pytest.raises(SourceError, match=r"slice_5\.h5: unreadable"):
        open_source(virtual(tmp_path), tmp_path, missing=missing)


def test_a_source_of_a_virtual_dataset_that_goes_after_opening_is_missed(tmp_path: Path) -> None:
    slices_of(tmp_path)
    source = open_source(virtual(tmp_path), tmp_path)
    (tmp_path / "slice_5.h5").unlink()
    with pytest.raises(SourceError, match=r"slice_5\.h5: the file is gone"):
        source.read(WHOLE)


def test_a_source_of_a_virtual_dataset_that_is_too_small_is_missed(tmp_path: Path) -> None:
    slices_of(tmp_path)
    with h5py.File(tmp_path / "slice_5.h5", "w") as file:
        file["image"] = voxels()[5, :19]
    with pytest.raises(SourceError, match=r"slice_5\.h5::/?image has .*\(19, 33\)"):
        open_source(virtual(tmp_path), tmp_path)


def test_unwritten_chunks_of_the_source_of_a_virtual_dataset_are_missed(tmp_path: Path) -> None:
    as_hdf5(tmp_path, EVERY[1:], chunks=CHUNK)
    layout = h5py.VirtualLayout(SHAPE, "u2")
    layout[:] = h5py.VirtualSource("scan.h5", "scan", SHAPE)
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)
    with pytest.raises(SourceError, match=r"scan\.h5::/scan: 1 of 27 chunks"):
        open_source("master.h5::scan", tmp_path)
    assert open_source("master.h5::scan", tmp_path, missing="fill").unwritten == "1 of 27 chunks"


@pytest.mark.parametrize("recorded", [7, 5])
def test_a_virtual_dataset_without_an_end_reaches_as_far_as_its_sources(recorded: int, tmp_path: Path) -> None:
    for number, length in enumerate((recorded, 7)):
        with h5py.File(tmp_path / f"part_{number}.h5", "w") as file:
            file.create_dataset("data", data=voxels()[:length], maxshape=(None, *SHAPE[1:]), chunks=(1, 20, 33))
    layout = h5py.VirtualLayout((7, 40, 33), "u2", maxshape=(None, 40, 33))
    for number in range(2):
        part = h5py.VirtualSource(f"part_{number}.h5", "data", SHAPE, maxshape=(None, *SHAPE[1:]))
        layout[0:UNLIMITED, number * 20 : number * 20 + 20] = part[0:UNLIMITED]
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)
    if recorded == 7:
        read = open_source("master.h5::scan", tmp_path).read(Box.whole((7, 40, 33)))
        np.testing.assert_array_equal(read, np.concatenate([voxels(), voxels()], axis=1))
    else:
        with pytest.raises(SourceError, match=r"1320 of 9240 voxels are mapped to no file.* slice 5"):
            open_source("master.h5::scan", tmp_path)


def of_itself(tmp: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "u2")
    layout[:] = h5py.VirtualSource("master.h5", "scan", SHAPE)
    with h5py.File(tmp / "master.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)


def in_a_circle(tmp: Path) -> None:
    for mine, other in (("master", "second"), ("second", "master")):
        layout = h5py.VirtualLayout(SHAPE, "u2")
        layout[:] = h5py.VirtualSource(f"{other}.h5", "scan", SHAPE)
        with h5py.File(tmp / f"{mine}.h5", "w") as file:
            file.create_virtual_dataset("scan", layout)


def of_a_virtual_one(tmp: Path) -> None:
    slices_of(tmp)
    virtual(tmp)
    (tmp / "master.h5").rename(tmp / "second.h5")
    layout = h5py.VirtualLayout(SHAPE, "u2")
    layout[:] = h5py.VirtualSource("second.h5", "scan", SHAPE)
    with h5py.File(tmp / "master.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)


@pytest.mark.parametrize("missing", ["refuse", "fill"])
@pytest.mark.parametrize("make", [of_itself, in_a_circle, of_a_virtual_one])
def test_a_virtual_dataset_of_virtual_ones_is_refused(
    make: Callable[[Path], None], missing: Any, tmp_path: Path
) -> None:
    make(tmp_path)
    other = "master" if make is of_itself else "second"
    with pytest.raises(SourceError, match=rf"master\.h5::/?scan: .*{other}\.h5::/?scan.* virtual itself"):
        open_source("master.h5::scan", tmp_path, missing=missing)


# ---------------------------------------------------------------- TIFF


def slices(tmp: Path, **options: Any) -> Path:
    folder = tmp / "slices"
    folder.mkdir()
    for z, image in enumerate(voxels()):
        tifffile.imwrite(folder / f"scan_{z:02}.tif", image, **options)
    return folder


@pytest.mark.parametrize("number", [0, 3, 6])
def test_a_link_to_a_slice_that_is_gone_is_missed(number: int, tmp_path: Path) -> None:
    folder = slices(tmp_path)
    path = folder / f"scan_{number:02}.tif"
    path.rename(tmp_path / "kept.tif")
    path.symlink_to(tmp_path / "kept.tif")
    np.testing.assert_array_equal(open_source("slices", tmp_path).read(WHOLE), voxels())
    (tmp_path / "kept.tif").unlink()
    with pytest.raises(SourceError, match=rf"scan_{number:02}\.tif: a link to .*kept\.tif, which is not there"):
        open_source("slices", tmp_path)


def test_inverted_and_coloured_images_are_refused(tmp_path: Path) -> None:
    slices(tmp_path, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "white.tif", voxels(), photometric="miniswhite")
    palette = np.zeros((3, 256), "u2")
    tifffile.imwrite(tmp_path / "palette.tif", voxels().astype("u1"), photometric="palette", colormap=palette)
    for name, words in {"slices": "MinIsWhite", "white.tif": "MinIsWhite", "palette.tif": "palette"}.items():
        with pytest.raises(SourceError, match=rf"\.tif: .*{words}.*wanted grey .*MinIsBlack"):
            open_source(name, tmp_path)


def test_an_image_that_does_not_say_what_black_is_has_raw_values(tmp_path: Path) -> None:
    folder = slices(tmp_path)
    for path in folder.iterdir():  # tag 262, PhotometricInterpretation, becomes one that nobody knows
        path.write_bytes(path.read_bytes().replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 263, 3, 1)))
    np.testing.assert_array_equal(open_source("slices", tmp_path).read(WHOLE), voxels())


@pytest.mark.parametrize("axes", ["CYX", "TYX"])
def test_channels_and_times_are_no_slices(axes: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.ome.tif", voxels(), ome=True, photometric="minisblack", metadata={"axes": axes})
    with pytest.raises(SourceError, match=rf"scan\.ome\.tif: .*axes {axes}.*wanted ZYX"):
        open_source("scan.ome.tif", tmp_path)
    tifffile.imwrite(tmp_path / "scan.ome.tif", voxels(), ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(open_source("scan.ome.tif", tmp_path).read(WHOLE), voxels())


# ---------------------------------------------------------------- what is no file


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(("make", "kind"), [(pipe, "named pipe"), (listening, "socket"), (device, "device")])
@pytest.mark.parametrize("name", ["scan.npy", "scan.h5", "scan.tif", "slices/scan_07.tif"])
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], None], kind: str, name: str, tmp_path: Path) -> None:
    slices(tmp_path)
    make(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}: .*{kind}.*wanted a file"):
        open_source("slices" if name.startswith("slices") else name, tmp_path)


def test_a_zarr_chunk_that_is_no_file_is_missing(tmp_path: Path) -> None:
    spec = as_zarr()(tmp_path, voxels())
    (tmp_path / "scan.zarr/scan/c/1/1/1").unlink()
    os.mkfifo(tmp_path / "scan.zarr/scan/c/1/1/1")
    with pytest.raises(SourceError, match=r"1 of 27 chunks"):
        open_source(spec, tmp_path)


def test_a_source_of_a_virtual_dataset_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    slices_of(tmp_path)
    (tmp_path / "slice_5.h5").unlink()
    os.mkfifo(tmp_path / "slice_5.h5")
    with pytest.raises(SourceError, match=r"slice_5\.h5.*named pipe"):
        open_source(virtual(tmp_path), tmp_path)


# ---------------------------------------------------------------- the recipe


def with_a_hole(tiny: Tiny) -> None:
    """Make one of the scans a Zarr array whose last chunks were left out, for they hold zeros."""
    content = tiny.scan(0)
    content[:, 24:] = 0
    shutil.rmtree(tiny.folder / "scans" / "a")
    zarr.create_array(tiny.folder / "scans" / "a.zarr", data=content, chunks=(8, 8, 8))
    tiny.content["states"][0]["source"] = "scans/a.zarr"


def test_the_recipe_says_what_missing_chunks_are(tiny: Tiny) -> None:
    with_a_hole(tiny)
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    assert "(pristine)" in said.err
    assert "12 of 48 chunks" in said.err.replace("\n", " ")
    tiny.content["states"][0]["missing"] = "fill"
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 0, said.err
    assert "read as fill value" in said.out
    assert "pristine: 12 of 48 chunks" in said.out
    assert tiny.run("--until", "read").code == 0


def test_a_draft_tells_of_missing_chunks(tiny: Tiny) -> None:
    with_a_hole(tiny)
    said = tiny.crackdask("init", tiny.folder / "scans" / "a.zarr", "-o", tiny.folder / "drafted.toml")
    assert said.code == 0, said.err
    assert (
        '\n# missing = "fill"  # if the 12 of 48 chunks that are not there'
        in (tiny.folder / "drafted.toml").read_text()
    )


def test_the_choice_changes_nothing_that_was_decided_before(tiny: Tiny) -> None:
    before = Scans.of(check(tiny.content), tiny.folder)
    assert "missing" not in before.recipe.as_dict()["states"][0]
    tiny.content["states"][0]["missing"] = "fill"
    after = Scans.of(check(tiny.content), tiny.folder)
    assert after.recipe.as_dict()["states"][0]["missing"] == "fill"
    assert after.fingerprints == before.fingerprints
