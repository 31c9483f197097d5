"""What decides a result, and chains from unit to unit: the scan and the sections of steps, not how work is cut."""

from __future__ import annotations

import pytest

from crackdask.engine.fingerprints import fingerprints
from crackdask.engine.work_units import units
from crackdask.recipe.recipe import check
from crackdask.schema import STEPS
from tests.support.planned import recipe

SHAPE = (60, 70, 80)


def prints(found, sources=None, shape=SHAPE):
    by_unit = fingerprints(found, sources or [f"scan {i}" for i in range(len(found.states))], shape)
    return {str(key): fingerprint for key, fingerprint in by_unit.items()}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def followers(plan, names):
    """Return units and everything that needs them, directly or not."""
    found = set(names)
    for unit in plan:
        if found.intersection(map(str, unit.needs)):
            found.add(unit.name)
    return found


@pytest.mark.parametrize(
    ("section", "change", "first"),
    [
        ("register", {"transform": "affine"}, "register"),
        ("grey", {"interpolation": "linear"}, "grey"),
        ("grey", {"match_sharpness": "none"}, "measure"),
        ("denoise", {"patch_size": 5}, "denoise"),
        ("mask", {"max_hole": 7}, "mask"),
        ("transfer", {"seed_depth": 0.25}, "transfer"),
    ],
)
def test_a_section_decides_its_step_and_what_follows(section, change, first):
    before, after = recipe(4, 1), recipe(4, 1, **{section: change})
    assert before != after
    plan = units(after)
    own = {unit.name for unit in plan if unit.step == first}
    assert changed(prints(before), prints(after)) == followers(plan, own)


def test_labels_decide_the_transfer_too():
    plan = units(recipe(4, 1))
    found = changed(prints(recipe(4, 1)), prints(recipe(4, 1, labels={"smoothing": 0.5})))
    assert (
        found == followers(plan, {"labels-1"}) == {u.name for u in plan if STEPS.index(u.step) >= STEPS.index("labels")}
    )


@pytest.mark.parametrize(
    "change",
    [
        {"block": [64, 64, 64]},
        {"chunk": [32, 32, 32]},
        {"shard": [128, 128, 128]},
        {"memory": "1 GiB"},
        {"compression": "lz4"},
        {"retries": 0},
        {"keep_intermediate": True},
    ],
)
def test_how_the_work_is_cut_decides_nothing(change):
    assert prints(recipe(compute=change)) == prints(recipe())


def test_another_scan_is_followed_where_it_is_used():
    plan = units(recipe(4, 1))
    before = prints(recipe(4, 1))
    after = prints(recipe(4, 1), ["scan 0", "scan 1", "scan 2", "another"])
    found = changed(before, after)
    assert found == followers(plan, {"read-3"})
    assert {"measure-3", "track-1"} <= found
    assert not {"grey-2", "labels-1", "transfer-2"} & found
    everything = changed(before, prints(recipe(4, 1), ["scan 0", "another", "scan 2", "scan 3"]))
    assert everything == set(before) - {"read-0", "read-2", "read-3"}


def test_facts_of_the_experiment():
    before = prints(recipe())
    assert changed(before, prints(recipe(experiment={"fill": 0.0}))) == set(before)
    assert changed(before, prints(recipe(crop={"z": [0, 50]}))) == set(before)
    wider = changed(before, prints(recipe(experiment={"voxel_um": 0.6})))
    assert {name for name in before if name.startswith(("labels", "transfer", "measure", "track"))} <= wider
    assert not {"read-0", "read-1", "read-2"} & wider
    content = recipe().as_dict() | {"states": [s | {"voltage": 4.2} for s in recipe().as_dict()["states"]]}
    assert changed(before, prints(check(content))) == {"track-0"}


#: What decides the results of a recipe that says no more than it must, by unit: the first digits of its fingerprint.
#: Whoever changes one has everybody's finished stores done again from there on.
PINNED = {
    "read-0": "8dd9838a1712",
    "register-0": "e8fb1dcf6172",
    "grey-0": "54bf9ee64bb8",
    "read-1": "a4f230712fc5",
    "register-1": "1906a53bee6f",
    "grey-1": "313d108f4598",
    "denoise-0": "ac84a379a424",
    "mask-0": "c7f82833185c",
    "labels-0": "72fa31327ae8",
    "sharpness-0": "2219a3010033",
    "levels-0": "7773615cbe06",
    "denoise-1": "9a9d7b13a25a",
    "mask-1": "b7ffb039c43e",
    "transfer-1": "ed757556049d",
    "sharpness-1": "0bc91b765024",
    "levels-1": "ad0fd004932e",
    "measure-0": "6d9332bcbc09",
    "measure-1": "b2fa1349ce89",
    "track-0": "66da149b5dd7",
}


def test_a_fingerprint_is_the_same_tomorrow():
    found = prints(recipe(2))
    assert {unit: fingerprint[:12] for unit, fingerprint in found.items()} == PINNED
    assert len(set(found.values())) == len(units(recipe(2)))
