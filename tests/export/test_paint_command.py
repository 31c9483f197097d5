"""The command that paints: what it says, what it refuses, what it costs, and that it can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from crackdask.engine.executors import Called, Serial
from crackdask.export import ExportError
from crackdask.export import paint as paint_property
from crackdask.export.paint import stroke
from tests.support.painted import level
from tests.support.tiny import Tiny, crackdask


def test_the_command(finished: Tiny, tmp_path: Path) -> None:
    words = ("--paint", "volume_um3", "--paint", "n_contacts", "--background", "0", "--cluster", "threads")
    said = crackdask("export", finished.store, *words, "--workers", "2", "--out", tmp_path)
    assert said.code == 0, said.err
    images = [tmp_path / f"{name}.ome.zarr" for name in ("volume_um3", "n_contacts")]
    assert said.out.splitlines() == [str(image) for image in images]
    assert "2 workers" in said.err
    assert "done paint volume_um3 4.2 V" in said.err
    assert level(images[0]).max() > 0
    assert not np.isnan(level(images[0])).any()
    assert sorted(tmp_path.iterdir()) == sorted(images)


def test_an_unknown_property_names_what_there_is(finished: Tiny, tmp_path: Path) -> None:
    said = crackdask("export", finished.store, "--paint", "voxels", "--paint", "volume", "--out", tmp_path / "made")
    assert said.code == 2
    assert "nothing to paint is named 'volume'; there are axis_1_um," in said.err
    assert (
        "volume_um3, volumetric_strain, volumetric_strain_error, voxels, damage, damage_error, damage_class, "
        "damage_change; and cracks/COLUMN, once" in said.err
    )
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (
            xr.DataArray([1.0], dims="particle", name="mine"),
            "mine has 1 along particle and no coordinate, the store has 3",
        ),
        (xr.DataArray([1.0, 2, 3], dims="particle"), "needs a name"),
        (xr.DataArray([1.0, 2, 3], dims="shell", name="mine"), "needs a name and the dimensions particle"),
        (
            xr.DataArray([1.0], {"particle": [9]}, ["particle"], name="mine"),
            "mine has no finite value for any particle",
        ),
    ],
)
def test_numbers_that_cannot_be_painted(finished: Tiny, tmp_path: Path, own: xr.DataArray, wanted: str) -> None:
    with pytest.raises(ExportError, match=wanted):
        paint_property(finished.store, own, tmp_path)


def test_a_stroke_reports_what_it_cost(finished: Tiny, tmp_path: Path) -> None:
    reports = []

    @dataclass(frozen=True)
    class Kept(Serial):
        def map(
            self, function: Callable[[Any], Any], jobs: Iterable[Any], called: Called | None = None
        ) -> Iterator[tuple[Any, Any]]:
            assert function is stroke
            for job, report in super().map(function, jobs):
                assert not isinstance(report, BaseException)
                reports.append(report)
                yield job, report

    image = paint_property(finished.store, "grey_mean", tmp_path, executor=Kept())
    chunks = [path for path in image.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert sum(report.bytes_written for report in reports) == sum(path.stat().st_size for path in chunks)


def test_stopped_by_hand(finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: Serial, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
        yield (job := next(iter(jobs))), function(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(Serial, "map", stopped)
    said = crackdask("export", finished.store, "--paint", "voxels", "--cluster", "synchronous", "--out", tmp_path)
    assert said.code == 130
    assert "stopped; the image that was being painted is gone" in said.err
    assert list(tmp_path.iterdir()) == []
