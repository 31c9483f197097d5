"""A store of a full field that takes little disk and no run: few chunks, each linked to many places; invented tables.

Pictures, labels and tables have the sizes of a real one, and every address that the explorer asks for is there; a
particle's picture is that of one of a few, so what is seen is not what the tables say.
"""

from __future__ import annotations

import os
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from crackdask import schema
from crackdask.engine.table_writer import ranges
from crackdask.grid import Triple
from crackdask.store.arrays import (
    Axes,
    Compression,
    VolumeLayout,
    create_array,
    write_array,
    write_state_coordinates,
)
from crackdask.store.checked import WHOLE
from crackdask.store.create import create
from crackdask.store.root import consolidate

CHUNK = 64
_GREYS, _LABELS, _SHELLS = 8, 256, 12
_VOXEL_UM = 0.325
FULL: Triple = (2048, 2624, 2624)
PARTICLES = 600_000


def make(store: Path, shape: Triple = FULL, particles: int = PARTICLES, states: int = 2) -> None:
    """Write the store."""
    names = ("pristine", *(f"{4.2 + k / 10:.1f} V" for k in range(states - 1)))
    steps = ("pristine", *["charge"] * (states - 1))
    voltages = (3.0, *(4.2 + k / 10 for k in range(states - 1)))
    axes = Axes(names, voltages, steps, (0,) * states, shape, (_VOXEL_UM,) * 3)
    layout = VolumeLayout((CHUNK,) * 3)
    create(store, axes, {"grey": "uint8", "label": "uint32"}, layout, _attributes(axes))
    rng = np.random.default_rng(0)
    chunks = _chunks(rng, particles)
    for name in ("grey", "label"):
        _fill(store / "volumes" / name, shape, states, chunks[name])
    _levels(store, axes, chunks)
    _tables(store, axes, particles, rng)
    consolidate(store)


def _attributes(axes: Axes) -> dict[str, Any]:
    states = [
        {"name": name, "voltage": voltage, "step": step, "cycle": 0, "source": "none"}
        for name, voltage, step in zip(axes.names, axes.voltages, axes.steps, strict=True)
    ]
    return {
        "format_version": schema.FORMAT_VERSION,
        "crackdask_version": "0",
        "recipe": {
            "experiment": {"name": "full field", "voxel_um": list(axes.voxel_um)},
            "states": states,
            "analyse": {"path_states": list(axes.names)},
        },
        "identity": {"states": list(axes.names), "voxel_um": list(axes.voxel_um), "shape": list(axes.shape)},
        "complete": True,
        "steps": {},
        "found": {"noise": 6.0, "background": 60.0},
    }


def _chunks(rng: np.random.Generator, particles: int) -> dict[str, list[np.ndarray]]:
    """Return some chunks of balls: grey levels, and labels that are spread over all of them."""
    grid = np.ogrid[tuple(slice(CHUNK) for _ in range(3))]
    greys, labels = [], []
    for number in range(_LABELS):
        label = np.zeros((CHUNK,) * 3, np.uint32)
        for ball in np.random.default_rng(number % _GREYS).uniform(9, CHUNK - 9, (11, 3)):
            inside = sum((axis - middle) ** 2 for axis, middle in zip(grid, ball, strict=True)) < 81
            label[inside & (label == 0)] = rng.integers(1, particles + 1)
        labels.append(label)
        if number < _GREYS:
            grey = np.where(label > 0, 190, 60) + rng.normal(0, 6, label.shape)
            greys.append(np.clip(grey, 1, 255).astype(np.uint8))
    return {"grey": greys, "label": labels}


def _fill(array: Path, shape: Triple, states: int, chunks: list[np.ndarray]) -> None:
    """Write each chunk once, and link it to all places that are to hold it."""
    held: Any = zarr.open_array(str(array), mode="r+").with_config({"write_empty_chunks": True})
    counts = [-(-n // c) for n, c in zip(shape, held.chunks[1:], strict=True)]
    first: dict[int, Path] = {}
    for state, z, y in product(range(states), range(counts[0]), range(counts[1])):
        folder = array / "c" / str(state) / str(z) / str(y)
        folder.mkdir(parents=True, exist_ok=True)
        for x in range(counts[2]):
            number = ((z * 131 + y * 17 + x * 7) * 29) % len(chunks)
            if number in first:
                os.link(first[number], folder / str(x))
                continue
            box = tuple(slice(k * c, (k + 1) * c) for k, c in zip((z, y, x), held.chunks[1:], strict=True))
            there = held[(state, *box)].shape  # a chunk at the end of the volume is whole on the disk
            held[(state, *box)] = chunks[number][tuple(slice(0, n) for n in there)]
            if there == held.chunks[1:]:
                first[number] = folder / str(x)


def _levels(store: Path, axes: Axes, chunks: dict[str, list[np.ndarray]]) -> None:
    """Add coarser levels, as the store's OME metadata tells them."""
    for folder in ("levels", "labels"):  # those of the store are of other chunks
        shutil.rmtree(store / folder)
    root = zarr.open_group(str(store), mode="r+", use_consolidated=False)
    paths = {"grey": ["volumes/grey"], "label": ["../../volumes/label"]}
    shape, level = axes.shape, 0
    while max(shape) > CHUNK:
        level += 1
        z, y, x = (-(-n // 2) for n in shape)
        shape = (z, y, x)
        for name, where in (("grey", f"levels/{level}"), ("label", f"labels/particle/{level}")):
            group = root.require_group(where)
            create_array(
                group,
                name,
                shape=(len(axes.names), *shape),
                dtype=schema.VOLUMES[name].dtype,
                dims=schema.VOLUME,
                chunks=(1, *(min(CHUNK, n) for n in shape)),
                attributes=schema.VOLUMES[name].attributes | WHOLE,
            )
            _fill(store / where / name, shape, len(axes.names), chunks[name])
            paths[name].append(f"{where}/{name}" if name == "grey" else f"{level}/label")
    labels = root["labels/particle"]
    (store / "labels" / "particle" / "0").mkdir()
    zarr.create_group(str(store / "labels" / "particle" / "0"), zarr_format=3)
    (store / "labels" / "particle" / "0" / "label").symlink_to("../../../volumes/label")
    paths["label"][0] = "0/label"
    labels.attrs["ome"] = {"multiscales": [{"datasets": [{"path": path} for path in paths["label"]]}]}
    root.attrs["ome"] = {"multiscales": [{"datasets": [{"path": path} for path in paths["grey"]]}]}


def _tables(store: Path, axes: Axes, particles: int, rng: np.random.Generator) -> None:
    root: Any = zarr.open_group(str(store), mode="r+", use_consolidated=False)
    states = len(axes.names)
    radius = np.clip(rng.lognormal(np.log(7), 0.3, particles), 4, _SHELLS - 0.5)
    deepest = np.ceil(radius).astype(int)
    shell = np.arange(1, _SHELLS + 1)
    bounds = [np.clip(radius[:, None] - shell + k, 0, None) ** 3 for k in (1, 0)]
    ring = np.where(shell <= deepest[:, None], np.maximum((4.2 * (bounds[0] - bounds[1])).round(), 1), 0)
    crack = rng.gamma(1.0, 8.0, (states, particles)) * np.arange(states)[:, None]
    middle = [rng.uniform(12, n - 12, particles) for n in axes.shape]
    for group in ("particles", "shells"):
        write_state_coordinates(root.require_group(group), axes)
    arrays = {
        name: _column(root["particles"], name, schema.PARTICLES[name], axes, particles) for name in schema.PARTICLES
    }
    rings = {name: _column(root["shells"], name, schema.SHELLS[name], axes, particles) for name in schema.SHELLS}
    ids = np.arange(1, particles + 1, dtype=np.uint32)
    for group in ("particles", "shells"):
        write_array(root[group], "particle", ids, ("particle",), schema.COORDINATES["particle"].attributes)
    write_array(root["shells"], "shell", shell.astype(np.uint32), ("shell",), schema.COORDINATES["shell"].attributes)
    for state, part in product(range(states), ranges(particles)):
        rows = slice(part.start - 1, part.stop - 1)
        grey = 190 - crack[state, rows, None] * shell / _SHELLS + rng.normal(0, 1, (len(part), _SHELLS))
        rings["voxels"][state, rows] = ring[rows].astype(np.uint32)
        rings["grey_sum"][state, rows] = (ring[rows] * grey).astype(np.uint64)
        rings["grey_sumsq"][state, rows] = (ring[rows] * (grey**2 + 36)).astype(np.uint64)
        for name, array in arrays.items():
            array[state, rows] = _values(name, radius[rows], [m[rows] for m in middle], ring[rows], rng)


def _values(name: str, radius: Any, middle: list[Any], ring: Any, rng: np.random.Generator) -> Any:
    variable = schema.PARTICLES[name]
    if name.startswith("bbox_"):
        centre = middle["zyx".index(name[5])]
        return (centre + radius if name[6] == "1" else centre - radius).astype(np.int32)
    if name == "equivalent_diameter_um":
        return 2 * radius * _VOXEL_UM
    if name == "voxels":
        return ring.sum(axis=1).astype(np.uint32)
    if variable.dtype == "bool":
        return (rng.random(radius.size) < 0.9) == (name == "tracked")
    return rng.normal(1, 0.1, radius.size).astype(variable.dtype)


def _column(group: Any, name: str, variable: Any, axes: Axes, particles: int) -> Any:
    sizes = {"state": len(axes.names), "particle": particles, "shell": _SHELLS}
    shape = tuple(sizes[dim] for dim in variable.dims)
    chunks = (1, min(20_000, particles), *shape[2:])
    return create_array(
        group, name, shape=shape, dtype=variable.dtype, dims=variable.dims, chunks=chunks,
        compression=Compression(), attributes=variable.attributes,
    )  # fmt: skip
