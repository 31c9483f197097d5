"""Properties painted into the volume: the right value in every voxel, an image by the rules, whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaozarrs
import zarr
from filelock import FileLock
from zarr.core.metadata import ArrayV3Metadata

import crackdask as package
from crackdask import analyse
from crackdask.cluster.launch import connect
from crackdask.engine.executors import Called, Serial
from crackdask.export import ExportError, PaintError, export_tables, properties
from crackdask.export import paint as paint_property
from crackdask.export.paint import BLOCK
from crackdask.schema import CRACKS, UnitKey
from crackdask.store.root import StoreError
from tests.support.painted import level
from tests.support.tiny import Tiny, contents, crackdask

paint_module = sys.modules["crackdask.export.paint"]


def looked_up(store: Path, values: Any, background: float = np.nan) -> Any:
    """Return the values (state, particle) in place, by a plain loop over the particles."""
    label = np.asarray(zarr.open_array(store / "volumes/label", mode="r"))
    painted = np.full(label.shape, background, np.float32)
    for state, row in enumerate(values):
        for number, value in enumerate(row, start=1):
            painted[state][label[state] == number] = background if np.isnan(value) else value
    return painted


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("background", [np.nan, 0.0])
def test_every_voxel_has_the_value_of_its_particle(cut_store: Path, tmp_path: Path, background: float) -> None:
    image = paint_property(cut_store, "volume_um3", tmp_path, background=background)
    assert image == tmp_path / "volume_um3.ome.zarr"
    stored = xr.open_zarr(cut_store, group="particles").volume_um3.load()
    wanted = looked_up(cut_store, np.where(stored > 0, stored, np.nan), background)
    found = level(image)
    assert found.dtype == np.float32
    assert len(np.unique(found[~np.isnan(found)])) > 20
    np.testing.assert_array_equal(found, wanted)
    assert hidden(tmp_path) == []


def test_coarser_levels_keep_every_second_voxel(cut_store: Path, tmp_path: Path) -> None:
    image = paint_property(cut_store, "grey_mean", tmp_path)
    whole, levels = level(image), sorted(path.name for path in image.iterdir() if path.is_dir())
    assert levels == ["0", "1", "2", "3"]
    for number in range(1, 4):
        step = 2**number
        np.testing.assert_array_equal(level(image, number), whole[:, ::step, ::step, ::step])


def test_damage_of_the_tracked(cut_store: Path, tmp_path: Path) -> None:
    damage = analyse.damage(package.open(cut_store))
    count = xr.open_zarr(cut_store, group="particles").sizes["particle"]
    for name, values in (
        ("damage", damage.damage),
        ("damage_class", analyse.classes(damage).severity_number),
        ("damage_change", analyse.changes(damage).change),
    ):
        every = values.reset_coords(drop=True).reindex(particle=np.arange(1, count + 1), state=damage.state)
        assert int(np.isnan(every).sum()) > 0
        found = level(paint_property(cut_store, name, tmp_path))
        np.testing.assert_array_equal(found, looked_up(cut_store, every.values), err_msg=name)


def test_numbers_of_ones_own(finished: Tiny, tmp_path: Path) -> None:
    own = xr.DataArray([30.0, np.inf], {"particle": [3, 1]}, ["particle"], name="my score")
    image = paint_property(finished.store, own, tmp_path)
    assert image.name == "my_score.ome.zarr"
    wanted = looked_up(finished.store, [[np.inf, np.nan, 30]] * 2)
    np.testing.assert_array_equal(level(image), wanted)
    yaozarrs.validate_zarr_store(image)


def test_cracks_are_there_to_paint(cut_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "cracked.zarr"
    shutil.copytree(cut_store, store)
    assert "cracks/crack_voxels" not in properties(package.open(store))
    names = [str(name) for name in xr.open_zarr(store, group="particles").state.values]
    said = crackdask("cracks", store, "--state", names[1], "--cluster", "synchronous")
    assert said.code == 0, said.err
    found = xr.open_zarr(store, group="cracks").crack_voxels.values.astype(float)
    assert found[1].max() > 0
    found[[0, 2]] = np.nan  # not looked for
    image = paint_property(store, "cracks/crack_voxels", tmp_path)
    assert image.name == "cracks_crack_voxels.ome.zarr"
    np.testing.assert_array_equal(level(image), looked_up(store, found))
    assert not export_tables(store, tmp_path, ["cracks"]).notes
    rows = pd.read_parquet(tmp_path / "cracks.parquet")
    assert list(rows.columns[5:]) == list(CRACKS)
    assert rows.groupby("state", sort=False).computed.all().tolist() == [False, True, False]
    np.testing.assert_array_equal(rows.crack_voxels[rows.computed], found[1])


# ---------------------------------------------------------------- an image by the rules


def test_the_image_keeps_the_rules_of_ngff(cut_store: Path, tmp_path: Path) -> None:
    image = paint_property(cut_store, "damage", tmp_path)
    found = yaozarrs.validate_zarr_store(image).ome_metadata()
    assert isinstance(found, yaozarrs.v05.Image)
    (multiscale,) = found.multiscales
    assert [(axis.name, axis.type, axis.unit) for axis in multiscale.axes] == [
        ("t", "time", None),
        *((axis, "space", "micrometer") for axis in "zyx"),
    ]
    volumes = xr.open_zarr(cut_store, group="volumes")
    for number, dataset in enumerate(multiscale.datasets):
        scale, translation = dataset.coordinateTransformations
        assert isinstance(scale, yaozarrs.v05.ScaleTransformation)
        assert isinstance(translation, yaozarrs.v05.TranslationTransformation)
        array = zarr.open_array(image / dataset.path, mode="r")
        assert isinstance(array.metadata, ArrayV3Metadata)
        assert array.metadata.dimension_names == ("t", "z", "y", "x")
        assert array.chunks[0] == 1
        for axis, size, edge, first in zip(
            "zyx", array.shape[1:], scale.scale[1:], translation.translation[1:], strict=True
        ):
            places = first + edge * np.arange(size)
            np.testing.assert_allclose(places, volumes[axis][:: 2**number], err_msg=axis)
    assert found.omero is not None
    window = found.omero.channels[0].window
    damage = analyse.damage(package.open(cut_store)).damage
    assert (window.start, window.end) == pytest.approx((float(damage.min()), float(damage.max())), rel=1e-6)
    told: Any = zarr.open_group(image, mode="r").attrs["crackdask"]
    assert told["states"] == volumes.state.values.tolist()
    assert (told["property"], told["units"], told["background"]) == ("damage", "1", "NaN")


# ---------------------------------------------------------------- blocks and workers


@pytest.mark.parametrize("cluster", ["threads", "local"])
def test_blocks_and_workers_do_not_matter(
    cut_store: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = paint_property(cut_store, "grey_mean", tmp_path / "one")
    monkeypatch.setattr(paint_module, "BLOCK", 24)
    assert BLOCK != 24
    told: list[tuple[str, int]] = []

    @dataclass
    class Told:
        def begin(self, unit: UnitKey, pass_: str, done: int, blocks: int) -> None:
            told.append((pass_, blocks))

        def advance(self, unit: UnitKey, report: Any) -> None:
            assert report.bytes_written >= 0

        def end(self, unit: UnitKey, seconds: float) -> None:
            told.append((str(unit), 0))

    with connect(cluster, 2, 2**30) as executor:
        found = paint_property(cut_store, "grey_mean", tmp_path / "many", executor=executor, progress=Told())  # type: ignore[arg-type]
    assert dict(told)["level 0"] > 8
    assert [unit for unit, blocks in told if not blocks] == [f"paint grey_mean-{state}" for state in range(3)]
    mine, theirs = contents(found), contents(wanted)
    assert list(mine) == list(theirs)
    for name, values in mine.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def test_memory_is_bounded_by_a_block(cut_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paint_module, "BLOCK", 16)
    sizes = []

    @dataclass(frozen=True)
    class Watched(Serial):
        def map(
            self, function: Callable[[Any], Any], jobs: Iterable[Any], called: Called | None = None
        ) -> Iterator[tuple[Any, Any]]:
            for job, report in super().map(function, jobs):
                assert not isinstance(report, BaseException)
                sizes.append((report.bytes_read, job.box.size))
                yield job, report

    paint_property(cut_store, "grey_mean", tmp_path, executor=Watched())
    assert len(sizes) > 50
    assert max(read for read, _ in sizes) <= 4 * 8 * max(size for _, size in sizes)


# ---------------------------------------------------------------- whole or not at all


@dataclass(frozen=True)
class Failing(Serial):
    """Every third block fails; the first time only, or always."""

    always: bool = False

    def map(
        self, function: Callable[[Any], Any], jobs: Iterable[Any], called: Called | None = None
    ) -> Iterator[tuple[Any, Any]]:
        jobs = list(jobs)
        for number, job in enumerate(jobs):
            if number % 3 == 0 and (self.always or len(jobs) > 1):
                yield job, MemoryError("too little")
            else:
                yield job, function(job)


def test_blocks_that_fail_are_tried_again(cut_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paint_module, "BLOCK", 32)
    image = paint_property(cut_store, "grey_mean", tmp_path, executor=Failing())
    whole = xr.open_zarr(cut_store, group="particles").grey_mean.load()
    np.testing.assert_array_equal(level(image), looked_up(cut_store, whole.values))


def test_no_image_where_blocks_failed(finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = paint_property(finished.store, "grey_mean", tmp_path)
    kept = contents(before)
    with pytest.raises(PaintError, match=r"1 blocks could not be painted.*MemoryError: too little"):
        paint_property(finished.store, "grey_mean", tmp_path, executor=Failing(always=True))
    assert [path.name for path in tmp_path.iterdir()] == [before.name]
    assert all(np.array_equal(values, kept[name], equal_nan=True) for name, values in contents(before).items())
    with monkeypatch.context() as patch:
        patch.setattr(
            "crackdask.engine.executors.Serial.map",
            lambda self, function, jobs: Failing(always=True).map(function, jobs),
        )
        said = crackdask(
            "export", finished.store, "--paint", "volume_um3", "--cluster", "synchronous", "--out", tmp_path
        )
    assert said.code == 1
    assert "could not be painted" in said.err


def test_a_killed_paint_does_not_look_finished(finished: Tiny, tmp_path: Path) -> None:
    words = (
        "import sys, time; from pathlib import Path; from crackdask.engine.executors import Serial\n"
        "import crackdask.export as export\n"
        "class Slow(Serial):\n"
        "    def map(self, function, jobs):\n"
        "        for done in super().map(function, jobs):\n"
        "            yield done\n"
        "            Path(sys.argv[2], 'begun').touch(); time.sleep(60)\n"
        "export.paint(sys.argv[1], 'grey_mean', Path(sys.argv[2]), executor=Slow())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", words, str(finished.store), str(tmp_path)])
    try:
        for _ in range(600):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.1)
        assert (tmp_path / "begun").exists()
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    left = tmp_path / ".grey_mean.ome.zarr.partial"
    assert not (tmp_path / "grey_mean.ome.zarr").exists()
    with pytest.raises(ValueError, match="Is this an OME-Zarr group"):
        yaozarrs.validate_zarr_store(left)
    assert (left / "0").exists()
    image = paint_property(finished.store, "grey_mean", tmp_path)
    yaozarrs.validate_zarr_store(image)
    assert hidden(tmp_path) == []


def test_one_writer_at_a_time(finished: Tiny, tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".grey_mean.ome.zarr.lock"),
        pytest.raises(ExportError, match="is being painted by another process; wait for it"),
    ):
        paint_property(finished.store, "grey_mean", tmp_path)


def test_what_is_no_image_is_not_replaced(finished: Tiny, tmp_path: Path) -> None:
    mine = tmp_path / "grey_mean.ome.zarr" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(ExportError, match="exists and is no image of crackdask"):
        paint_property(finished.store, "grey_mean", tmp_path)
    assert mine.read_text() == "mine"


def test_damaged_labels_are_told(finished: Tiny, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    shutil.copytree(finished.store, store)
    chunk = next(path for path in sorted((store / "volumes/label/c").rglob("*")) if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="damaged on the disk"):
        paint_property(store, "grey_mean", tmp_path)
    assert not (tmp_path / "grey_mean.ome.zarr").exists()
