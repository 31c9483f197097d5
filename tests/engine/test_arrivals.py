"""Scans that are yet to come: what counts as there, in which order, and what is told of the others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest

from crackdask.engine.arrivals import Arrivals, Stamp
from crackdask.recipe.recipe import load
from crackdask.storage.locations import UnreachableError
from tests.support.growing import Growing
from tests.support.tiny import SHAPE, scan, write_slices


@dataclass
class Clock:
    """Seconds that pass when they are told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Watching:
    """A tiny experiment of three states whose scans are not there."""

    folder: Path
    sources: tuple[str, ...] = ("scans/a", "scans/b", "scans/c")
    known: int = 0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        growing = Growing(self.folder / "elsewhere")
        for state, source in zip(growing.content["states"], self.sources, strict=True):
            state["source"] = source
        self.arrivals = Arrivals(load(growing.recipe), self.folder, 30.0, self.known, self.clock)

    def after(self, seconds: float) -> list[str]:
        self.clock.now += seconds
        return self.arrivals.look()


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(tmp_path)


def test_slices_are_waited_for_until_all_are_there_and_still(watching: Watching, tmp_path: Path) -> None:
    assert watching.after(0) == ["pristine, 4.2 V, 3.6 V: not there yet"]
    write_slices(tmp_path / "scans/a", scan(0))
    assert watching.after(100) == ["pristine: being written"]
    assert watching.after(29) == []
    assert watching.arrivals.there == 0
    assert watching.after(2) == ["pristine: there, 20 x 28 x 32 voxels"]
    assert watching.arrivals.there == 1
    write_slices(tmp_path / "scans/b", scan(1)[:12])
    assert watching.after(1) == ["4.2 V: being written"]
    (told,) = watching.after(31)
    assert told.startswith("4.2 V: not complete, and nothing came for 30 s; still waiting (")
    assert "12 of 20 slices, which the first scan has" in told
    assert watching.after(31) == []
    write_slices(tmp_path / "scans/b", scan(1))
    assert watching.after(31) == ["4.2 V: being written"]
    assert watching.after(31) == ["4.2 V: there, 20 x 28 x 32 voxels"]
    assert watching.arrivals.there == 2


def test_a_file_that_still_changes_keeps_its_scan_waiting(watching: Watching, tmp_path: Path) -> None:
    write_slices(tmp_path / "scans/a", scan(0))
    watching.after(0)
    for _ in range(4):
        (tmp_path / "scans/a/slice_0007.tif").touch()
        watching.after(20)
        assert watching.arrivals.there == 0
    watching.after(31)
    assert watching.arrivals.there == 1


def test_a_truncated_slice_is_told(watching: Watching, tmp_path: Path) -> None:
    write_slices(tmp_path / "scans/a", scan(0))
    last = tmp_path / "scans/a/slice_0019.tif"
    whole = last.read_bytes()
    last.write_bytes(whole[:-100])
    watching.after(0)
    (told,) = watching.after(31)
    assert "slice_0019.tif: truncated" in told
    last.write_bytes(whole)
    watching.after(31)
    watching.after(31)
    assert watching.arrivals.there == 1


def test_states_come_in_order(watching: Watching, tmp_path: Path) -> None:
    for name, seed in (("b", 1), ("c", 2)):
        write_slices(tmp_path / "scans" / name, scan(seed))
    watching.after(0)
    assert watching.after(31) == ["4.2 V, 3.6 V: there, but pristine, which comes before, is not"]
    assert watching.arrivals.there == 0
    write_slices(tmp_path / "scans/a", scan(0))
    watching.after(1)
    assert watching.after(31) == ["pristine, 4.2 V, 3.6 V: there, 20 x 28 x 32 voxels"]
    assert watching.arrivals.there == 3


def test_a_scan_of_another_shape_is_told_and_not_taken(watching: Watching, tmp_path: Path) -> None:
    write_slices(tmp_path / "scans/a", scan(0))
    write_slices(tmp_path / "scans/b", scan(1)[:, 2:])
    watching.after(0)
    told = watching.after(31)
    assert "20 x 26 x 32 voxels, where the first scan has 20 x 28 x 32" in told[1]
    write_slices(tmp_path / "scans/c", scan(2, (24, 28, 32)))
    watching.after(0)
    assert "24 x 28 x 32 voxels, where the first scan has 20 x 28 x 32" in watching.after(31)[0]
    assert watching.arrivals.there == 1


def test_a_scan_that_came_before_the_first_is_held_against_it(watching: Watching, tmp_path: Path) -> None:
    write_slices(tmp_path / "scans/b", scan(1)[:12])
    watching.after(0)
    watching.after(31)
    write_slices(tmp_path / "scans/a", scan(0))
    watching.after(1)
    assert "12 of 20 slices" in watching.after(31)[1]
    assert watching.arrivals.there == 1


def test_what_a_store_has_needs_not_settle_again(tmp_path: Path) -> None:
    watching = Watching(tmp_path, known=1)
    for name, seed in (("a", 0), ("b", 1)):
        write_slices(tmp_path / "scans" / name, scan(seed))
    watching.after(0)
    assert watching.arrivals.there == 1
    watching.after(31)
    assert watching.arrivals.there == 2


# ---------------------------------------------------------------- HDF5

WRITER = """
import sys, h5py, numpy
path, how = sys.argv[1:]
voxels = numpy.random.default_rng(0).integers(0, 9000, (20, 28, 32)).astype("uint16")
file = h5py.File(path, "w", libver="latest")
data = file.create_dataset("data", (0, 28, 32), "uint16", chunks=(1, 28, 32), maxshape=(20, 28, 32))
if how == "swmr":
    file.swmr_mode = True
for z in range(20):
    data.resize(z + 1, axis=0)
    data[z] = voxels[z]
    data.flush()
    if z in (0, 9, 19):
        print(z, flush=True)
        sys.stdin.readline()
file.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["swmr", "locked"])
def test_a_file_that_another_program_writes_is_waited_for(tmp_path: Path, how: str) -> None:
    watching = Watching(tmp_path, ("scan.h5::/data", "b", "c"))
    words: list[str | Path] = [sys.executable, "-c", WRITER, tmp_path / "scan.h5", how]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin
        assert writer.stdout
        for z in (0, 9, 19):
            assert writer.stdout.readline() == f"{z}\n"
            told = " ".join([*watching.after(0), *watching.after(31), *watching.after(31)])
            assert z or how == "locked" or "another program is writing it, or ended without closing it" in told
            assert watching.arrivals.there == 0, f"taken with {z + 1} slices while it was written"
            writer.stdin.write("\n")
            writer.stdin.flush()
        assert writer.stdout.readline() == "closed\n"
        watching.after(0)
        watching.after(31)
        watching.after(31)
        assert watching.arrivals.there == 1


def test_a_file_of_which_frames_are_missing_is_told(tmp_path: Path) -> None:
    watching = Watching(tmp_path, ("scan.h5::/data", "b", "c"))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        data = file.create_dataset("data", SHAPE, "uint16", chunks=(1, *SHAPE[1:]))
        data[:12] = np.ones((12, *SHAPE[1:]), "uint16")
    watching.after(0)
    (told,) = watching.after(31)
    assert "8 of 20 chunks were lost or never written" in told
    assert watching.arrivals.there == 0
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        file["data"][12:] = np.ones((8, *SHAPE[1:]), "uint16")
    watching.after(0)
    watching.after(31)
    assert watching.arrivals.there == 1


def test_a_virtual_dataset_is_looked_at_twice(tmp_path: Path) -> None:
    watching = Watching(tmp_path, ("scan.h5::/data", "b", "c"))
    layout = h5py.VirtualLayout(SHAPE, "uint16")
    for half, rows in enumerate((slice(0, 10), slice(10, 20))):
        with h5py.File(tmp_path / f"part{half}.h5", "w") as file:
            file["data"] = scan(0)[rows]
        layout[rows] = h5py.VirtualSource(f"part{half}.h5", "data", (10, *SHAPE[1:]))
    with h5py.File(tmp_path / "scan.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("data", layout)
    watching.after(0)
    watching.after(31)
    assert watching.arrivals.there == 0
    watching.after(31)
    assert watching.arrivals.there == 1


def test_a_share_or_a_service_that_goes_away_for_a_while_is_told_and_waited_for(
    watching: Watching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_slices(tmp_path / "scans" / "a", scan(0))
    assert watching.after(0)[0] == "pristine: being written"
    for error in (OSError(116, "Stale file handle"), UnreachableError("the object storage does not answer")):

        def gone(path: Path, error: Exception = error) -> Stamp:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr("crackdask.engine.arrivals.stamp_of", gone)
            assert watching.after(20)[0] == f"pristine: cannot be looked at now; still waiting ({error})"
            assert watching.arrivals.there == 0
    assert "there, " in watching.after(20)[0]
    assert watching.arrivals.there == 1


def test_a_link_to_itself_in_a_scan_is_no_end_of_the_waiting(watching: Watching, tmp_path: Path) -> None:
    write_slices(tmp_path / "scans" / "a", scan(0))
    (tmp_path / "scans" / "a" / "slice_0003.tif").unlink()
    (tmp_path / "scans" / "a" / "slice_0003.tif").symlink_to("slice_0003.tif")
    watching.after(0)
    assert "not complete, and nothing came for 30 s" in watching.after(31)[0]
    assert watching.arrivals.there == 0
