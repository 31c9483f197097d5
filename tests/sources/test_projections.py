"""Projections are found, read as they were recorded, and refused by name where a part is missing or does not fit."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
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
from crackdask.sources.projections import Projections, is_projections, open_projections
from crackdask.steps.reconstruct_parameters import ReconstructParams
from tests.support.projection_scans import (
    COLUMNS,
    ROWS,
    Scan,
    frames,
    write_dxchange,
    write_frames,
    write_nxtomo,
)

SCAN = Scan()
ENTRY = "/entry1/tomo_entry"
DETECTOR = f"{ENTRY}/instrument/detector"


def opened(spec: str, base: Path, missing: Any = "refuse", **keys: Any) -> Projections:
    params = ReconstructParams(**keys)
    assert is_projections(spec, base, params)
    return open_projections(spec, base, params, missing)


# ---------------------------------------------------------------- the three formats


def nxtomo(tmp: Path) -> tuple[str, dict[str, Any]]:
    return write_nxtomo(tmp / "scan.nxs", SCAN), {}


def nxtomo_of_reals(tmp: Path) -> tuple[str, dict[str, Any]]:
    key, radians = SCAN.key.astype(float), np.radians(SCAN.all_angles)
    write_nxtomo(tmp / "scan.nxs", SCAN, image_key=key, rotation_angle=radians, units="rad", _chunks=(4, 6, 8))
    return f"scan.nxs::{ENTRY}", {}


def nxtomo_split(tmp: Path) -> tuple[str, dict[str, Any]]:
    write_nxtomo(tmp / "scan.nxs", SCAN, data=None)
    with h5py.File(tmp / "camera.hdf", "w") as file:
        file["entry/data"] = SCAN.data
    with h5py.File(tmp / "scan.nxs", "a") as file:
        file[f"{DETECTOR}/data"] = h5py.ExternalLink("camera.hdf", "entry/data")
    return f"scan.nxs::{DETECTOR}/data", {}


def dxchange(tmp: Path) -> tuple[str, dict[str, Any]]:
    return write_dxchange(tmp / "scan.h5", SCAN), {}


def folders(tmp: Path) -> tuple[str, dict[str, Any]]:
    for name, kind in (("frames", 0), ("frames/flats", 1), ("darks", 2)):  # within the scan, and beside it
        write_frames(tmp / name, SCAN.of(kind))
    (tmp / "frames/angles.txt").write_text("\n".join(map(str, SCAN.angles)))
    return "frames", {}


def one_folder(tmp: Path) -> tuple[str, dict[str, Any]]:
    write_frames(tmp / "all", SCAN.data)
    (tmp / "keys.csv").write_text("image_key\n" + "\n".join(map(str, SCAN.key)))
    return "all", {"rotation_angle": [0.0, 180.0], "image_key": "keys.csv"}


def parts_of_a_folder(tmp: Path) -> tuple[str, dict[str, Any]]:
    for name, kind in (("projections", 0), ("flats", 1), ("dark", 2)):
        write_frames(tmp / "scan" / name, SCAN.of(kind))
    np.save(tmp / "scan/theta.npy", SCAN.angles)
    return "scan", {"data": "projections", "flats": "flats", "darks": "dark", "rotation_angle": "theta.npy"}


def no_definition(tmp: Path) -> tuple[str, dict[str, Any]]:
    with h5py.File(tmp / "scan.hdf5", "w") as file:
        file["raw/images"], file["raw/white"], file["raw/black"] = SCAN.of(0), SCAN.of(1), SCAN.of(2)
        file["raw/angle"] = SCAN.angles
    keys = {"data": "raw/images", "flats": "/raw/white", "darks": "raw/black", "rotation_angle": "/raw/angle"}
    return "scan.hdf5", keys


FORMATS: dict[str, Callable[[Path], tuple[str, dict[str, Any]]]] = {
    "NXtomo": nxtomo,
    "NXtomo with real keys and radians": nxtomo_of_reals,
    "NXtomo with frames in another file": nxtomo_split,
    "DXchange": dxchange,
    "TIFF folders": folders,
    "a TIFF folder of all frames": one_folder,
    "parts of a TIFF folder": parts_of_a_folder,
    "HDF5 without a definition": no_definition,
}


@pytest.fixture(params=FORMATS)
def scan(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, dict[str, Any]]:
    spec, keys = FORMATS[request.param](tmp_path)
    return spec, tmp_path, keys


def test_every_format_gives_the_same_scan(scan: tuple[str, Path, dict[str, Any]]) -> None:
    spec, base, keys = scan
    found = opened(spec, base, **keys)
    assert (found.shape, found.dtype, found.kind) == ((ROWS, COLUMNS, COLUMNS), np.dtype("f4"), "projections")
    assert (found.frames.shape, found.frames.dtype) == ((19, ROWS, COLUMNS), np.dtype("u2"))
    np.testing.assert_allclose(found.angles, SCAN.angles, atol=1e-12)
    np.testing.assert_array_equal(found.read_frames(0, 19), SCAN.of(0))
    for stacks, kind in ((found.flat_stacks, 1), (found.dark_stacks, 2)):
        read = np.concatenate([stack.frames.read(0, len(stack.frames)) for stack in stacks])
        np.testing.assert_array_equal(read, SCAN.of(kind))
        assert read.dtype == np.uint16
    assert found.notes == ()


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


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
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
    found.check_center(4.0)
    with pytest.raises(SourceError, match=r"360 degrees about a center at column 7 of 8 .*offset axis"):
        found.check_center(7.0)
    opened("scan.nxs", tmp_path, angles=[0.0, 180.0]).check_center(7.0)
    with pytest.raises(SourceError, match=r"column 8 is outside columns 0 to 7"):
        found.check_center(8.0)


# ---------------------------------------------------------------- bad scans


def changed(**parts: Any) -> Callable[[Path], str]:
    return lambda tmp: write_nxtomo(tmp / "scan.nxs", SCAN, **parts)


def frames_with_angles(**keys: Any) -> Callable[[Path], str]:
    """Write a folder of frames, flats of another size, and angles that are none."""

    def write(tmp: Path) -> str:
        write_frames(tmp / "frames", SCAN.of(0))
        tifffile.imwrite(tmp / "small.tif", frames(2)[:, :5])
        (tmp / "words.txt").write_text("0\n10\nten\n")
        (tmp / "table.txt").write_text("0 1\n10 2\n")
        return "frames"

    return write


def truncated(tmp: Path) -> str:
    write_nxtomo(tmp / "scan.nxs", SCAN)
    whole = (tmp / "scan.nxs").read_bytes()
    (tmp / "scan.nxs").write_bytes(whole[: len(whole) // 2])
    return "scan.nxs"


def holed(tmp: Path) -> str:
    write_nxtomo(tmp / "scan.nxs", SCAN, data=None)
    with h5py.File(tmp / "scan.nxs", "a") as file:
        data = file.create_dataset(f"{DETECTOR}/data", (27, ROWS, COLUMNS), "u2", chunks=(3, ROWS, COLUMNS))
        data[:20] = SCAN.data[:20]
    return "scan.nxs"


def virtual(tmp: Path, part: str = "data", keep: bool = False) -> str:
    whole = {"data": SCAN.data, "rotation_angle": SCAN.all_angles}[part]
    changed(**{part: None})(tmp)
    with h5py.File(tmp / "camera.h5", "w") as file:
        file["all"] = whole
    layout = h5py.VirtualLayout(whole.shape, whole.dtype)
    layout[...] = h5py.VirtualSource("camera.h5", "all", whole.shape)
    with h5py.File(tmp / "scan.nxs", "a") as file:
        file.create_virtual_dataset(f"{DETECTOR}/data" if part == "data" else f"{ENTRY}/sample/rotation_angle", layout)
    if not keep:
        (tmp / "camera.h5").unlink()
    return "scan.nxs"


def linked(tmp: Path, target: str = "gone.hdf") -> str:
    write_nxtomo(tmp / "scan.nxs", SCAN, data=None)
    with h5py.File(tmp / "scan.nxs", "a") as file:
        file[f"{DETECTOR}/data"] = h5py.ExternalLink(target, "entry/data")
    return "scan.nxs"


def linked_outside(tmp: Path) -> str:
    (tmp / "elsewhere").mkdir()
    with h5py.File(tmp / "elsewhere/camera.hdf", "w") as file:
        file["entry/data"] = SCAN.data
    (tmp / "run").mkdir()
    linked(tmp / "run", "../elsewhere/camera.hdf")
    return "run/scan.nxs"


def dx(**parts: Any) -> Callable[[Path], str]:
    return lambda tmp: write_dxchange(tmp / "scan.h5", SCAN, **parts)


STEP_BACK = np.where(np.arange(27) == 9, 5.0, SCAN.all_angles)
NOT_ALL = np.where(np.arange(27) == 9, np.nan, SCAN.all_angles)
FRAMES = {"rotation_angle": [0.0, 180.0]}
BAD: dict[str, tuple[Callable[[Path], str], dict[str, Any], str]] = {
    "no flats": (
        lambda t: write_nxtomo(t / "scan.nxs", Scan(before=(2, 0), after=(0, 0))), {},
        r"scan\.nxs: found no flats .* flats in \[reconstruct\], or say flats = \"none\"",
    ),
    "no flats in DXchange": (dx(data_white=np.empty((0, ROWS, COLUMNS), "u2")), {}, r"scan\.h5: found no flats"),
    "no flats of frames": (frames_with_angles(), FRAMES, r"frames: found no flats"),
    "counts are no transmissions": (nxtomo_spec := changed(), {"flats": "none"}, r"up to about 1, but found uint16"),
    "no image_key": (changed(image_key=None), {}, r"/entry1/tomo_entry has no image_key.*name both flats and darks"),
    "no data": (changed(data=None), {}, r"/entry1/tomo_entry has no frames \(data, 3-D\); name them"),
    "no angles": (changed(rotation_angle=None), {}, r"found no angles .* such as \[0\.0, 180\.0\]"),
    "no angles in DXchange": (dx(theta=None), {}, r"scan\.h5: found no angles"),
    "too few angles": (
        changed(rotation_angle=np.arange(18) * 10.0), {},
        r"rotation_angle: found 18 angles for 27 frames, of which 19 are projections",
    ),
    "too few angles of the recipe": (
        nxtomo_spec, {"rotation_angle": [0.0, 1.0, 2.0]},
        r"\[reconstruct\] rotation_angle: found 3 angles for 27 frames",
    ),
    "angles go back": (
        changed(rotation_angle=STEP_BACK), {},
        r"angles should rise .* but 30 is followed by 5 at projection 4 \(1 such places?\)",
    ),
    "an angle twice": (changed(rotation_angle=np.repeat(np.arange(14) * 10.0, 2)[:27]), {}, r"rise .* is followed by"),
    "angles are NaN": (changed(rotation_angle=NOT_ALL), {}, r"1 of 19 angles are no numbers, the first .* 4;"),
    "over a turn": (
        lambda t: write_nxtomo(t / "scan.nxs", Scan(angles=np.arange(74) * 5.0)), {},
        r"from 0 to 365, over 365 degrees, more than a turn; keep half a turn, such as angles = \[0, 180\]",
    ),
    "radians taken for degrees": (
        changed(rotation_angle=np.radians(SCAN.all_angles)), {},
        r"cover 3\.14 degrees, too few for a slice; if they are radians",
    ),
    "units unknown": (changed(units="gradians"), {}, r"angles in units of 'gradians', wanted degrees or radians"),
    "none kept": (
        nxtomo_spec, {"angles": [200.0, 300.0]},
        r"19 projections from 0 to 180 degrees, and angles = \[200, 300\] keeps 0 of them",
    ),
    "one kept": (nxtomo_spec, {"angles": [29.0, 31.0]}, r"keeps 1 of them; wanted two or more"),
    "image_key of another length": (
        changed(image_key=SCAN.key[:-2]), {},
        r"image_key: found 25 keys for 27 frames",
    ),
    "image_key unknown": (
        changed(image_key=np.where(SCAN.key == 2, 7, SCAN.key)), {},
        r"image_key: found the key 7; known are 0 \(projection\), 1 \(flat\)",
    ),
    "image_key between": (changed(image_key=SCAN.key + 0.5), {}, r"found the keys 0\.5, 1\.5, 2\.5; known"),
    "image_key NaN": (changed(image_key=np.where(SCAN.key == 2, np.nan, SCAN.key)), {}, r"found the keys? .*nan"),
    "no projections": (changed(image_key=np.ones(27)), {}, r"none of 27 frames is a projection"),
    "truncated": (truncated, {}, r"scan\.nxs: .*truncated"),
    "frames never written": (holed, {}, r"data: 2 of 9 chunks were lost or never written"),
    "virtual frames gone": (virtual, {}, r"points to .*camera\.h5, which does not exist"),
    "virtual angles gone": (lambda t: virtual(t, "rotation_angle"), {}, r"points to .*camera\.h5, which does not"),
    "link to nothing": (linked, {}, r"detector/data is a link to .*entry/data in gone\.hdf, which is not there; copy"),
    "link outside": (linked_outside, {}, r"takes its voxels from .*camera\.hdf, outside the folder"),
    "flats of another size": (
        frames_with_angles(), {"flats": "small.tif", **FRAMES},
        r"small\.tif: flats have 5 x 8 pixels, projections 6 x 8",
    ),
    "darks of another size": (
        dx(data_dark=frames(2)[:, :, :5]), {}, r"scan\.h5: darks have 6 x 5 pixels, projections 6 x 8",
    ),
    "rows outside": (nxtomo_spec, {"rows": [2, 7]}, r"rows = \[2, 7\] reaches outside .* has 6 rows; end at 6"),
    "ignored outside": (nxtomo_spec, {"ignore_flats": [[3, 6]]}, r"ignore_flats: \[3, 6\] reaches outside the 5 flats"),
    "all flats ignored": (nxtomo_spec, {"ignore_flats": [[0, 5]]}, r"ignore_flats: leaves out all 5 flats"),
    "all darks ignored": (nxtomo_spec, {"ignore_darks": [0, 1, 2]}, r"leaves out all 3 darks; .*darks = \"none\""),
    "no such file of angles": (
        frames_with_angles(), {"rotation_angle": "theta.txt"},
        r"rotation_angle: no such file or folder 'theta\.txt' \(looked for .*frames/theta\.txt, .*/theta\.txt\)",
    ),
    "no such flats": (nxtomo_spec, {"flats": "/entry1/white"}, r"flats: no such file or folder '/entry1/white'"),
    "words for angles": (
        frames_with_angles(), {"rotation_angle": "words.txt"}, r"words\.txt: line 3 is 'ten', wanted a number",
    ),
    "a table for angles": (
        frames_with_angles(), {"rotation_angle": "table.txt"}, r"table\.txt: found several columns, wanted one number",
    ),
    "angles of no dataset": (nxtomo_spec, {"rotation_angle": "scan.nxs"}, r"may hold many lists .* scan\.nxs::PATH"),
    "angles of several axes": (
        nxtomo_spec, {"rotation_angle": f"{DETECTOR}/data"}, r"data: found shape \(27, 6, 8\) .* one number a frame",
    ),
    "flats of a scan without": (
        lambda t: (write_nxtomo(t / "bare.nxs", Scan(before=(1, 0), after=(0, 0))), nxtomo_spec(t))[1],
        {"flats": "bare.nxs"}, r"flats: .*bare\.nxs holds a scan without flats",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_scans_are_named(case: str, tmp_path: Path) -> None:
    write, keys, message = BAD[case]
    spec = write(tmp_path)
    with pytest.raises(SourceError, match=message):
        opened(spec, tmp_path, **keys)


def test_virtual_frames_that_are_there(tmp_path: Path) -> None:
    found = opened(virtual(tmp_path, keep=True), tmp_path)
    np.testing.assert_array_equal(found.read_frames(0, 19), SCAN.of(0))
    before = found.fingerprint()
    os.utime(tmp_path / "camera.h5", ns=(0, 0))
    assert opened("scan.nxs", tmp_path).fingerprint() != before


def test_frames_that_were_not_written_may_be_filled(tmp_path: Path) -> None:
    found = opened(holed(tmp_path), tmp_path, missing="fill")
    assert found.unwritten == "2 of 9 chunks"


def test_frames_that_go_after_opening_are_named(tmp_path: Path) -> None:
    spec, keys = folders(tmp_path)
    found = opened(spec, tmp_path, **keys)
    (tmp_path / "frames/frame_0007.tif").unlink()
    np.testing.assert_array_equal(found.read_frames(0, 7), SCAN.of(0)[:7])
    with pytest.raises(SourceError, match=r"frame_0007\.tif: the file is gone"):
        found.read_frames(5, 9)
    with pytest.raises(ValueError, match="frames 3 to 20 are not within 19"):
        found.read_frames(3, 20)


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
