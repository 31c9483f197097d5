"""Projections that cannot be reconstructed, as a person meets them: what a command says, and how it exits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from crackdask.phantom.projected_scans import write_projections
from tests.support.projected import PROJECTED
from tests.support.projection_scans import Scan, write_nxtomo
from tests.support.tiny import as_toml
from tests.support.tiny import crackdask as crackdask_command

Parts = dict[str, Any]
#: Rows of the detector that are looked at: few, so that a run is short.
ROWS = slice(6, 12)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Return frames of a small electrode, their kinds and angles."""
    folder = tmp_path_factory.mktemp("projected")
    write_projections(PROJECTED, folder)
    with h5py.File(folder / "scans" / "pristine.nxs") as file:
        detector = file["entry/instrument/detector"]
        frames, keys = detector["data"][:, ROWS], detector["image_key"][...]
        return {"data": frames, "image_key": keys, "rotation_angle": file["entry/sample/rotation_angle"][...]}


def recipe_of(folder: Path, *scans: Parts, **keys: Any) -> Path:
    """Write scans and the recipe for them."""
    states = []
    for number, parts in enumerate(scans):
        write_nxtomo(folder / f"{number}.nxs", Scan(), **parts)
        states.append({"name": f"s{number}", "source": f"{number}.nxs", "voltage": 3.0 + number, "step": "charge"})
    content = {"experiment": {"name": "bad", "voxel_um": 1.0}, "states": states, "reconstruct": keys}
    (folder / "recipe.toml").write_text(as_toml(content))
    return folder / "recipe.toml"


def marked(parts: Parts, kind: int, value: float | None = None, key: int | None = None) -> Parts:
    """Return a scan whose frames of one kind all have a value, or another key."""
    data, keys = parts["data"].copy(), parts["image_key"].copy()
    if value is not None:
        data = data if np.isfinite(value) else data.astype(np.float32)
        data[keys == kind] = value
    if key is not None:
        keys[keys == kind] = key
    return parts | {"data": data, "image_key": keys}


def replaced(parts: Parts, at: int, value: float) -> np.ndarray:
    angles = parts["rotation_angle"].copy()
    angles[at] = value
    return angles


#: Told by headers alone: by `check` and, before anything is written, by `run`.
BY_HEADERS: dict[str, tuple[Callable[[Parts], Parts], dict[str, Any], str]] = {
    "no flats": (lambda p: marked(p, 1, key=3), {}, "found no flats"),
    "no angles": (lambda p: {**p, "rotation_angle": None}, {}, "found no angles"),
    "too few angles": (lambda p: p | {"rotation_angle": p["rotation_angle"][:-5]}, {}, "found 156 angles for 161"),
    "an angle goes back": (lambda p: p | {"rotation_angle": replaced(p, 60, 1.5)}, {}, "angles should rise"),
    "an angle is NaN": (lambda p: p | {"rotation_angle": replaced(p, 60, np.nan)}, {}, "angles are no numbers"),
    "over a turn": (lambda p: p | {"rotation_angle": 2.2 * p["rotation_angle"]}, {}, "over 396 degrees"),
    "too few keys": (lambda p: p | {"image_key": p["image_key"][:-3]}, {}, "found 158 keys for 161 frames"),
    "rows outside": (lambda p: p, {"rows": [2, 40]}, "reaches outside the detector, which has 6 rows"),
    "center outside": (lambda p: p, {"center": -4.0}, "column -4 is outside columns 0 to 83"),
    "axis at the side": (
        lambda p: p | {"rotation_angle": 2 * p["rotation_angle"]}, {"center": 5.0}, "axis at the side of the detector",
    ),
    "a strip of columns": (lambda p: p | {"data": p["data"][:, :, :4]}, {}, "frames of 4 columns, too few"),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HEADERS)
@pytest.mark.parametrize("command", ["check", "run"])
def test_headers_that_do_not_fit_are_told_before_a_frame_is_read(
    recorded: Parts, tmp_path: Path, case: str, command: str
) -> None:
    change, keys, words = BY_HEADERS[case]
    recipe = recipe_of(tmp_path, change(recorded), **keys)
    where: list[str | Path] = ["--store", tmp_path / "s.zarr"] if command == "run" else []
    said = crackdask_command(command, recipe, *where)
    assert said.code == 2
    assert "states[0].source (s0)" in said.err
    assert words in " ".join(said.err.split())
    assert not (tmp_path / "s.zarr").exists()


#: Told by what frames hold.
BY_FRAMES: dict[str, tuple[Callable[[Parts], Parts], dict[str, Any], str]] = {
    "flats darker than darks": (lambda p: marked(p, 1, 50), {}, "100% of the pixels of the flats are not brighter"),
    "flats are NaN": (lambda p: marked(p, 1, np.nan), {}, "100% of the pixels of the flats are not brighter"),
    "all full": (lambda p: marked(p, 0, 65535), {}, "98% are full and 0% no numbers"),
    "all full, center given": (lambda p: marked(p, 0, 65535), {"center": 43.1}, "98% are full and 0% no numbers"),
    "all NaN": (lambda p: marked(p, 0, np.nan), {}, "0% are full and 98% no numbers"),
    "nothing but the beam": (lambda p: marked(p, 0, 30_000), {}, "preview RECIPE --set reconstruct.center="),
    "less than half a turn": (
        lambda p: p | {"rotation_angle": 0.8 * p["rotation_angle"]}, {}, "cover 145.2 degrees of 180",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", BY_FRAMES)
def test_frames_that_tell_nothing_stop_the_run_in_plain_words(recorded: Parts, tmp_path: Path, case: str) -> None:
    change, keys, words = BY_FRAMES[case]
    recipe = recipe_of(tmp_path, change(recorded), **keys)
    run = ("run", recipe, "--store", tmp_path / "s.zarr", "--until", "reconstruct", "--cluster", "synchronous")
    said = crackdask_command(*run)
    assert said.code == 2
    assert said.err.startswith("error: state 's0': ")
    assert words in " ".join(said.err.split())
    assert said.err.count("error") == 1
    assert crackdask_command(*run).err == said.err


def test_slices_about_centers_that_do_not_agree_are_there_to_be_looked_at(recorded: Parts, tmp_path: Path) -> None:
    frames = recorded["data"].copy()
    frames[recorded["image_key"] == 0] = np.random.default_rng(0).poisson(30_000, (121, *frames.shape[1:]))
    recipe = recipe_of(tmp_path, recorded | {"data": frames})
    said = crackdask_command("run", recipe, "--store", tmp_path / "s.zarr", "--cluster", "synchronous")
    assert said.code == 2
    words = " ".join(said.err.split())
    assert "nothing tells the center, or the axis is tilted. Look at slices" in words
    picture = tmp_path / "s-center" / "state-0.png"
    assert "give center in [reconstruct]. Some are in" in words
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 30_000


def test_what_can_be_done_without_is_done_without(recorded: Parts, tmp_path: Path) -> None:
    """No darks, a dead row, a frame of NaN."""
    parts = marked(recorded, 2, key=3)
    parts["data"] = parts["data"].astype(np.float32)
    parts["data"][:, 4] = 100.0
    parts["data"][70] = np.nan
    recipe = recipe_of(tmp_path, parts, center=43.1)
    said = crackdask_command("check", recipe)
    assert said.code == 0
    assert "found no darks" in " ".join(said.out.split())
    run = crackdask_command(
        "run", recipe, "--store", tmp_path / "s.zarr", "--until", "reconstruct", "--cluster", "synchronous"
    )
    assert run.code == 0, run.err


def test_detectors_of_two_sizes_are_told_with_both(recorded: Parts, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, recorded, recorded | {"data": recorded["data"][:, :, :70]})
    said = crackdask_command("check", recipe)
    assert said.code == 2
    assert "different shapes (z, y, x; of projections detector rows, columns, columns)" in " ".join(said.err.split())
    assert "s0: 6 x 84 x 84" in said.err
    assert "s1: 6 x 70 x 70" in said.err
