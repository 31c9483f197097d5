"""A small experiment that many tests run: its scans are made once, its recipe is changed as a test likes."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from crackdask.cluster.launch import connect
from crackdask.engine.context import RunContext
from crackdask.engine.run import Outcome, Run
from crackdask.engine.scans import Scans
from crackdask.phantom import Phantom, states, write
from crackdask.recipe.recipe import check
from tests.support.silence import Silent

SMALL = Phantom(
    shape=(41, 59, 67),
    states=states(3),
    seed=3,
    dtype="uint16",
    max_shift=2.0,
    vanishing=1,
    leaving=1,
    radius_median=6.0,
    radius_range=(4.0, 9.0),
)
#: A registration of small scans that takes a second.
QUICK: dict[str, Any] = {"samples": 4000, "iterations": 30, "max_rotation_deg": 2.0, "blocks_per_axis": 2, "rounds": 1}
#: Blocks that divide nothing evenly.
CUT: dict[str, Any] = {"block": [24, 40, 48], "chunk": [8, 20, 24], "keep_intermediate": True}
GROUPS = (
    "volumes", "levels/1", "labels/particle/0", "labels/particle/1", "particles", "shells", "histograms", "contacts",
    "transforms",
)  # fmt: skip

Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """Scans in a folder and the recipe that runs them."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, phantom: Phantom = SMALL) -> Experiment:
        write(phantom, folder)
        return cls(folder)

    def recipe(self, compute: Mapping[str, Any], **sections: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe with some keys changed."""
        content = tomllib.loads((self.folder / "recipe.toml").read_text())
        content |= {"register": QUICK, "compute": dict(compute)}
        content["labels"]["max_radius"] = 12
        for name, values in sections.items():
            content[name] = {**content.get(name, {}), **values}
        return content

    def write(self, name: str, compute: Mapping[str, Any], **sections: Mapping[str, Any]) -> Path:
        """Write the recipe with some keys changed beside the scans, for the command line."""
        content, lines = self.recipe(compute, **sections), []
        for state in content.pop("states"):
            lines += ["[[states]]", *(f"{key} = {json.dumps(value)}" for key, value in state.items())]
        for section, values in content.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        path, fresh = self.folder / name, self.folder / f"{os.getpid()}-{name}"
        fresh.write_text("\n".join(lines) + "\n")
        return fresh.replace(path)  # other processes may read it now

    def prepare(self, content: Mapping[str, Any]) -> Scans:
        """Return the opened scans of a recipe."""
        return Scans.of(check(content), self.folder)

    def run(
        self,
        store: Path,
        compute: Mapping[str, Any],
        cluster: str = "synchronous",
        workers: int | None = None,
        until: str | None = None,
        progress: Silent | None = None,
        **sections: Mapping[str, Any],
    ) -> tuple[Outcome, RunContext]:
        """Run the recipe with some keys changed, and return how it ended, with what it worked with."""
        scans = self.prepare(self.recipe(compute, **sections))
        with connect(cluster, workers, scans.recipe.compute.memory) as executor:
            run = Run(scans, store, executor, progress or Silent())
            return run(until), run.context


def whole(phantom: Phantom) -> dict[str, Any]:
    """Return the [compute] section under which a volume is one block."""
    return {"block": list(phantom.shape), "chunk": list(phantom.shape)}


def load(store: Path) -> dict[str, xr.Dataset]:
    """Return all groups of a store as plain xarray opens them."""
    return {name: xr.open_zarr(store, group=name).load() for name in GROUPS}


def differences(found: Mapping[str, xr.Dataset], wanted: Mapping[str, xr.Dataset]) -> list[str]:
    """Return the variables in which two stores differ by as much as a bit, a dtype or an attribute."""
    wrong = []
    for group in GROUPS:
        mine, theirs = found[group], wanted[group]
        names = sorted({*map(str, mine.variables), *map(str, theirs.variables)})
        wrong += [f"{group}/{name}" for name in names if not _same(mine, theirs, name)]
    return wrong


def _same(mine: xr.Dataset, theirs: xr.Dataset, name: str) -> bool:
    if name not in mine.variables or name not in theirs.variables:
        return False
    a, b = mine.variables[name], theirs.variables[name]
    if (a.dims, a.shape, a.dtype, a.attrs) != (b.dims, b.shape, b.dtype, b.attrs):
        return False
    if a.dtype.kind in "biuf":
        return np.ascontiguousarray(a.values).tobytes() == np.ascontiguousarray(b.values).tobytes()
    return a.values.tolist() == b.values.tolist()
