"""Projections of which a part is missing or does not fit are refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from crackdask.sources import SourceError
from tests.support.projection_formats import (
    DETECTOR,
    ENTRY,
    SCAN,
    folders,
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


def changed(**parts: Any) -> Callable[[Path], str]:
    return lambda tmp: write_nxtomo(tmp / "scan.nxs", SCAN, **parts)


def frames_with_angles(**keys: Any) -> Callable[[Path], str]:
    """Write a folder of frames, flats of another size, and angles that are none."""

    def write(tmp: Path) -> str:
        write_frames(tmp / "frames", SCAN.of(0))
        tifffile.imwrite(tmp / "small.tif", frames(2)[:, :5])
        (tmp / "words.txt").write_text("0\n10\nten\n")
        (tmp / "table.txt").write_text("0 1\n10 2\n")
        (tmp / "commas.txt").write_text("0,5\n10,5\n")
        (tmp / "wide.txt").write_text("0\n10\n", encoding="utf-16")
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
    "decimal commas": (
        frames_with_angles(), {"rotation_angle": "commas.txt"}, r"commas\.txt: found several columns, .* point before",
    ),
    "angles in another encoding": (
        frames_with_angles(), {"rotation_angle": "wide.txt"}, r"wide\.txt: is no plain text .*; save it again",
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
