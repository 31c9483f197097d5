"""The recipe: every mistake at once, each with its key, in words that tell the way out."""

from __future__ import annotations

import json
import math
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.recipe.recipe import Recipe, RecipeError, check, load
from crackdask.recipe.site import SITE_ONLY

SMALL = """
[experiment]
name = "cell 7"
voxel_um = 0.325

[[states]]
name = "pristine"
voltage = 3
step = "pristine"
source = "scans/a"

[[states]]
name = "4.2 V"
voltage = 4.2
step = "charge"
cycle = 1
source = "scans/b"
"""
PLAIN = tomllib.loads(SMALL)


def changed(**sections: Any) -> dict[str, Any]:
    """Return a valid recipe with some sections put in."""
    return deepcopy(PLAIN) | sections


def complaints(content: dict[str, Any]) -> list[str]:
    """Return the lines of the message, without the first."""
    with pytest.raises(RecipeError) as caught:
        check(content)
    first, *lines = str(caught.value).splitlines()
    assert first == f"recipe: {len(lines)} mistake{'s' * (len(lines) > 1)}"
    return [line.strip() for line in lines]


# ---------------------------------------------------------------- what is fine


def test_defaults_suit_the_papers_data() -> None:
    recipe = check(PLAIN)
    assert recipe.experiment.voxel_um == (0.325, 0.325, 0.325)
    assert recipe.reference == 0
    assert [state.cycle for state in recipe.states] == [0, 1]
    assert (recipe.register_.transform, recipe.grey.window, recipe.grey.normalise) == ("auto", "auto", "auto")
    assert (recipe.mask.threshold, recipe.mask.max_hole, recipe.transfer.mode) == ("auto", 5000, "chain")
    assert (recipe.compute.block, recipe.compute.shard, recipe.compute.memory) == ("auto", None, 2 * 2**30)
    assert recipe.crop_of((9, 8, 7)) == ((0, 9), (0, 8), (0, 7))


def test_every_optional_section_may_be_empty() -> None:
    names = ("crop", "register", "grey", "denoise", "mask", "labels", "transfer", "measure", "analyse", "compute")
    assert check(changed(**{name: {} for name in names})) == check(PLAIN)


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        check(PLAIN).experiment.name = "other"


@pytest.mark.parametrize(
    ("said", "nbytes"),
    [
        ("2 GiB", 2**31),
        ("1.5GiB", 3 * 2**29),
        ("800 MB", 800_000_000),
        (" 512 mib ", 2**29),
        ("1 TiB", 2**40),
        ("2000000", 2_000_000),
        (2**30, 2**30),
    ],
)
def test_sizes(said: str | int, nbytes: int) -> None:
    assert check(changed(compute={"memory": said})).compute.memory == nbytes


def test_fill_may_be_nan_and_survives_json() -> None:
    content = changed()
    content["experiment"]["fill"] = math.nan
    kept = json.loads(json.dumps(check(content).as_dict()))
    found = check(kept).experiment.fill
    assert found is not None
    assert math.isnan(found)


def test_the_reference_may_be_any_state() -> None:
    assert check(changed(register={"reference": "4.2 V"})).reference == 1


edges = st.integers(1, 6)
cubes = st.one_of(edges, st.tuples(edges, edges, edges).map(list))
names = st.text(  # that can be seen: no control characters, and nothing that turns the text
    st.characters(exclude_categories=("Cc", "Cs", "Cf")), min_size=1, max_size=8
)
ranges = st.tuples(st.integers(0, 50), st.integers(1, 50)).map(lambda r: [r[0], r[0] + r[1]])


def as_cube(value: Any) -> list[int]:
    return [value] * 3 if isinstance(value, int) else value


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw valid recipes."""
    called = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    steps = st.sampled_from(["pristine", "charge", "discharge", "aged"])
    volts = st.floats(0, 5, allow_nan=False)
    chunk = draw(cubes)
    shard = [c * f for c, f in zip(as_cube(chunk), as_cube(draw(cubes)), strict=True)]
    sharded = draw(st.booleans())
    block = [u * f for u, f in zip(shard if sharded else as_cube(chunk), as_cube(draw(cubes)), strict=True)]
    content: dict[str, Any] = {
        "experiment": {
            "name": draw(names),
            "voxel_um": draw(st.one_of(st.floats(0.01, 9), st.lists(st.floats(0.01, 9), min_size=3, max_size=3))),
        },
        "states": [
            {"name": name, "voltage": draw(volts), "step": draw(steps), "source": draw(names)} for name in called
        ],
        "crop": draw(st.dictionaries(st.sampled_from("zyx"), ranges)),
        "grey": {"window": draw(st.one_of(st.just("auto"), ranges))},
        "mask": {"threshold": draw(st.one_of(st.just("otsu"), st.floats(0.5, 255)))},
        "labels": {"min_depth": draw(st.floats(0.1, 4)), "max_radius": draw(st.integers(2, 100))},
        "compute": {"chunk": chunk, "block": draw(st.one_of(st.just("auto"), st.just(block)))},
    }
    if sharded:
        content["compute"]["shard"] = shard
    if draw(st.booleans()):
        content["register"] = {"reference": draw(st.sampled_from(called)), "transform": "affine"}
    return content


@given(recipes())
def test_a_resolved_recipe_reads_back_equal(content: dict[str, Any]) -> None:
    recipe = check(content)
    kept = recipe.as_dict()
    assert check(kept) == recipe
    assert check(json.loads(json.dumps(kept))) == recipe
    assert check(kept).as_dict() == kept


# ---------------------------------------------------------------- what is wrong


def test_everything_is_said_at_once_with_its_key() -> None:
    content = changed(
        crop={"z": [5, 5], "w": 1},
        grey={"window": [300, 100]},
        labels={"max_radius": 1.5},
        compute={"memory": "lots", "chunk": [64, 64, 64], "block": [100, 64, 64]},
        regster={},
    )
    content["states"][1] |= {"voltage": "abc", "name": "pristine", "colour": "red"}
    del content["experiment"]["voxel_um"]
    assert sorted(complaints(content)) == sorted(
        [
            "experiment.voxel_um: missing",
            "states[1].voltage: should be a number, found 'abc'",
            "states[1].colour: unknown key; known here: name, source, voltage, step, cycle, missing, kind, time",
            "states[1].name: two states of the same name, 'pristine' (the other is states[0]); rename one",
            "crop.z: a crop needs first < end, not [5, 5]",
            "crop.w: unknown key; known here: z, y, x",
            "grey.window: the window needs lo < hi, not lo = 300 and hi = 100",
            "labels.max_radius: should be a whole number, found 1.5",
            "compute.memory: a size such as '2 GiB' or '800 MB', not 'lots'",
            "compute.block: block [100, 64, 64] must be a multiple of chunk [64, 64, 64]: a chunk has one writer",
            "regster: unknown key; did you mean register?",
        ]
    )


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"states": {"name": "a"}}, "states: one table for each state, headed [[states]], not {'name': 'a'}"),
        ({"states": []}, "states: there are none; wanted at least one"),
        ({"states": [3]}, "states[0]: should be a section with keys, found 3"),
        ({"crop": 3}, "crop: should be a section with keys, found 3"),
        ({"crop": {"y": [-1, 4]}}, "crop.y[0]: should be greater than or equal to 0, found -1"),
        ({"crop": {"y": [1, 2, 3]}}, "crop.y: two numbers, [first, end], not [1, 2, 3]"),
        ({"grey": {"window": "aut"}}, "grey.window: should be 'auto' or two numbers, [lo, hi], found 'aut'"),
        ({"grey": {"window": [1, "x"]}}, "grey.window[1]: should be a number, found 'x'"),
        ({"grey": {"window": [1, math.inf]}}, "grey.window[1]: should be a finite number, found inf"),
        ({"grey": {"window": [7, 7]}}, "grey.window: the window needs lo < hi, not lo = 7 and hi = 7"),
        (
            {"mask": {"threshold": "ots"}},
            "mask.threshold: should be a number or 'auto', 'otsu', 'li', 'triangle' or 'multiotsu', found 'ots'",
        ),
        ({"mask": {"phase": "Bright"}}, "mask.phase: should be 'bright' or 'dark', found 'Bright'"),
        ({"denoise": {"patch_size": 4}}, "denoise.patch_size: a patch is centred, so its size is odd: 3 or 5, not 4"),
        ({"register": {"reference": "5"}}, "register.reference: no state is named '5'; there are 'pristine', '4.2 V'"),
        ({"measure": {"rim": 3}}, "measure.rim: unknown key; known here: none"),
        ({"compute": {"memory": "1 KB"}}, "compute.memory: at least 1 MiB, not 1000 bytes"),
        ({"compute": {"memory": "1..5 GB"}}, "compute.memory: a size such as '2 GiB' or '800 MB', not '1..5 GB'"),
        ({"compute": {"memory": True}}, "compute.memory: should be a whole number, found True"),
        ({"compute": {"chunk": [64, 64]}}, "compute.chunk: one number or three, [z, y, x], not [64, 64]"),
        ({"compute": {"chunk": 64.0}}, "compute.chunk[0]: should be a whole number, found 64.0"),
        ({"compute": {"block": "b"}}, "compute.block: should be 'auto' or one number or three, [z, y, x], found 'b'"),
        (
            {"compute": {"chunk": 16, "shard": 40}},
            "compute.shard: shard [40, 40, 40] must be a multiple of chunk [16, 16, 16]",
        ),
        (
            {"compute": {"chunk": 16, "shard": 32, "block": 48}},
            "compute.block: block [48, 48, 48] must be a multiple of shard [32, 32, 32]: a shard has one writer",
        ),
        ({"compute": {"keep_intermediate": 1}}, "compute.keep_intermediate: should be true or false, found 1"),
    ],
)  # fmt: skip
def test_one_mistake(sections: dict[str, Any], said: str) -> None:
    assert said in complaints(changed(**sections))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("voltage", math.nan, "states[0].voltage: should be a finite number, found nan"),
        ("voltage", True, "states[0].voltage: should be a number, found True"),
        ("cycle", -1, "states[0].cycle: should be greater than or equal to 0, found -1"),
        ("name", "", "states[0].name: should not be empty, found ''"),
        ("source", 7, "states[0].source: should be text in quotes, found 7"),
        ("step", "chrge", "states[0].step: should be 'pristine', 'charge', 'discharge' or 'aged', found 'chrge'"),
    ],
)
def test_a_mistake_in_a_state(key: str, value: Any, said: str) -> None:
    content = changed()
    content["states"][0][key] = value
    assert complaints(content) == [said]


@pytest.mark.parametrize("value", ["abc", [1, 2], True, None])
def test_voxel_size_of_another_kind(value: Any) -> None:
    content = changed()
    content["experiment"]["voxel_um"] = value
    assert complaints(content) == [f"experiment.voxel_um: one number or three, [z, y, x], not {value!r}"]


@pytest.mark.parametrize("value", [0, -0.3, math.nan, math.inf])
def test_impossible_voxel_sizes(value: float) -> None:
    content = changed()
    content["experiment"]["voxel_um"] = value
    assert complaints(content)
    assert all(line.startswith("experiment.voxel_um[") for line in complaints(content))


def test_three_states_of_one_name_are_two_mistakes() -> None:
    content = changed()
    content["states"] = [content["states"][0]] * 3
    assert len(complaints(content)) == 2


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=5))  # fmt: skip
def test_nothing_but_a_recipe_error_comes_of_nonsense(value: Any) -> None:
    for section in (*PLAIN, "crop", "register", "grey", "denoise", "mask", "labels", "compute", "foo"):
        try:
            found = check(changed(**{section: value}))
        except RecipeError as error:
            assert section in str(error)  # noqa: PT017
        else:
            assert isinstance(found, Recipe)


def test_crop_outside_the_volume() -> None:
    with pytest.raises(RecipeError, match=r"crop\.y: \[10, 90\] reaches outside .* 80 voxels along y; end .* at 80"):
        check(changed(crop={"y": [10, 90]})).crop_of((99, 80, 99))


# ---------------------------------------------------------------- files


def test_a_recipe_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(SMALL)
    assert load(path) == check(PLAIN)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load(path) == check(PLAIN)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[experiment]\nname = "a\n', r"recipe\.toml is not valid TOML: .*line 2"),
        (b"[a]\n[a]\n", r"recipe\.toml is not valid TOML: .*line 2"),
        (b"\xff\xfe\x00", r"recipe\.toml cannot be read: it is not UTF-8 text"),
        (b"", r"recipe\.toml: 2 mistakes\n  experiment: missing\n  states: missing"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        load(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no recipe .*nowhere\.toml; `crackdask init SCAN"):
        load(tmp_path / "nowhere.toml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a folder; name the recipe in it"):
        load(tmp_path)


@pytest.mark.parametrize("key", SITE_ONLY)
def test_what_runs_commands_or_opens_doors_stands_in_no_recipe(key: str) -> None:
    (said,) = complaints(changed(cluster={key: "touch here"}))
    assert said.startswith(f"cluster.{key}: stands in a file of your own (--cluster-config), never in a recipe")


def test_a_command_for_each_state_is_such_a_key() -> None:
    assert "on_state" in SITE_ONLY
