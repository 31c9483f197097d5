"""Plans at any size are arithmetic: a full field takes no time and no voxel."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from crackdask.engine.block_plan import estimate, passes_by_step, plan_blocks
from crackdask.engine.scans import Scans
from crackdask.grid import Triple
from crackdask.recipe.recipe import RecipeError, check
from crackdask.steps.registry import REGISTRY

FULL_FIELD = (2160, 2560, 2560)
TWELVE = [
    {"name": f"state {n}", "voltage": 3.0, "step": "pristine" if n == 0 else "charge", "source": f"scan-{n}.npy"}
    for n in range(12)
]


def recipe(**sections: object) -> dict[str, object]:
    return {"experiment": {"name": "field", "voxel_um": 0.325}, "states": TWELVE, **sections}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Twelve full-field scans that take no room: files with a header and a hole."""
    for state in TWELVE:
        np.lib.format.open_memmap(tmp_path / str(state["source"]), mode="w+", dtype=np.uint16, shape=FULL_FIELD)
    return tmp_path


def test_a_full_field_of_twelve_states_is_planned_in_seconds(scans: Path) -> None:
    started = time.perf_counter()
    found = check(recipe())
    opened = Scans.of(found, scans)
    plan = opened.plan(2)
    cost = estimate(found, plan, np.dtype("uint16"), 2)
    assert time.perf_counter() - started < 30
    assert plan.worker_bytes <= found.compute.memory
    assert cost.voxels == 12 * np.prod(FULL_FIELD)
    assert cost.blocks == len(plan.grid) > 800
    assert 12 * cost.blocks < cost.tasks < 30 * 12 * cost.blocks
    assert cost.source_bytes == 2 * cost.voxels
    assert 0 < cost.store_bytes < 2 * cost.voxels
    assert cost.seconds > 3600
    # Of a voxel most steps are done once, in every state; what is done for each state is little beside it.
    at_most = sum(step.seconds_per_megavoxel for step in REGISTRY.values()) * cost.voxels / 1e6
    by_state = 12 * sum(step.seconds_per_state for step in REGISTRY.values())
    assert 0.4 * at_most < 2 * cost.seconds < at_most + by_state
    assert by_state < 0.1 * at_most
    assert estimate(found, plan, np.dtype("uint16"), 4).seconds == cost.seconds / 2


@pytest.mark.parametrize("memory", ["2 GiB", "1 GiB", "768 MiB"])
def test_blocks_fit_the_memory(memory: str) -> None:
    found = check(recipe(compute={"memory": memory}))
    plan = plan_blocks(found, FULL_FIELD, FULL_FIELD, np.dtype("uint16"), 2)
    assert plan.worker_bytes <= found.compute.memory
    assert all(b % c == 0 for b, c in zip(plan.grid.block, found.compute.chunk, strict=True))


def test_less_memory_means_smaller_blocks() -> None:
    plans = [
        plan_blocks(check(recipe(compute={"memory": m})), FULL_FIELD, FULL_FIELD, np.dtype("uint16"), 2)
        for m in ("4 GiB", "768 MiB")
    ]
    assert plans[0].grid.block > plans[1].grid.block


def test_too_little_memory_says_what_would_fit() -> None:
    found = check(recipe(compute={"memory": "100 MiB"}))
    with pytest.raises(RecipeError, match=r"compute.memory: 100 MiB .* set memory = '\d+ MiB' or more"):
        plan_blocks(found, FULL_FIELD, FULL_FIELD, np.dtype("uint16"), 2)


def test_no_block_is_a_sliver_where_longer_ones_fit() -> None:
    """Of 2 voxels along y, and of 4 along x, which would be read with all that is around them."""
    shape, dtype = (200, 770, 1540), np.dtype("uint16")
    blocks = {
        memory: plan_blocks(check(recipe(compute={"memory": memory})), shape, shape, dtype, 2).grid.block
        for memory in ("2 GiB", "1100 MiB")
    }
    assert blocks["2 GiB"] == (256, 320, 320)
    assert blocks["1100 MiB"] == (256, 256, 256)


def test_a_given_block_is_taken() -> None:
    found = check(recipe(compute={"block": [64, 128, 192], "memory": "4 GiB"}))
    assert plan_blocks(found, FULL_FIELD, FULL_FIELD, np.dtype("uint16"), 2).grid.block == (64, 128, 192)


def test_every_step_with_passes_is_planned() -> None:
    found = {step for step, _ in passes_by_step(check(recipe()), FULL_FIELD, np.dtype("uint16"))}
    assert found == {"read", "grey", "denoise", "mask", "labels", "transfer", "sharpness", "measure"}
    plan = plan_blocks(check(recipe()), FULL_FIELD, FULL_FIELD, np.dtype("uint16"), 2)
    assert {cost.step for cost in plan.costs} == {*found, "register", "levels"}


def test_a_full_field_is_put_into_few_files(scans: Path) -> None:
    opened = Scans.of(check(recipe()), scans)
    assert opened.recipe.compute.shard is None
    few = opened.laid_out(None)
    assert few.recipe.compute.shard == (256, 256, 256)
    assert few.fingerprints == opened.fingerprints
    for workers in (1, 64, 1000):
        assert few.plan(workers).grid.block == (256, 256, 256)
    files = {each: estimate(each.recipe, each.plan(2), np.dtype("uint16"), 2).files for each in (opened, few)}
    assert files[few] < 5000 < 100_000 < files[opened]


@pytest.mark.parametrize(
    ("compute", "there", "shard"),
    [
        ({"memory": "1 GiB"}, None, None),  # for no block as large
        ({"block": [128, 128, 128]}, None, None),
        ({"block": [256, 512, 256]}, None, (256, 256, 256)),
        ({"chunk": [96, 128, 128]}, None, (192, 256, 256)),
        ({"shard": [64, 64, 128]}, None, (64, 64, 128)),
        ({}, {"shard": None}, None),
        ({}, {"shard": [128, 128, 128]}, (128, 128, 128)),
        ({"shard": [64, 64, 128]}, {"shard": None}, (64, 64, 128)),  # which the store refuses
    ],
)
def test_what_the_recipe_or_the_store_says_of_files_counts(
    scans: Path, compute: dict[str, object], there: dict[str, object] | None, shard: Triple | None
) -> None:
    compute = {"memory": "4 GiB"} | compute
    assert Scans.of(check(recipe(compute=compute)), scans).laid_out(there).recipe.compute.shard == shard
