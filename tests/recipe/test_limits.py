"""Any number in a recipe or a site file is taken or refused with its key: none ends in a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from crackdask.engine.block_plan import estimate
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import Recipe, RecipeError, check, load_site
from crackdask.recipe.site import ClusterParams, Site
from tests.support.tiny import Tiny, crackdask

#: Numbers that TOML can hold and no experiment does.
STRANGE: tuple[float, ...] = (
    0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**70, -(2**70), 10**400, 0.0, -0.5, 0.5, 5e-324, 1e-200, 1e200, 1e303, -1e303,
    1.7976931348623157e308, math.nan, math.inf, -math.inf,
)  # fmt: skip
#: Keys that take any number: a raw value may be anything that voxels can be.
ANY = ("fill", "window")


def numbers(kind: Any) -> Iterator[Any]:
    """Yield a way to put a number into each place of a type that may hold one."""
    if kind in (int, float):
        yield lambda number: number
    elif get_origin(kind) is tuple:
        inner = [part for part in get_args(kind) if part is not Ellipsis]
        for put in {len(inner): next(numbers(inner[0]), None)}.values():
            if put is not None:
                yield lambda number: [number] * len(inner)
                yield lambda number: [0, number, 1][: max(2, len(inner))]
    else:
        for part in get_args(kind):
            yield from numbers(part)


def fields(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every key of a model that may hold a number, and how to put one there."""
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        here = (*path, field.alias or name)
        tables = get_args(kind) if get_origin(kind) is tuple else (kind,)
        inner = next((t for t in tables if isinstance(t, type) and issubclass(t, BaseModel)), None)
        if inner is not None:
            yield from fields(inner, here)
        else:
            yield from ((here, put) for put in numbers(kind))


PLACES = list(fields(Recipe))
IN_SITE = list(fields(Site))


def test_the_walk_finds_the_numbers() -> None:
    found = {".".join(path) for path, _ in PLACES}
    assert len(found) > 50
    assert {
        "states.cycle", "states.voltage", "experiment.voxel_um", "experiment.fill", "compute.chunk", "compute.memory",
        "denoise.sigma", "crop.z", "cluster.workers", "cluster.walltime", "analyse.class_limits", "grey.window",
    } <= found  # fmt: skip


def cropped(content: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check(content).crop_of(shape)


def planned(scans: Scans) -> None:
    estimate(scans.recipe, scans.plan(2), scans.sources[0].dtype, 2)


def complaint(call: Callable[..., Any], *about: Any) -> str:
    """Return what a recipe is refused with, or nothing."""
    try:
        call(*about)
    except RecipeError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Scans]:
    tiny = Tiny(tmp_path_factory.mktemp("limits"))
    return tiny.content, Scans.of(check(tiny.content), tiny.folder)


@pytest.mark.parametrize(("path", "put"), PLACES, ids=[".".join(path) for path, _ in PLACES])
def test_a_strange_number_in_a_recipe_is_taken_or_refused(
    path: tuple[str, ...], put: Any, scans: tuple[dict[str, Any], Scans]
) -> None:
    section, key = path[-2:]
    for number in STRANGE:
        content = deepcopy(scans[0])
        table = content["states"][0] if section == "states" else content.setdefault(section, {})
        table[key] = put(number)
        if words := complaint(cropped, content, scans[1].shape):
            assert section in words, number
            assert key in words, number
            assert len(words) < 2000, number
            continue
        recipe = check(content)
        assert abs(number) < 2e12 or key in ANY, number
        opened = Scans(recipe, scans[1].sources, scans[1].crop)
        words = complaint(planned, opened)
        assert not words or "compute" in words, number
        assert opened.fingerprints
        json.dumps(recipe.as_dict())


@pytest.mark.parametrize(("path", "put"), IN_SITE, ids=[".".join(path) for path, _ in IN_SITE])
def test_a_strange_number_in_a_site_file_is_taken_or_refused(path: tuple[str, ...], put: Any, tmp_path: Path) -> None:
    for number in STRANGE:
        file = tmp_path / "site.toml"
        file.write_text(f"{path[-1]} = {put(number)}\n")
        if words := complaint(load_site, file, ClusterParams()):
            assert path[-1] in words, number
        else:
            assert abs(number) < 2**51


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("states", "cycle", 2**63), ("compute", "chunk", 2**70), ("experiment", "voxel_um", 1e200),
        ("experiment", "voxel_um", 1e-200), ("experiment", "voxel_um", [0.0001, 1.0, 1.0]),
        ("compute", "shard", 2**70), ("compute", "memory", 2**80),
        ("denoise", "median_size", 2**40 + 1), ("cluster", "walltime", 2**70),
    ],
)  # fmt: skip
def test_what_no_experiment_has_is_told_by_check(tiny: Tiny, section: str, key: str, value: Any) -> None:
    if section == "states":
        tiny.content["states"][0][key] = value
    else:
        tiny.change(section, **{key: value})
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    assert key in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested"),
        ("a = " + "{a = " * 5000 + "1" + "}" * 5000, "nested"),
        ("a = " + "9" * 5000, "not valid TOML"),
        ("[a]\n" + "b." * 5000 + "c = 1", ""),
        ("experiment = " + "[" * 200 + "]" * 200, "experiment"),
        ("experiment = " + "[" * 470 + "]" * 470, ""),
    ],
    ids=["lists", "tables", "digits", "keys", "shallow", "deeper"],
)
def test_toml_that_is_too_much_is_told_in_a_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    for command in (("check", tmp_path / "recipe.toml"), ("run", tmp_path / "recipe.toml", "--store", "x.zarr")):
        said = crackdask(*command)
        assert said.code == 2
        assert "recipe.toml" in said.err
        assert words in said.err
        assert len(said.err) < 3000
