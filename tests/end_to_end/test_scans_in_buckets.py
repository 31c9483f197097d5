"""Scans in object storage: the same voxels as on a disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from crackdask.engine.checkpoints import Work
from crackdask.grid import Box
from crackdask.schema import UnitKey
from crackdask.sources import SourceError, open_source
from crackdask.storage.bucket import Prefix
from tests.support.bucket import upload
from tests.support.tiny import Tiny, scan


def write_tiff(path: Path, voxels: Any) -> str:
    tifffile.imwrite(path, voxels)
    return ""


def write_packed_tiff(path: Path, voxels: Any) -> str:
    tifffile.imwrite(path, voxels, compression="zlib", rowsperstrip=5)
    return ""


def write_slices(path: Path, voxels: Any) -> str:
    Tiny.write_slices(path.with_suffix(""), voxels)
    return ""


def write_hdf5(path: Path, voxels: Any) -> str:
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", data=voxels, chunks=(4, 8, 8), compression="gzip")
    return "::/entry/data"


def write_zarr(path: Path, voxels: Any) -> str:
    zarr.create_group(path).create_array("scan", data=voxels, chunks=(8, 8, 8))
    return "::/scan"


def write_npy(path: Path, voxels: Any) -> str:
    np.save(path, voxels)
    return ""


def write_fortran(path: Path, voxels: Any) -> str:
    np.save(path, np.asfortranarray(voxels))
    return ""


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_slices, "slices"),
        (write_tiff, "stack.tif"),
        (write_packed_tiff, "packed.tif"),
        (write_hdf5, "scan.h5"),
        (write_zarr, "scan.zarr"),
        (write_npy, "scan.npy"),
        (write_fortran, "fortran.npy"),
    ],
)
def test_a_scan_in_a_bucket_is_the_scan(
    bucket: Prefix, tmp_path: Path, write: Callable[[Path, Any], str], name: str
) -> None:
    voxels = scan(3)
    inner = write(tmp_path / name, voxels)
    there = upload(tmp_path / name, bucket / "formats" / name)
    found = open_source(f"{there}{inner}", tmp_path)
    assert (found.shape, found.dtype, found.kind) == (
        voxels.shape,
        voxels.dtype,
        open_source(f"{tmp_path / name}{inner}", tmp_path).kind,
    )
    for box in (Box.whole(voxels.shape), Box((3, 5, 7), (9, 17, 30)), Box((19, 0, 31), (20, 28, 32))):
        np.testing.assert_array_equal(found.read(box), voxels[box.slices])
    before = found.fingerprint()
    assert open_source(f"{there}{inner}", tmp_path).fingerprint() == before
    write(tmp_path / name, voxels + 1) if name != "scan.zarr" else (tmp_path / name / "scan/c/0/0/0").write_bytes(b"x")
    upload(tmp_path / name, there)
    assert open_source(f"{there}{inner}", tmp_path).fingerprint() != before


@pytest.mark.parametrize("shards", [None, (16, 16, 16)])
def test_a_chunk_that_a_scan_in_a_bucket_lacks_is_missed(
    bucket: Prefix, tmp_path: Path, shards: tuple[int, int, int] | None
) -> None:
    voxels = scan(3)
    group = zarr.create_group(tmp_path / "scan.zarr")
    group.create_array("scan", data=voxels, chunks=(8, 8, 8), shards=shards)
    there = upload(tmp_path / "scan.zarr", bucket / f"lacking-{shards is None}.zarr")
    source = open_source(f"{there}::/scan", tmp_path)
    np.testing.assert_array_equal(source.read(Box.whole(voxels.shape)), voxels)
    (there / "scan/c/0/0/0").unlink()
    with pytest.raises(SourceError, match="the chunk scan/c/0/0/0 is gone"):
        source.read(Box((0, 0, 0), (8, 8, 8)))
    with pytest.raises(SourceError, match=r"(1|8) of 48 chunks .* first that of voxels \[0:8, 0:8, 0:8\]"):
        open_source(f"{there}::/scan", tmp_path)


def test_scans_that_cannot_be_used_are_told(bucket: Prefix, tmp_path: Path) -> None:
    def refused(spec: object) -> str:
        with pytest.raises(SourceError) as said:
            open_source(str(spec), tmp_path)
        return str(said.value)

    assert refused(bucket / "nothing") == "s3://bucket/nothing: no such file or folder; correct the path"
    voxels = scan(1)
    Tiny.write_slices(tmp_path / "gap", voxels)
    (tmp_path / "gap" / "slice_0007.tif").unlink()
    assert "number 7 is missing between slice_0006.tif and slice_0008.tif" in refused(
        upload(tmp_path / "gap", bucket / "gap")
    )
    np.save(tmp_path / "cut.npy", voxels)
    (bucket / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-9])
    assert "s3://bucket/cut.npy: truncated" in refused(bucket / "cut.npy")
    layout = h5py.VirtualLayout(voxels.shape, voxels.dtype)
    layout[:] = h5py.VirtualSource("other.h5", "data", voxels.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert "has its voxels in other files (other.h5)" in refused(upload(tmp_path / "virtual.h5", bucket / "virtual.h5"))


def test_a_recipe_may_mix_places(local: Tiny, bucket: Prefix, tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    tiny.content = json.loads(json.dumps(local.content))
    tiny.content["states"][1]["source"] = str(upload(local.folder / "scans" / "b", bucket / "scans" / "b"))
    assert tiny.run("--until", "read").code == 0
    found, wanted = (Work.beside(each.store).result(UnitKey("read", 1)) for each in (tiny, local))
    assert found is not None
    assert wanted is not None
    assert sorted(found[1]) == sorted(wanted[1])
    for name, values in found[1].items():
        np.testing.assert_array_equal(values, wanted[1][name])
    drafted = tiny.crackdask("init", str(bucket / "scans" / "b"), "-o", tmp_path / "new.toml")
    assert drafted.code == 0
    assert 'source = "s3://bucket/scans/b"' in (tmp_path / "new.toml").read_text()
