"""What can be wrong with input: each is told in words, and once it is mended nothing has suffered."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from tests.support.refusals import assert_mended, assert_nothing_made, assert_said, check_and_run, one_line
from tests.support.tiny import SHAPE, Tiny, assert_same_store, crackdask, scan, write_slices


@pytest.fixture
def slices(tiny: Tiny) -> Path:
    """Return the second scan's folder."""
    return tiny.folder / "scans" / "b"


# ---------------------------------------------------------------- scans that cannot be opened


def gone(slices: Path) -> None:
    shutil.rmtree(slices)


def empty(slices: Path) -> None:
    for path in slices.iterdir():
        path.unlink()


def without_scans(slices: Path) -> None:
    empty(slices)
    (slices / "notes.txt").write_text("beam time 7")


def gap(slices: Path) -> None:
    (slices / "slice_0007.tif").unlink()


def other_shape(slices: Path) -> None:
    tifffile.imwrite(slices / "slice_0007.tif", np.zeros((28, 31), np.uint16))


def other_dtype(slices: Path) -> None:
    tifffile.imwrite(slices / "slice_0007.tif", np.zeros((28, 32), np.uint8))


def truncated(slices: Path) -> None:
    path = slices / "slice_0007.tif"
    path.write_bytes(path.read_bytes()[:-100])


def zero_bytes(slices: Path) -> None:
    (slices / "slice_0007.tif").write_bytes(b"")


def no_tiff(slices: Path) -> None:
    (slices / "slice_0007.tif").write_bytes(b"not a TIFF at all, but 40 bytes of text.")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (gone, ("scans/b: no such file or folder", "correct the path")),
        (empty, ("scans/b: the folder is empty", "copy the scan there")),
        (without_scans, ("scans/b: found no TIFF slices (but 1 x .txt)", "wanted a folder of TIFF slices")),
        (gap, ("scans/b: number 7 is missing between slice_0006.tif and slice_0008.tif", "copy the missing slices")),
        (other_shape, ("slice_0007.tif: found (28, 31) uint16, where 19 of 20 slices are (28, 32) uint16",)),
        (other_dtype, ("slice_0007.tif: found (28, 32) uint8, where 19 of 20 slices are (28, 32) uint16",)),
        (truncated, ("slice_0007.tif: truncated,", "copy it again")),
        (zero_bytes, ("slice_0007.tif: unreadable, truncated or corrupt", "copy it again")),
        (no_tiff, ("slice_0007.tif: unreadable, truncated or corrupt", "copy it again")),
    ],
)
def test_a_scan_that_cannot_be_opened(
    tiny: Tiny, finished: Tiny, slices: Path, spoil: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    spoil(slices)
    for command in check_and_run(tiny):
        assert_said(crackdask(*command), 2, "1 of 2 scans cannot be used", "states[1].source (4.2 V):", *words)
    assert_nothing_made(tiny)
    if spoil is gap:  # mend one of them: all end the same, before anything is made
        write_slices(slices, scan(1))
        assert_mended(tiny, finished.store)


def test_every_bad_scan_is_named_at_once(tiny: Tiny, slices: Path) -> None:
    gone(slices)
    empty(tiny.folder / "scans" / "a")
    words = ("2 of 2 scans cannot be used", "states[0].source (pristine)", "states[1].source (4.2 V)")
    assert_said(crackdask("check", tiny.recipe), 2, *words)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("b.h5::/entry/nothing", "no dataset '/entry/nothing'; name one as b.h5::PATH; it has /entry/data"),
        ("b.tif::/x", "'::/x' names a dataset within a file, but only HDF5 and Zarr have those; leave it out"),
        ("b.raw", "not a format that can be read; wanted a folder of TIFF slices"),
        ("b.npy", "truncated,"),
        ("b.tif", "found 2-D data"),
    ],
)
def test_files_that_are_no_scan(tiny: Tiny, name: str, said: str) -> None:
    with h5py.File(tiny.folder / "b.h5", "w") as file:
        file["/entry/data"] = scan(1)
    tifffile.imwrite(tiny.folder / "b.tif", scan(1)[0])
    np.save(tiny.folder / "b.npy", scan(1))
    (tiny.folder / "b.npy").write_bytes((tiny.folder / "b.npy").read_bytes()[:-1])
    (tiny.folder / "b.raw").write_bytes(b"123")
    tiny.content["states"][1]["source"] = name
    assert_said(crackdask("check", tiny.recipe), 2, "states[1].source (4.2 V):", said)


def test_states_of_different_shape(tiny: Tiny, finished: Tiny, slices: Path) -> None:
    (slices / "slice_0019.tif").unlink()
    words = ("the scans have different shapes", "pristine: 20 x 28 x 32", "4.2 V: 19 x 28 x 32", "cut or pad them")
    assert_said(tiny.run(), 2, *words)
    assert_nothing_made(tiny)


# ---------------------------------------------------------------- scans whose voxels are wrong


def test_corrupt_voxels_are_found_when_they_are_read(tiny: Tiny, finished: Tiny, slices: Path) -> None:
    path = slices / "slice_0007.tif"
    kept = path.read_bytes()
    tifffile.imwrite(path, scan(1)[7], compression="zlib")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.dataoffsets[0]
    data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    assert crackdask("check", tiny.recipe).code == 0
    assert_said(tiny.run(), 2, "slice_0007.tif", "corrupt", "copy it again")
    path.write_bytes(kept)
    assert_mended(tiny, finished.store)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_or_infinity(tiny: Tiny, finished: Tiny, bad: float) -> None:
    voxels = scan(1).astype(np.float32)
    voxels[7, 3:5, 3] = bad
    np.save(tiny.folder / "b.npy", voxels)
    tiny.content["states"][1]["source"] = "b.npy"
    words = ("4.2 V: found 2 voxels that are NaN or infinite in slice 7", "repair the scan, or set fill = nan")
    assert_said(tiny.run(), 2, *words)
    np.save(tiny.folder / "b.npy", scan(1).astype(np.float32))
    assert_mended(tiny, finished.store)


def test_nan_may_mark_what_lies_outside(tiny: Tiny) -> None:
    voxels = scan(1).astype(np.float32)
    voxels[:, :2] = math.nan
    np.save(tiny.folder / "b.npy", voxels)
    tiny.content["states"][1]["source"] = "b.npy"
    recipe = tiny.recipe
    recipe.write_text(recipe.read_text().replace("[experiment]\n", "[experiment]\nfill = nan\n"))
    said = crackdask("run", recipe, "--store", tiny.store, "--cluster", "synchronous")
    assert said.code == 0, said.err
    assert not np.asarray(zarr.open_array(tiny.store / "volumes/grey", mode="r")[1, :, :2]).any()
    assert crackdask("status", tiny.store).code == 0


@pytest.mark.parametrize(("fill", "said"), [(None, "every voxel is 7"), (7, "every voxel is the fill value")])
def test_a_constant_scan(tiny: Tiny, finished: Tiny, slices: Path, fill: float | None, said: str) -> None:
    write_slices(slices, np.full(SHAPE, 7, np.uint16))
    if fill:
        tiny.change("experiment", fill=fill)
    assert_said(tiny.run(), 2, f"4.2 V: {said}", "was the scan recorded?")
    write_slices(slices, scan(1))
    assert_mended(tiny, finished.store)


# ---------------------------------------------------------------- recipes that do not fit


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("grey", {"window": [9, 9]}, "grey.window: the window needs lo < hi, not lo = 9 and hi = 9"),
        ("crop", {"z": [4, 4]}, "crop.z: a crop needs first < end, not [4, 4]"),
        ("crop", {"x": [4, 40]}, "crop.x: [4, 40] reaches outside the scan, which has 32 voxels along x"),
    ],
)
def test_a_recipe_that_does_not_fit(tiny: Tiny, section: str, values: dict[str, list[int]], said: str) -> None:
    tiny.change(section, **values)
    for command in check_and_run(tiny):
        assert_said(crackdask(*command), 2, said)
    assert_nothing_made(tiny)


def test_two_states_of_the_same_name(tiny: Tiny) -> None:
    tiny.content["states"][1]["name"] = "pristine"
    assert_said(tiny.run(), 2, "states[1].name: two states of the same name, 'pristine'", "rename one")
    assert_nothing_made(tiny)


def test_memory_too_small_for_one_block(tiny: Tiny, finished: Tiny) -> None:
    tiny.change("compute", memory="100 MiB")
    for command in check_and_run(tiny):
        said = crackdask(*command)
        words = (
            "compute.memory: 100 MiB for each worker is too little for a block of 16 x 16 x 16",
            "or a smaller block",
        )
        assert_said(said, 2, *words)
    assert_nothing_made(tiny)
    fits = re.search(r"set memory = '(\d+ MiB)' or more", one_line(said.err))
    assert fits, said.err
    tiny.change("compute", memory=fits[1])
    assert_mended(tiny, finished.store)


# ---------------------------------------------------------------- results that cannot be right


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (
            {"threshold": 254},
            ("the threshold 254 leaves nothing of state 'pristine'", "median", "set [mask] threshold"),
        ),
        ({"threshold": 0.5}, ("the threshold 0.5 leaves everything of state 'pristine'", "set [mask] threshold")),
        ({"min_island": 100_000}, ("no particle was found", "min_island = 100000 remove them all", "lower them")),
        ({"opening": 9}, ("no particle was found", "opening = 9", "lower them under [mask]")),
    ],
)
def test_a_mask_of_nothing_or_everything(
    tiny: Tiny, finished: Tiny, mask: dict[str, float], words: tuple[str, ...]
) -> None:
    tiny.change("mask", **mask)
    assert_said(tiny.run(), 2, *words)
    assert crackdask("status", tiny.store).code == 0
    del tiny.content["mask"]
    assert_mended(tiny, finished.store)


def test_a_particle_deeper_than_planned(tiny: Tiny, finished: Tiny) -> None:
    tiny.change("labels", max_radius=3)
    said = tiny.run()
    assert_said(said, 2, "particle", "in state 'pristine' than [labels] max_radius = 3 voxels", "correct [mask]")
    assert "note labels pristine:" in said.out
    assert "raise [labels] max_radius above 3" in one_line(said.out)
    wanted = re.search(r"raise max_radius to (\d+),", one_line(said.err))
    assert wanted
    tiny.change("labels", max_radius=int(wanted[1]))
    said = tiny.run()
    assert said.code == 0, said.err
    assert "note" not in said.out
    assert_same_store(tiny.store, finished.store)


# ---------------------------------------------------------------- registration

QUICK = {"samples": 2000, "iterations": 20, "max_rotation_deg": 2.0, "blocks_per_axis": 2, "rounds": 1, "sub_block": 16}


WIDE = (24, 40, 40)


@pytest.fixture
def textured(tiny: Tiny) -> Tiny:
    """Return an experiment whose two scans show the same grains, to be registered."""
    rng = np.random.default_rng(5)
    grains = rng.normal(size=[n // 4 for n in WIDE]).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    for name in "ab":
        voxels = 2000 + 500 * grains + rng.normal(0, 30, WIDE)
        shutil.rmtree(tiny.folder / "scans" / name)
        write_slices(tiny.folder / "scans" / name, voxels.astype(np.uint16))
    tiny.content["register"] = dict(QUICK)
    return tiny


def test_scans_of_different_things_do_not_register(textured: Tiny) -> None:
    slices = textured.folder / "scans" / "b"
    kept = {path: path.read_bytes() for path in slices.iterdir()}
    rng = np.random.default_rng(6)
    write_slices(slices, (2000 + rng.normal(0, 300, WIDE)).astype(np.uint16))
    words = (
        "state '4.2 V' onto 'pristine': registration failed: ",
        "of 8 sub-blocks agree",
        "set accept_failed = true",
    )
    assert_said(textured.run("--until", "register"), 2, *words)
    textured.change("register", accept_failed=True)
    assert textured.run("--until", "grey").code == 0
    del textured.content["register"]["accept_failed"]
    for path, content in kept.items():
        path.write_bytes(content)
    said = textured.run("--until", "grey")
    assert said.code == 0, said.err
    other = textured.store.with_name("other.zarr")
    recipe = textured.recipe
    assert crackdask("run", recipe, "--store", other, "--until", "grey", "--cluster", "synchronous").code == 0
    found, wanted = (np.asarray(zarr.open_array(s / "volumes/grey", mode="r")) for s in (textured.store, other))
    assert wanted[1].any()
    np.testing.assert_array_equal(found, wanted)


def test_too_small_an_overlap(textured: Tiny) -> None:
    slices = textured.folder / "scans" / "b"
    first = np.stack([tifffile.imread(path) for path in sorted(slices.iterdir())])
    shifted = np.roll(first, 14, axis=2)
    shifted[:, :, :14] = np.random.default_rng(2).normal(2000, 300, shifted[:, :, :14].shape)
    write_slices(slices, shifted)
    textured.change("register", min_overlap=0.9, max_shift=0.5)
    said = textured.run("--until", "register")
    assert_said(said, 2, "state '4.2 V' onto 'pristine'", "min_overlap = 0.9")
    textured.change("register", min_overlap=0.5)
    said = textured.run("--until", "grey")
    assert said.code == 0, said.err
