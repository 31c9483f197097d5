"""Nothing that is missing counts as measured: chunks, slices; nothing is read that is no file."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from collections.abc import Callable
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
from tests.support.incomplete import CHUNK, EVERY, SHAPE, WHOLE, as_hdf5, slices_of, virtual, voxels
from tests.support.tiny import Tiny

Write = Callable[[Path, np.ndarray[Any, Any]], str]


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


SHARDS: dict[str, dict[str, Any]] = {
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
