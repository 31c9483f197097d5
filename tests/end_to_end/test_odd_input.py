"""Scans and names that no experiment has, and yet somebody tries: one line, with what to change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.tiny import SHAPE, Tiny


def replaced(tiny: Tiny, voxels: np.ndarray[Any, Any]) -> None:
    """Put a numpy file in the place of the first scan."""
    np.save(tiny.folder / "scan.npy", voxels)
    tiny.content["states"] = [{**tiny.content["states"][0], "source": "scan.npy"}]


def test_a_checkerboard(tiny: Tiny) -> None:
    replaced(tiny, (np.indices(SHAPE).sum(0) % 2 * 1000).astype(np.uint16))
    said = tiny.run()
    assert said.code == 2
    assert said.err.startswith("error: [denoise] sigma: ")
    tiny.change("denoise", sigma=20.0)
    assert tiny.run("--until", "denoise").code == 0


@pytest.mark.parametrize("scale", [1e300, 1e303, -1e304, 1e60])
def test_floats_beyond_measure(tiny: Tiny, scale: float) -> None:
    replaced(tiny, tiny.scan(0).astype(np.float64) * scale)
    said = tiny.run("--until", "grey")
    assert said.code == 2
    assert "pristine" in said.err
    assert "beyond" in said.err
    assert "divide" in said.err


def test_large_floats_that_can_be_measured(tiny: Tiny) -> None:
    replaced(tiny, tiny.scan(0).astype(np.float64) * 1e30)
    assert tiny.run("--until", "grey").code == 0


@pytest.mark.parametrize(
    ("dtype", "fill", "fits"),
    [
        ("uint16", -1.0, False), ("uint16", 70000.0, False), ("uint16", 0.5, False), ("uint16", float("nan"), False),
        ("uint16", 65535.0, True), ("int16", -1.0, True), ("float32", 0.1, True), ("float32", float("nan"), True),
        ("float32", 1e300, False), ("uint8", 256.0, False),
    ],
)  # fmt: skip
def test_fill_is_a_value_that_voxels_can_have(tiny: Tiny, dtype: str, fill: float, fits: bool) -> None:
    replaced(tiny, (tiny.scan(0) // 32).astype(dtype))
    path = tiny.recipe
    path.write_text(path.read_text().replace("voxel_um = 0.5", f"voxel_um = 0.5\nfill = {fill}"))
    said = tiny.crackdask("check", path)
    assert said.code == (0 if fits else 2), said.err
    if not fits:
        assert "experiment.fill" in said.err
        assert f"{dtype} voxels" in said.err
        assert "pristine" in said.err


def test_names_that_are_longer_than_a_disk_takes(tiny: Tiny) -> None:
    store = tiny.store
    for name, what in (("x" * 300 + ".zarr", "--store"), ("y/" * 2500 + "z.zarr", "--store")):
        tiny.store = tiny.folder / name
        said = tiny.run()
        assert said.code == 2, what
        assert "too long" in said.err
        assert len(said.err) < 12_000
        for command in ("status", "report", "export", "cracks"):
            assert tiny.crackdask(command, tiny.store).code == 2
    tiny.store = store
    said = tiny.crackdask("check", tiny.folder / ("r" * 300 + ".toml"))
    assert said.code == 2
    tiny.content["states"][1]["source"] = "s" * 300 + ".tif"
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    assert "states[1].source (4.2 V)" in said.err


def test_a_state_whose_name_is_longer_than_a_disk_takes(tiny: Tiny) -> None:
    tiny.content["states"][1]["name"] = "é" * 200
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    assert "states[1].name" in said.err
    assert "at most 200 bytes" in said.err
