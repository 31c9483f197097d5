"""Virtual datasets of HDF5: what is missing of them or of their sources, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from crackdask.grid import Box
from crackdask.sources import SourceError, open_source
from tests.support.incomplete import CHUNK, EVERY, SHAPE, UNLIMITED, WHOLE, as_hdf5, slices_of, virtual, voxels


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
