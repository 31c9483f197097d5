"""Tiny experiments that run in a second or two, and what a command said."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile
import zarr
from typer.testing import CliRunner

from crackdask.cli import app

Voxels = np.ndarray[Any, np.dtype[Any]]
SHAPE = (20, 28, 32)
BALLS = (((10, 9, 9), 5.0), ((9, 18, 10), 5.0), ((10, 13, 22), 6.5))  # all touch none of the image's faces


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


def crackdask(*words: str | Path) -> Said:
    """Run a command in this process."""
    found = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Said(found.exit_code, found.stdout, found.stderr)


def scan(seed: int, shape: tuple[int, int, int] = SHAPE) -> Voxels:
    """Return bright balls before a dark ground, with noise, uint16."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    voxels = np.full(shape, 1000.0)
    for centre, radius in BALLS:
        voxels[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2] = 3000
    return (voxels + np.random.default_rng(seed).normal(0, 120, shape)).astype(np.uint16)


def write_slices(folder: Path, voxels: Voxels) -> None:
    """Write a scan as a folder of TIFF slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, image in enumerate(voxels):
        tifffile.imwrite(folder / f"slice_{z:04d}.tif", image)


def as_toml(content: dict[str, Any]) -> str:
    """Return a recipe as TOML (its values are also JSON)."""
    lines = []
    for section, found in content.items():
        for table in found if isinstance(found, list) else [found]:
            lines.append(f"[[{section}]]" if isinstance(found, list) else f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def contents(store: Path) -> dict[str, Voxels]:
    """Return every array of a store, by path."""
    root = zarr.open_group(str(store), mode="r", use_consolidated=False)
    return {
        name: np.asarray(array[...]) for name, array in root.members(max_depth=None) if isinstance(array, zarr.Array)
    }


def assert_same_store(found: Path, wanted: Path) -> None:
    """Assert that two stores hold the same arrays, bit for bit."""
    mine, other = contents(found), contents(wanted)
    assert sorted(mine) == sorted(other)
    assert any(name == "volumes/label" and values.any() for name, values in mine.items())
    for name, values in mine.items():
        assert values.dtype == other[name].dtype, name
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@dataclass
class Tiny:
    """A small experiment in a folder: two scans of three balls, a recipe and a store to be.

    Change `content` (the recipe) or the scans, then call the commands.
    """

    folder: Path
    content: dict[str, Any] = field(default_factory=dict)
    crackdask: ClassVar[staticmethod[..., Said]] = staticmethod(crackdask)
    scan: ClassVar[staticmethod[..., Voxels]] = staticmethod(scan)
    write_slices: ClassVar[staticmethod[[Path, Voxels], None]] = staticmethod(write_slices)
    contents: ClassVar[staticmethod[[Path], dict[str, Voxels]]] = staticmethod(contents)
    assert_same_store: ClassVar[staticmethod[[Path, Path], None]] = staticmethod(assert_same_store)

    def __post_init__(self) -> None:
        """Write the scans."""
        self.store = self.folder / "out.zarr"
        self.content = {
            "experiment": {"name": "tiny", "voxel_um": 0.5},
            "states": [
                {"name": "pristine", "voltage": 3.0, "step": "pristine", "source": "scans/a"},
                {"name": "4.2 V", "voltage": 4.2, "step": "charge", "cycle": 1, "source": "scans/b"},
            ],
            "register": {"transform": "none"},
            "denoise": {"patch_distance": 1},
            "labels": {"max_radius": 8},
            "compute": {"chunk": 16, "block": 16},
        }
        for number, name in enumerate("ab"):
            if not (self.folder / "scans" / name).exists():  # or it is shared with other processes
                write_slices(self.folder / "scans" / name, scan(number))

    @property
    def recipe(self) -> Path:
        """The recipe, written anew."""
        path, text = self.folder / "recipe.toml", as_toml(self.content)
        if not path.exists() or path.read_text() != text:  # it may be shared with other processes
            path.write_text(text)
        return path

    def change(self, section: str, **values: Any) -> None:
        """Set keys of a section of the recipe."""
        self.content = copy.deepcopy(self.content)
        self.content.setdefault(section, {}).update(values)

    def run(self, *words: str) -> Said:
        """Run the recipe into the store."""
        return crackdask("run", self.recipe, "--store", self.store, "--cluster", "synchronous", *words)
