"""Projections are found, and read as they were recorded."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crackdask.grid import Box
from crackdask.sources import SourceError
from crackdask.sources.projections import is_projections, open_projections
from crackdask.steps.reconstruct_parameters import ReconstructParams
from tests.support.projection_formats import (
    DETECTOR,
    ENTRY,
    FORMATS,
    SCAN,
    nxtomo,
    opened,
)
from tests.support.projection_scans import (
    COLUMNS,
    ROWS,
    Scan,
    frames,
    write_dxchange,
    write_frames,
    write_nxtomo,
)


@pytest.fixture(params=FORMATS)
def scan(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, dict[str, Any]]:
    spec, keys = FORMATS[request.param](tmp_path)
    return spec, tmp_path, keys


def test_every_format_gives_the_same_scan(scan: tuple[str, Path, dict[str, Any]]) -> None:
    spec, base, keys = scan
    found = opened(spec, base, **keys)
    assert (found.shape, found.dtype, found.kind) == ((ROWS, COLUMNS, COLUMNS), np.dtype("u2"), "projections")
    assert (found.frames.shape, found.frames.dtype) == ((19, ROWS, COLUMNS), np.dtype("u2"))
    np.testing.assert_allclose(found.angles, SCAN.angles, atol=1e-12)
    np.testing.assert_array_equal(found.read_frames(0, 19), SCAN.of(0))
    for stacks, kind in ((found.flat_stacks, 1), (found.dark_stacks, 2)):
        read = np.concatenate([stack.frames.read(0, len(stack.frames)) for stack in stacks])
        np.testing.assert_array_equal(read, SCAN.of(kind))
        assert read.dtype == np.uint16
    assert found.notes == ()


def test_frames_may_lie_along_an_axis_of_any_name(tmp_path: Path) -> None:
    spec, keys = nxtomo(tmp_path)
    with h5py.File(tmp_path / "scan.nxs", "r+") as file:
        data = file["entry1/tomo_entry/instrument/detector/data"]
        for dim, label in zip(data.dims, ("time", "y", "x"), strict=True):
            dim.label = label
    np.testing.assert_array_equal(opened(spec, tmp_path, **keys).read_frames(0, 19), SCAN.of(0))


def test_rows_and_angles_choose_what_is_read(scan: tuple[str, Path, dict[str, Any]]) -> None:
    spec, base, keys = scan
    found = opened(spec, base, angles=[30.0, 150.0], rows=[1, 5], **keys)
    assert (found.shape, found.rows, found.detector) == ((4, COLUMNS, COLUMNS), (1, 5), (ROWS, COLUMNS))
    np.testing.assert_allclose(found.angles, np.arange(30, 151, 10.0))
    np.testing.assert_allclose(found.all_angles, SCAN.angles)
    assert found.kept == (3, 16)
    np.testing.assert_array_equal(found.read_frames(0, 13), SCAN.of(0)[3:16, 1:5])
    np.testing.assert_array_equal(found.read_frames(4, 6), SCAN.of(0)[7:9, 1:5])
    np.testing.assert_array_equal(found.recorded.read(0, 19), SCAN.of(0)[:, 1:5])
    np.testing.assert_array_equal(found.flat_stacks[0].frames.read(0, 1), SCAN.of(1)[:1, 1:5])
    np.testing.assert_array_equal(found.moments, found.all_moments[3:16])


def test_a_pickled_scan_is_the_same_scan(scan: tuple[str, Path, dict[str, Any]]) -> None:
    spec, base, keys = scan
    found = opened(spec, base, **keys)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.fingerprint() == found.fingerprint()
    np.testing.assert_array_equal(again.read_frames(2, 5), SCAN.of(0)[2:5])


def test_a_fingerprint_is_of_the_files_not_of_their_place(scan: tuple[str, Path, dict[str, Any]]) -> None:
    spec, base, keys = scan
    first = opened(spec, base, **keys).fingerprint()
    shutil.copytree(base, base / "moved")
    assert opened(spec, base / "moved", **keys).fingerprint() == first
    for path in [p for p in (base / "moved").rglob("*") if p.is_file()]:
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
        assert opened(spec, base / "moved", **keys).fingerprint() != first, path
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_fingerprint_knows_what_is_taken_of_the_files(tmp_path: Path) -> None:
    spec, _ = nxtomo(tmp_path)
    choices: list[dict[str, Any]] = [
        {}, {"angles": [30.0, 150.0]}, {"rows": [0, 5]}, {"rows": [1, 6]}, {"ignore_flats": [0]}, {"ignore_darks": [0]},
        {"rotation_angle": [0.0, 179.0]}, {"darks": "none"},
    ]  # fmt: skip
    found = [opened(spec, tmp_path, **keys).fingerprint() for keys in choices]
    assert len(set(found)) == len(choices)


def test_no_voxel_can_be_read_before_it_is_made(tmp_path: Path) -> None:
    found = opened(nxtomo(tmp_path)[0], tmp_path)
    with pytest.raises(SourceError, match="projections have no voxels"):
        found.read(Box.whole(found.shape))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(key=st.lists(st.integers(0, 3), min_size=4, max_size=30), data=st.data())
def test_any_order_of_frames(key: list[int], data: st.DataObject, tmp_path: Path) -> None:
    kinds = np.array([0, 1, *key, 0])
    path = tmp_path / "scan.nxs"
    path.unlink(missing_ok=True)
    images = frames(len(kinds))
    write_nxtomo(path, SCAN, data=images, image_key=kinds, rotation_angle=np.linspace(0, 170, len(kinds)))
    found = opened("scan.nxs", tmp_path)
    truth = images[kinds == 0]
    first, end = sorted(data.draw(st.lists(st.integers(0, len(truth)), min_size=2, max_size=2, unique=True)))
    np.testing.assert_array_equal(found.read_frames(first, end), truth[first:end])
    np.testing.assert_array_equal(found.angles, np.linspace(0, 170, len(kinds))[kinds == 0])
    np.testing.assert_array_equal(found.moments, np.flatnonzero(kinds == 0))
    flats = np.concatenate([stack.frames.read(0, len(stack.frames)) for stack in found.flat_stacks])
    np.testing.assert_array_equal(flats, images[kinds == 1])
    for stack in found.flat_stacks:  # no projection lies between the frames of one stack
        numbers = stack.frames.numbers
        assert stack.position == numbers.mean()
        assert not (kinds[numbers[0] : numbers[-1] + 1] == 0).any()


# ---------------------------------------------------------------- when flats and darks were taken


def test_flats_and_darks_keep_their_place_in_the_scan(tmp_path: Path) -> None:
    found = opened(nxtomo(tmp_path)[0], tmp_path)
    assert [(s.position, len(s.frames)) for s in found.dark_stacks] == [(0.5, 2), (26.0, 1)]
    assert [(s.position, len(s.frames)) for s in found.flat_stacks] == [(3.0, 3), (24.5, 2)]
    np.testing.assert_array_equal(found.moments, np.arange(5, 24))


def test_two_places_are_before_and_after(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", SCAN.of(0))
    tifffile.imwrite(tmp_path / "first.tif", frames(2, 50))
    with h5py.File(tmp_path / "last.h5", "w") as file:
        file["white"] = frames(3, 60)
    tifffile.imwrite(tmp_path / "dark.tif", frames(1, 70)[0])
    keys = {"flats": ["first.tif", "last.h5::white"], "darks": "dark.tif", "rotation_angle": [0.0, 180.0]}
    found = opened("frames", tmp_path, **keys)
    assert [s.position for s in found.flat_stacks] == [-1.0, 19.0]
    np.testing.assert_array_equal(found.flat_stacks[0].frames.read(0, 2), frames(2, 50))
    np.testing.assert_array_equal(found.flat_stacks[1].frames.read(1, 3), frames(3, 60)[1:])
    np.testing.assert_array_equal(found.dark_stacks[0].frames.read(0, 1), frames(1, 70))


def test_flats_of_another_scan(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "scan.nxs", Scan(before=(2, 0), after=(0, 0)))
    write_nxtomo(tmp_path / "flats.nxs", Scan(angles=np.arange(2) * 90.0))
    write_dxchange(tmp_path / "aps.h5", SCAN)
    for name, truth in (("flats.nxs", Scan(angles=np.arange(2) * 90.0).of(1)), ("aps.h5", SCAN.of(1))):
        found = opened("scan.nxs", tmp_path, flats=name)
        (stack,) = found.flat_stacks
        np.testing.assert_array_equal(stack.frames.read(0, len(stack.frames)), truth)
        assert [s.position for s in found.dark_stacks] == [0.5]


def test_some_are_left_out(tmp_path: Path) -> None:
    spec, _ = nxtomo(tmp_path)
    found = opened(spec, tmp_path, ignore_flats=[0, [2, 4]], ignore_darks=[[0, 2]])
    assert [s.frames.numbers.tolist() for s in found.flat_stacks] == [[3], [25]]
    assert [s.frames.numbers.tolist() for s in found.dark_stacks] == [[26]]
    spec = write_dxchange(tmp_path / "scan.h5", SCAN)
    found = opened(spec, tmp_path, ignore_flats=[[1, 3]])
    np.testing.assert_array_equal(found.flat_stacks[0].frames.read(0, 3), SCAN.of(1)[[0, 3, 4]])


def test_no_darks_are_zeros_and_a_note(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "scan.nxs", Scan(before=(0, 3), after=(0, 0)))
    found = opened("scan.nxs", tmp_path)
    assert "found no darks" in found.notes[0]
    assert opened("scan.nxs", tmp_path, darks="none").notes == ()
    (stack,) = found.dark_stacks
    assert not stack.frames.read(0, 1).any()
    assert stack.frames.shape == (1, ROWS, COLUMNS)


def test_frames_may_be_transmissions(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "scan.nxs", Scan(before=(0, 0), after=(0, 0), dtype="float32"))
    found = opened("scan.nxs", tmp_path, flats="none")
    assert (found.flat_stacks[0].frames.read(0, 1) == 1).all()
    assert not found.dark_stacks[0].frames.read(0, 1).any()
    assert "transmissions" in found.notes[0]


def test_frames_that_are_not_valid_are_left_out(tmp_path: Path) -> None:
    key = np.where(np.isin(np.arange(27), (6, 7, 23)), 3, SCAN.key)
    write_nxtomo(tmp_path / "scan.nxs", SCAN, image_key=key)
    found = opened("scan.nxs", tmp_path)
    np.testing.assert_array_equal(found.read_frames(0, 16), SCAN.data[key == 0])
    np.testing.assert_array_equal(found.angles, SCAN.all_angles[key == 0])
    assert found.notes == ("3 of 27 frames are marked as not valid (image_key 3) and left out",)


# ---------------------------------------------------------------- how scans and angles are found


def test_frames_of_the_sample_turned_back_are_left_out(tmp_path: Path) -> None:
    """As the ESRF writes them: image_key calls them projections, image_key_control does not; files end in .nx."""
    data, key = np.concatenate([SCAN.data, frames(2)]), np.append(SCAN.key, [0, 0])
    angles = np.append(SCAN.all_angles, [90.0, 0.0])
    write_nxtomo(tmp_path / "scan.nx", SCAN, data=data, image_key=key[:, None], rotation_angle=angles[:, None])
    with pytest.raises(SourceError, match="angles should rise"):
        opened("scan.nx", tmp_path)
    with h5py.File(tmp_path / "scan.nx", "a") as file:
        file[f"{DETECTOR}/image_key_control"] = np.append(SCAN.key.astype(int), [-1, -1])
    found = opened("scan.nx", tmp_path)
    np.testing.assert_array_equal(found.read_frames(0, 19), SCAN.of(0))
    np.testing.assert_array_equal(found.angles, SCAN.angles)
    assert found.notes == ("2 of 29 frames are marked as not valid (image_key 3) and left out",)


def test_flats_and_darks_may_be_one_image_each(tmp_path: Path) -> None:
    white, dark = SCAN.of(1)[0], SCAN.of(2)[0]
    write_dxchange(tmp_path / "scan.h5", SCAN, data_white=white, data_dark=dark)
    for found in (
        opened("scan.h5", tmp_path),
        opened("scan.h5", tmp_path, flats="exchange/data_white", darks="scan.h5::/exchange/data_dark"),
    ):
        np.testing.assert_array_equal(found.flat_stacks[0].frames.read(0, 1), white[None])
        np.testing.assert_array_equal(found.dark_stacks[0].frames.read(0, 1), dark[None])
    with pytest.raises(SourceError, match="found 2-D data"):
        opened("scan.h5", tmp_path, data="exchange/data_white")


def test_by_default_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        file.attrs["default"] = "run"
        group = file.create_group("run")
        group.attrs["NX_class"], group.attrs["default"] = "NXentry", "plot"
        camera = group.create_group("instrument/imaging")
        file["run/instrument"].attrs["NX_class"], camera.attrs["NX_class"] = "NXinstrument", "NXdetector"
        camera["image_key"] = SCAN.key
        plot = group.create_group("plot")
        plot.attrs["signal"] = "images"
        plot["images"], plot["rotation_angle"] = SCAN.data, SCAN.all_angles
    for spec in ("scan.nxs", "scan.nxs::/run"):
        np.testing.assert_array_equal(opened(spec, tmp_path).read_frames(0, 19), SCAN.of(0))


def test_one_of_several_scans_is_named_or_the_default(tmp_path: Path) -> None:
    path = tmp_path / "scan.nx"
    write_nxtomo(path.with_suffix(".nxs"), SCAN, entry="entry0000")
    write_nxtomo(path.with_suffix(".nxs"), Scan(angles=np.arange(10) * 20.0), entry="entry0001")
    with pytest.raises(SourceError, match=r"2 scans; name one as scan\.nxs::PATH; /entry0000, /entry0001"):
        is_projections("scan.nxs", tmp_path, ReconstructParams())
    assert len(opened("scan.nxs::/entry0001", tmp_path).angles) == 10
    with h5py.File(path.with_suffix(".nxs"), "a") as file:
        file.attrs["default"] = "entry0000"
    assert len(opened("scan.nxs", tmp_path).angles) == 19


def test_what_is_no_projections(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "scan.nxs", SCAN)
    with h5py.File(tmp_path / "scan.nxs", "a") as file:
        file["entry1/reconstruction/data"] = frames(4)
        file[f"{ENTRY}/processed"] = frames(4)
    write_dxchange(tmp_path / "rec.h5", SCAN, data_white=None, data_dark=None, theta=None)  # as TomoPy writes slices
    write_frames(tmp_path / "slices", frames(4))
    for spec in ("scan.nxs::/entry1/reconstruction/data", f"scan.nxs::{ENTRY}/processed", "rec.h5", "slices"):
        assert not is_projections(spec, tmp_path, ReconstructParams()), spec
    assert is_projections("slices", tmp_path, ReconstructParams(rotation_angle=(0.0, 180.0)))
    with pytest.raises(SourceError, match=r"rec\.h5: found no projections: neither NXtomo nor DXchange"):
        open_projections("rec.h5", tmp_path, ReconstructParams())


@pytest.mark.parametrize("text", ["# degrees\n{0}\n", "frame;theta\n{1}\n", '"Angle"\n{0}', "\ufeffn, angle\n{1}\n\n"])
def test_angles_in_a_text_file(text: str, tmp_path: Path) -> None:
    spec, _ = nxtomo(tmp_path)
    angles = [f"{angle:.3f}" for angle in SCAN.angles + 0.125]
    lines = "\n".join(angles), "\n".join(f"{n}; {angle}" for n, angle in enumerate(angles))
    (tmp_path / "angles.txt").write_text(text.format(*lines), encoding="utf-8")
    np.testing.assert_array_equal(opened(spec, tmp_path, rotation_angle="angles.txt").angles, SCAN.angles + 0.125)


def test_angles_may_fall_and_be_given_for_projections_or_frames(tmp_path: Path) -> None:
    falling = Scan(angles=np.arange(19) * -10.0)
    write_nxtomo(tmp_path / "scan.nxs", falling)
    found = opened("scan.nxs", tmp_path, angles=[-100.0, -45.5])
    np.testing.assert_array_equal(found.angles, np.arange(-50, -101, -10.0))
    np.testing.assert_array_equal(found.read_frames(0, 6), falling.of(0)[5:11])
    found = opened("scan.nxs", tmp_path, rotation_angle=(np.arange(19) * 9.0).tolist())
    np.testing.assert_array_equal(found.angles, np.arange(19) * 9.0)
    found = opened("scan.nxs", tmp_path, rotation_angle=[0.0, 180.0])
    np.testing.assert_allclose(found.angles, np.arange(19) * 10.0)


def test_an_offset_axis_is_refused_and_a_turn_about_the_middle_is_not(tmp_path: Path) -> None:
    write_nxtomo(tmp_path / "scan.nxs", Scan(angles=np.arange(37) * 10.0))
    found = opened("scan.nxs", tmp_path)
    found.check_axis((4.0, 4.0))
    with pytest.raises(SourceError, match=r"360 degrees about a center at column 7 of 8 .*offset axis"):
        found.check_axis((7.0, 7.0))
    opened("scan.nxs", tmp_path, angles=[0.0, 180.0]).check_axis((7.0, 7.0))
    with pytest.raises(SourceError, match=r"column 8 is outside columns 0 to 7"):
        found.check_axis((4.0, 8.0))
    with pytest.raises(SourceError, match=r"frames of 8 columns, too few to search the center in .*give center"):
        found.check_axis("auto")


def test_no_file_stays_open_and_none_is_changed(scan: tuple[str, Path, dict[str, Any]]) -> None:
    spec, base, keys = scan
    files = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    for path in files:
        path.chmod(0o400)
    handles = Path("/proc/self/fd")
    before = len(list(handles.iterdir())) if handles.exists() else 0
    found = opened(spec, base, **keys)
    found.read_frames(0, 2)
    found.flat_stacks[0].frames.read(0, 1)
    found.fingerprint()
    if before:
        assert len(list(handles.iterdir())) <= before
    assert {path: path.read_bytes() for path in files} == files
