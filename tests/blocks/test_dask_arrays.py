"""Graphs that dask understands today: task nodes, keys that tell the content, and arrays that carry expressions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

import crackdask
from crackdask.blocks.dask_arrays import ChunkedGraph, Task, array_of_table, token
from crackdask.blocks.dask_graph import lazy
from crackdask.blocks.passes import Pass, Result
from crackdask.schema import SPATIAL
from crackdask.steps.denoise import DenoiseParams
from crackdask.steps.denoise import passes as denoise_passes
from crackdask.steps.mask import MaskParams
from crackdask.steps.mask import passes as mask_passes
from crackdask.steps.noise import noise_passes

SHAPE = (9, 10, 11)
PATHS = os.pathsep.join([str(Path(crackdask.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
CALLS: Counter[int] = Counter()


def grey(seed=0, chunks=5):
    voxels = np.random.default_rng(seed).integers(1, 256, SHAPE).astype(np.uint8)
    return da.from_array(voxels, chunks)


def keys(array):
    return list(flatten(array.__dask_keys__()))


def masked(seed=0, chunks=5, threshold=120.0, block=None, **parameters):
    tables = {"threshold": np.array(threshold)}
    return keys(lazy(mask_passes(MaskParams(**parameters)), {"denoised": grey(seed, chunks)}, tables, block)[0]["mask"])


# ---------------------------------------------------------------- keys


def test_equal_calls_have_equal_keys():
    assert masked() == masked()
    assert masked(opening=2) == masked(opening=2, phase="bright", max_hole=5000)  # the default, said or not
    assert masked(classes=4) == masked(), "only multi-Otsu reads it"
    array = xr.DataArray(grey(), dims=SPATIAL)
    for function in (crackdask.denoise, crackdask.mask):
        assert keys(function(array).data) == keys(function(array).data)
    label = array.astype(np.uint32)
    both = [crackdask.measure(array, label, 255)["shells"].voxels.data for _ in range(2)]
    assert keys(both[0]) == keys(both[1])


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"chunks": 4},
        {"threshold": 121.0},
        {"block": (4, 4, 4)},
        {"opening": 2},
        {"min_island": 49},
        {"phase": "dark"},
    ],
)
def test_whatever_decides_the_result_is_in_the_keys(other):
    assert set(masked()).isdisjoint(masked(**other))


def test_tables_that_are_still_to_come_are_in_the_keys():
    passes = denoise_passes(DenoiseParams())
    late = [lazy(noise_passes(), {"grey": grey(seed)})[1] for seed in (0, 0, 1)]
    first, same, other = (keys(lazy(passes, {"grey": grey()}, tables)[0]["denoised"]) for tables in late)
    assert first == same
    assert set(first).isdisjoint(other)


def test_keys_are_the_same_in_every_process():
    chosen = {"phase": "dark", "opening": 2, "closing": 3, "max_hole": 7}
    program = f"from tests.blocks.test_dask_arrays import masked; print(masked(**{chosen}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": PATHS},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1",)
    }
    assert said == {str(masked(**chosen))}


def counted(block):
    CALLS[block.number] += 1
    return Result({"twice": block.read("a") * 2})


def test_equal_calls_share_their_work():
    CALLS.clear()
    voxels = da.from_array(np.arange(990).reshape(SHAPE), 5)
    twice = (Pass("twice", counted, {"a": 0}, {"twice": "int64"}),)
    first, second = (lazy(twice, {"a": voxels})[0]["twice"] for _ in range(2))
    computed = dask.compute(first, second, scheduler="synchronous")
    np.testing.assert_array_equal(computed[0], computed[1])
    assert sorted(CALLS.items()) == [(number, 1) for number in range(12)]


def test_what_cannot_be_named_twice_the_same_is_refused():
    with pytest.raises(RuntimeError, match="cannot be deterministically hashed"):
        token(partial(sum, object()))


# ---------------------------------------------------------------- graphs


def test_layers_hold_task_nodes_and_have_names_to_be_read():
    volumes, tables = lazy((*noise_passes(), *denoise_passes(DenoiseParams())), {"grey": grey()})
    graph = HighLevelGraph.merge(volumes["denoised"].dask, tables["denoised_histogram"].dask)
    own = {name: layer for name, layer in graph.layers.items() if name != volumes["grey"].name}
    names = {name.rpartition("-")[0] for name in own}
    assert names == {"noise-blocks", "noise-reduction", "denoise-blocks", "denoised", "denoise-reduction"}
    for layer in own.values():
        for key, task in dict(layer).items():
            assert isinstance(task, Task)
            assert task.key == key


def test_an_array_is_taken_apart_and_put_together():
    voxels = da.from_array(np.arange(990).reshape(SHAPE), ((4, 5), (10,), (6, 5)))[1:]
    apart = ChunkedGraph.of(voxels)
    assert (apart.shape, apart.chunksize, apart.chunks) == (voxels.shape, (5, 10, 6), voxels.chunks)
    again = apart.array()
    assert (again.chunks, again.dtype) == (voxels.chunks, voxels.dtype)
    np.testing.assert_array_equal(again, voxels)


def test_a_table_becomes_an_array():
    table = array_of_table(dask.delayed(np.arange)(6), (6,), np.dtype("int64"))
    assert table.shape == (6,)
    np.testing.assert_array_equal(table[2:] + 1, np.arange(3, 7))


# ---------------------------------------------------------------- arrays that carry expressions

_EVERY_FUNCTION = """
import sys
import dask.array as da
import numpy as np
import xarray as xr
import crackdask
from crackdask.lazy import open_and_close

there = np.load(sys.argv[1])
volumes = {
    name: xr.DataArray(da.from_array(there[name], chunks=(1, 11, 9, 10)), dims=("state", "z", "y", "x"))
    for name in ("grey", "mask", "label")
}
grey, mask, label = volumes.values()
made = {
    "denoised": crackdask.denoise(grey, patch_size=1, patch_distance=1),
    "median": crackdask.denoise(grey, method="median"),
    "masked": crackdask.mask(grey, per_state=True),
    "labelled": crackdask.label(mask[0], max_radius=9),
    "carried": crackdask.transfer(mask, label[0], max_radius=9),
}
tables = crackdask.measure(grey, label, 9, max_radius=12)
made |= {"shells": tables["shells"].voxels, "extent": tables["particles"].voxels}
try:
    made["opened"] = open_and_close(mask)
except NotImplementedError as error:
    assert da.array_expr_enabled() and "unset DASK_ARRAY__QUERY_PLANNING" in str(error)
again = crackdask.denoise(grey, patch_size=1, patch_distance=1)
assert again.data.name == made["denoised"].data.name, "equal calls have equal keys"
print(type(grey.data).__module__)
np.savez(sys.argv[2], **{name: volume.compute(scheduler="threads").values for name, volume in made.items()})
"""


@pytest.mark.skipif(
    find_spec("dask.array._array_expr") is None, reason="this dask is too old for arrays that carry expressions"
)
def test_every_function_gives_the_same_bits_with_arrays_that_carry_expressions(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.zeros((2, 20, 21, 22), bool)
    mask[:, 3:9, 3:9, 3:9] = mask[:, 3:9, 3:9, 11:18] = mask[:, 12:18, 5:15, 6:14] = True
    label = np.zeros(mask.shape, np.uint32)
    label[:, 3:9, 3:9, 3:9], label[:, 3:9, 3:9, 11:18], label[:, 12:18, 5:15, 6:14] = 1, 2, 3
    shades = np.where(mask, 170, 80) + rng.normal(0, 9, mask.shape)
    np.savez(tmp_path / "there.npz", grey=shades.clip(1, 255).astype(np.uint8), mask=mask, label=label)
    results = {}
    for planned in ("False", "True"):
        said = subprocess.run(
            [sys.executable, "-c", _EVERY_FUNCTION, tmp_path / "there.npz", tmp_path / f"{planned}.npz"],
            env=os.environ | {"DASK_ARRAY__QUERY_PLANNING": planned, "PYTHONPATH": PATHS},
            capture_output=True,
            text=True,
        )
        assert said.returncode == 0, said.stderr
        assert ("_array_expr" in said.stdout) == (planned == "True")
        results[planned] = np.load(tmp_path / f"{planned}.npz")
    assert set(results["False"].files) - set(results["True"].files) == {"opened"}
    for name in results["True"].files:
        planned, plain = results["True"][name], results["False"][name]
        assert planned.dtype == plain.dtype
        assert planned.any(), name
        np.testing.assert_array_equal(planned, plain, err_msg=name)
