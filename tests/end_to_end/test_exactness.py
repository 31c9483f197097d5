"""The result of a run is the same, bit for bit, for any blocks, chunks, workers and scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import crackdask
from crackdask.grid import Grid
from crackdask.kernels.surface import cell_areas
from crackdask.lazy import open_and_close
from tests.support.experiment import CUT, SMALL, Experiment, differences, load
from tests.support.tiny import Tiny

FLAT = {"block": [16, 48, 67], "chunk": [16, 16, 67], "compression": "lz4"}
TALL = {"block": [41, 32, 24], "chunk": [41, 16, 8], "compression": "none"}
SHARDED = {"block": [32, 32, 64], "chunk": [16, 16, 16], "shard": [32, 32, 32]}
CUTS: list[dict[str, Any]] = [CUT, FLAT, TALL, SHARDED]


@pytest.fixture(scope="module")
def wanted(whole_store: Path) -> dict[str, xr.Dataset]:
    return load(whole_store)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit="2 GiB"
    ) as cluster:
        yield cluster.scheduler_address


def test_the_walls_of_the_blocks_cut_through_particles_that_differ(wanted: Mapping[str, xr.Dataset]) -> None:
    label, grey = wanted["volumes"].label.values, wanted["volumes"].grey.values
    for cut in CUTS:
        grid = Grid(SMALL.shape, tuple(cut["block"]))
        for axis in range(3):
            for wall in range(grid.block[axis], grid.shape[axis], grid.block[axis]):
                low, high = (label.take(wall + side, axis + 1) for side in (-1, 0))
                assert np.count_nonzero((low == high) & (low > 0)) > 300, (cut, axis, wall)
        assert len(grid) >= 4
    for state in range(3):
        assert np.unique(label[state]).size > 80
        assert np.ptp(grey[state]) > 100
        assert (grey[state] == 0).any() == (state > 0), "a moved scan has an outside"
    assert (label[0] != label[1]).any()
    assert (label[1] != label[2]).any()
    assert wanted["contacts"].sizes["contact"] > 300
    assert 10 < int(wanted["particles"].tracked.any("state").sum()) < wanted["particles"].sizes["particle"]
    assert not np.array_equal(wanted["transforms"].matrix[0], wanted["transforms"].matrix[1])


def test_blocks_that_divide_nothing_change_no_bit(wanted: Mapping[str, xr.Dataset], cut_store: Path) -> None:
    assert differences(load(cut_store), wanted) == []


@pytest.mark.parametrize(
    ("compute", "cluster", "workers"),
    [
        pytest.param(FLAT, "threads", 2, id="flat, two threads"),
        pytest.param(TALL, "threads", 1, id="tall, one thread"),
        pytest.param(SHARDED, "local", 2, id="shards, two workers"),
    ],
)
def test_no_cut_and_no_scheduler_changes_a_bit(
    experiment: Experiment,
    wanted: Mapping[str, xr.Dataset],
    tmp_path: Path,
    compute: dict[str, Any],
    cluster: str,
    workers: int,
) -> None:
    outcome, job = experiment.run(
        tmp_path / "cut.zarr", compute | {"keep_intermediate": True}, cluster=cluster, workers=workers
    )
    assert not outcome.failures
    assert job.grid.block == tuple(compute["block"])
    assert differences(load(tmp_path / "cut.zarr"), wanted) == []


def test_a_scheduler_by_its_address_gives_the_same_bits(
    experiment: Experiment, wanted: Mapping[str, xr.Dataset], tmp_path: Path, address: str
) -> None:
    compute = {"block": [16, 64, 48], "chunk": [8, 16, 24], "keep_intermediate": True}
    outcome, _ = experiment.run(tmp_path / "cut.zarr", compute, cluster=address)
    assert not outcome.failures
    assert differences(load(tmp_path / "cut.zarr"), wanted) == []


# ---------------------------------------------------------------- the same kernels in a notebook


@st.composite
def cuts(draw: st.DrawFn) -> tuple[tuple[int, ...], ...]:
    """Cut each axis into one to four chunks of any length."""
    made = []
    for size in SMALL.shape:
        walls = draw(st.sets(st.integers(1, size - 1), max_size=3))
        bounds = [0, *sorted(walls), size]
        made.append(tuple(b - a for a, b in pairwise(bounds)))
    return tuple(made)


def chunked(volume: xr.DataArray, chunks: tuple[tuple[int, ...], ...]) -> xr.DataArray:
    return volume.chunk({"state": 1, **dict(zip("zyx", chunks, strict=True))})


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=cuts())
def test_the_lazy_functions_give_the_stores_bits(
    wanted: Mapping[str, xr.Dataset], chunks: tuple[tuple[int, ...], ...]
) -> None:
    there = wanted["volumes"]
    with dask.config.set(scheduler="threads", num_workers=2):
        found = crackdask.denoise(chunked(there.grey, chunks))
        xr.testing.assert_identical(found.compute().drop_attrs(), there.denoised.drop_attrs())
        found = crackdask.mask(chunked(there.denoised, chunks))
        xr.testing.assert_identical(found.compute().drop_attrs(), there.mask.drop_attrs())
        mask = chunked(there.mask, chunks)
        label = crackdask.label(mask[0], min_depth=0.15, max_radius=12)
        np.testing.assert_array_equal(label.values, there.label[0])
        carried = crackdask.transfer(mask, chunked(there.label, chunks)[0], max_radius=12)
        xr.testing.assert_identical(carried.compute().drop_attrs(), there.label.drop_attrs())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=cuts())
def test_the_lazy_measure_gives_the_stores_tables(
    wanted: Mapping[str, xr.Dataset], chunks: tuple[tuple[int, ...], ...]
) -> None:
    volumes, particles = wanted["volumes"], wanted["particles"].sizes["particle"]
    widest = wanted["shells"].sizes["shell"]
    tree = crackdask.measure(
        chunked(volumes.grey, chunks), chunked(volumes.label, chunks), particles, max_radius=max(widest, 12)
    )
    with dask.config.set(scheduler="threads", num_workers=2):
        found = {name: tree[name].to_dataset().compute() for name in ("particles", "shells", "histograms")}
    found["shells"] = found["shells"].isel(shell=slice(widest))
    for group, tables in found.items():
        assert tables.data_vars
        for name, column in tables.data_vars.items():
            stored = wanted[group][name]
            assert column.dtype == stored.dtype
            assert column.values.tobytes() == stored.values.tobytes(), f"{group}/{name}"


@pytest.mark.parametrize(
    ("denoise", "mask"),
    [
        ({"method": "median"}, {"threshold": "li"}),
        ({"method": "gaussian", "gaussian_sigma": 0.7}, {"threshold": "multiotsu", "threshold_class": 1}),
    ],
)
def test_other_filters_and_thresholds_are_the_same_in_a_run_and_in_a_notebook(
    tiny: Tiny, denoise: dict[str, Any], mask: dict[str, Any]
) -> None:
    tiny.change("denoise", **denoise)
    tiny.change("mask", **mask)
    tiny.change("compute", keep_intermediate=True)
    said = tiny.run("--until", "mask")
    assert said.code == 0, said.err
    there = {name: tiny.contents(tiny.store)[f"volumes/{name}"] for name in ("grey", "denoised", "mask")}
    volumes = {
        name: xr.DataArray(voxels, dims=("state", "z", "y", "x")).chunk(z=7, y=11, x=32)
        for name, voxels in there.items()
    }
    assert (there["denoised"] != there["grey"]).mean() > 0.3
    assert 0.05 < there["mask"].mean() < 0.95
    np.testing.assert_array_equal(crackdask.denoise(volumes["grey"], **denoise), there["denoised"])
    np.testing.assert_array_equal(crackdask.mask(volumes["denoised"], **mask), there["mask"])


def test_too_few_grey_levels_for_the_classes_are_said(tiny: Tiny) -> None:
    for number, name in enumerate("ab"):
        tiny.write_slices(
            tiny.folder / "scans" / name, np.where(tiny.scan(number) > 2000, 3000, 1000).astype(np.uint16)
        )
    tiny.change("denoise", method="none")
    tiny.change("grey", interpolation="linear")
    tiny.change("mask", threshold="multiotsu", classes=5, threshold_class=4)
    said = tiny.run()
    assert said.code == 2
    words = " ".join((said.err + said.out).split())
    assert "state 'pristine': 5 classes need as many grey levels, and there are 2" in words
    assert "lower [mask] classes, or choose another threshold" in words


def test_building_the_lazy_functions_computes_nothing() -> None:
    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a block was computed while the graph was built")

    def volume(dtype: str) -> xr.DataArray:
        voxels = da.zeros((2, 40, 40, 40), dtype=dtype, chunks=(1, 16, 24, 40)).map_blocks(
            refuse, dtype=dtype, meta=np.zeros((0, 0, 0, 0), dtype)
        )
        return xr.DataArray(voxels, dims=("state", "z", "y", "x"))

    built = [
        crackdask.denoise(volume("uint8")),
        crackdask.mask(volume("uint8")),
        crackdask.mask(volume("uint8"), threshold="multiotsu"),
        open_and_close(volume("bool")),
        crackdask.denoise(volume("uint8"), method="gaussian"),
        crackdask.label(volume("bool")[0]),
        crackdask.transfer(volume("bool"), volume("uint32")[0]),
        crackdask.measure(volume("uint8"), volume("uint32"), 5)["particles"].voxels,
    ]
    for found in built:
        assert found.chunks is not None
        with pytest.raises(AssertionError, match="a block was computed"):
            found.compute(scheduler="synchronous")


@pytest.mark.parametrize("edges", [(0.325, 0.325, 0.325), (1.0, 1.0, 1.0), (0.65, 0.325, 0.2)])
def test_areas_do_not_depend_on_the_threads_of_linear_algebra(edges: tuple[float, float, float]) -> None:
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads):
            found.append(cell_areas.__wrapped__(edges))
    assert found[0] == found[1]
