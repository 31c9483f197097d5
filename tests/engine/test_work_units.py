"""What a run consists of: its units, their order, and what is left to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.engine.work_units import (
    Unit,
    dependent,
    labelled_by,
    outstanding,
    predecessor,
    ready,
    states_in_order,
    units,
)
from crackdask.recipe.recipe import Recipe
from crackdask.schema import LEVELS, STEPS, TOMOGRAMS, UnitKey
from crackdask.schema import VOLUMES as STORE_VOLUMES
from crackdask.steps.declaration import LABELLING
from crackdask.steps.registry import GROUPS, KEPT_ON_REQUEST, REGISTRY, STORED, VOLUMES
from tests.support.planned import recipe


def all_volumes(plan):
    return {key for unit in plan for key in unit.writes}


def kept_after_a_run(plan):
    """Return the volumes that lie on the disk when a run is done."""
    return {key for key in all_volumes(plan) if key[0] in STORED}


# ---------------------------------------------------------------- names of units


@given(st.sampled_from([*STEPS, "cracks", "paint damage_change", "a-b"]), st.integers(0, 999))
def test_the_name_of_a_unit_tells_the_unit(step, state):
    key = UnitKey(step, state)
    assert str(key) == Unit(key).name == f"{step}-{state}"
    assert UnitKey.parse(str(key)) == key


@pytest.mark.parametrize("name", ["", "mask", "mask-", "-1", "mask-one", "mask-1.partial", "mask-²"])
def test_what_names_no_unit(name):
    with pytest.raises(ValueError, match="names no unit"):
        UnitKey.parse(name)


# ---------------------------------------------------------------- what the steps declare


def test_every_step_declares_itself_under_its_name():
    assert tuple(REGISTRY) == STEPS
    assert [step.name for step in REGISTRY.values()] == list(STEPS)
    assert [step.stage.value for step in REGISTRY.values()] == sorted(step.stage.value for step in REGISTRY.values())


def test_the_recipe_has_the_sections_that_the_steps_declare():
    declared = {step.name: step.parameters for step in REGISTRY.values() if step.parameters}
    fields = {field.alias or name: field.annotation for name, field in Recipe.model_fields.items()}
    for name in ("reconstruct", "electrochemistry"):
        assert fields[name] == declared[name] | None, "only asked for by its section"
        fields[name] = declared[name]
    assert {name: kind for name, kind in fields.items() if name in STEPS} == declared
    assert recipe().sections().keys() == declared.keys()
    read = {section.partition(".")[::2] for step in REGISTRY.values() for section in step.sections}
    assert all(section in declared and (not key or key in declared[section].model_fields) for section, key in read)


def test_what_is_read_was_declared_by_a_step_before():
    declared: dict[str, Any] = {}
    order = list(REGISTRY.values())
    for step in order:
        assert all(name in declared for name, _ in step.reads), step.name
        assert all(name in {LABELLING, *STEPS[: order.index(step) + 1]} for name, _ in step.needs)
        assert not set(step.internal) & {name for name, _ in step.reads}
        for name, volume in {**step.internal, **step.writes}.items():
            assert declared.setdefault(name, volume) == volume, f"{name} is declared twice, in two ways"
    assert declared == VOLUMES
    assert {name: VOLUMES[name].dtype for name in (*STORED, *KEPT_ON_REQUEST) if name not in (LEVELS, TOMOGRAMS)} == {
        name: variable.dtype for name, variable in STORE_VOLUMES.items()
    }
    assert GROUPS == ("particles", "shells", "histograms", "contacts", "transforms")


def test_the_unit_that_labels_a_state():
    assert [str(labelled_by(state, 1)) for state in range(3)] == ["transfer-0", "labels-1", "transfer-2"]
    for state in range(3):
        writers = [unit.key for unit in units(recipe(3, 1)) if ("label", state) in unit.writes]
        assert writers == [labelled_by(state, 1)]


# ---------------------------------------------------------------- order


@pytest.mark.parametrize("states", [1, 2, 5])
@pytest.mark.parametrize("reference", [0, 1, 4])
@pytest.mark.parametrize("mode", ["chain", "reference"])
@pytest.mark.parametrize("transform", ["rigid", "none"])
def test_everything_is_there_before_it_is_used(states, reference, mode, transform):
    reference = min(reference, states - 1)
    plan = units(recipe(states, reference, transfer={"mode": mode}, register={"transform": transform}))
    names: set[str] = set()
    written: set[tuple[str, int]] = set()
    for unit in plan:
        assert unit.name not in names
        assert names.issuperset(map(str, unit.needs)), unit
        assert written.issuperset(unit.reads), unit
        assert not written.intersection(unit.writes)
        names.add(unit.name)
        written.update(unit.writes)
    per_state = {step: sum(unit.step == step for unit in plan) for step in STEPS}
    assert per_state == dict.fromkeys(STEPS, states) | {
        "reconstruct": 0,
        "tomograms": 0,
        "electrochemistry": 0,
        "labels": 1,
        "transfer": states - 1,
        "track": 1,
    }


@given(st.data())
def test_units_at_work_together_neither_wait_for_each_other_nor_fill_the_disk(data):
    states = data.draw(st.integers(1, 5))
    plan = units(recipe(states, data.draw(st.integers(0, states - 1))))
    readers = {key: {unit.name for unit in plan if key in unit.reads} for unit in plan for key in unit.writes}
    lanes, left = data.draw(st.integers(1, 3)), list(plan)
    at_work: list[Unit] = []
    lying: set[tuple[str, int]] = set()
    while left:
        undone = {unit.key for unit in left}
        begun = ready(left, {unit.key for unit in at_work})[: lanes - len(at_work)]
        for unit in begun:
            assert undone.isdisjoint(unit.needs), unit
            assert lying.issuperset(unit.reads), unit
        at_work += begun
        lying.update(key for unit in begun for key in unit.writes)
        scans_are_left = any(unit.step in ("read", "register", "grey") for unit in left)
        assert len({state for name, state in lying if name == "raw"}) <= 3
        assert len({state for name, state in lying if name in ("denoised", "mask")}) <= (1 if scans_are_left else 2)
        ended = data.draw(st.sampled_from(at_work))
        at_work.remove(ended)
        left.remove(ended)
        lying -= {key for key in lying if readers[key] and readers[key].isdisjoint(unit.name for unit in left)}


def test_a_state_is_carried_on_while_others_are_registered():
    left, at_work = list(units(recipe(4))), {UnitKey("register", 1), UnitKey("read", 2)}
    left = [unit for unit in left if unit.name not in ("read-0", "register-0", "grey-0", "read-1")]
    assert [unit.name for unit in ready(left, at_work)] == ["denoise-0"]
    assert not ready(left, at_work | {UnitKey("denoise", 0)})  # more would only take more disk
    assert [unit.name for unit in ready(left, {UnitKey("denoise", 0), UnitKey("register", 1)})] == ["read-2"]


def test_what_depends_on_a_failed_unit_is_left():
    plan = units(recipe(3))
    failed = next(unit for unit in plan if unit.name == "mask-1")
    assert [unit.name for unit in dependent(failed, plan)] == [
        "transfer-1",
        "sharpness-1",
        "levels-1",
        "transfer-2",
        "sharpness-2",
        "levels-2",
        *(f"measure-{state}" for state in range(3)),
        "track-0",
    ]


def test_labels_go_outward_from_a_reference_in_the_middle():
    assert states_in_order(5, 2) == [2, 3, 4, 1, 0]
    assert [predecessor(s, 2) for s in (3, 4, 1, 0)] == [2, 3, 2, 1]
    by_name = {unit.name: unit for unit in units(recipe(5, 2))}
    assert by_name["labels-2"].reads == (("mask", 2),)
    for state, source in ((3, 2), (4, 3), (1, 2), (0, 1)):
        unit = by_name[f"transfer-{state}"]
        assert unit.reads == (("mask", state), ("label", source), ("depth", source))
        assert f"{'labels' if source == 2 else 'transfer'}-{source}" in map(str, unit.needs)
    from_reference = {unit.name: unit for unit in units(recipe(5, 2, transfer={"mode": "reference"}))}
    assert all(("label", 2) in from_reference[f"transfer-{s}"].reads for s in (0, 1, 3, 4))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_state_comes_once_and_after_its_predecessor(count):
    for reference in range(count):
        order = states_in_order(count, reference)
        assert sorted(order) == list(range(count))
        for place, state in enumerate(order[1:], start=1):
            assert predecessor(state, reference) in order[:place]


def test_at_most_two_raw_scans_lie_on_the_disk():
    plan = units(recipe(6, 2))
    for place in range(len(plan)):
        made = {key for unit in plan[: place + 1] for key in unit.writes if key[0] == "raw"}
        awaited = {key for unit in plan[place:] for key in unit.reads}
        assert len(made & awaited) <= 2


# ---------------------------------------------------------------- what is left to do


def test_all_is_done_then_nothing():
    plan = units(recipe())
    assert outstanding(plan, set(), set()) == plan
    done = {unit.key for unit in plan}
    assert outstanding(plan, done, kept_after_a_run(plan)) == []
    assert outstanding(plan, done, all_volumes(plan)) == []


def test_a_run_that_was_stopped_goes_on():
    plan = units(recipe())
    for place in range(len(plan)):
        done = {unit.key for unit in plan[:place]}
        there = {key for unit in plan[:place] for key in unit.writes}
        assert outstanding(plan, done, there) == plan[place:]


def test_dropped_intermediates_are_made_again_only_for_those_who_read_them():
    plan = units(recipe(3))
    there = kept_after_a_run(plan)

    def again(*undone):
        return [u.name for u in outstanding(plan, {u.key for u in plan if u.name not in undone}, there)]

    # grey and label are stored, the measured tables on their way are gone.
    assert again("track-0") == ["measure-0", "measure-1", "measure-2", "track-0"]
    assert again("measure-1") == ["measure-1"]
    assert again("mask-2") == ["denoise-2", "mask-2"]
    assert again("grey-1") == ["read-0", "read-1", "grey-1"]  # it compares places of both scans
    assert again("register-1") == ["read-0", "read-1", "register-1"]
    # The depth of the states before is gone: the chain back to the reference is done again.
    assert again("transfer-2") == [
        f"{step}-{state}"
        for state, last in enumerate(("labels", "transfer", "transfer"))
        for step in ("denoise", "mask", last)
    ]


def test_until_does_nothing_beyond():
    plan = units(recipe(3))
    assert outstanding(plan, set(), set(), until="track") == plan
    for until in STEPS:
        todo = outstanding(plan, set(), set(), until=until)
        assert todo == [u for u in plan if STEPS.index(u.step) <= STEPS.index(until)]
    done = {u.key for u in plan if STEPS.index(u.step) <= STEPS.index("grey")}
    there = {("grey", s) for s in range(3)}
    assert outstanding(plan, done, there, until="grey") == []
    assert [u.step for u in outstanding(plan, done, there, until="denoise")] == ["denoise"] * 3


def test_volumes_that_are_wanted_for_themselves():
    plan = units(recipe(2))
    done = {unit.key for unit in plan}
    there = kept_after_a_run(plan)
    kept = {key for key in all_volumes(plan) if key[0] in KEPT_ON_REQUEST}
    names = [unit.name for unit in outstanding(plan, done, there, kept=kept)]
    assert names == ["denoise-0", "mask-0", "denoise-1", "mask-1"]
    assert outstanding(plan, done, there | kept, kept=kept) == []
    names = [unit.name for unit in outstanding(plan, done, there, until="denoise", kept=kept)]
    assert names == ["denoise-0", "denoise-1"]
    lost = there - {("label", 1)}
    assert [u.name for u in outstanding(plan, done, lost, kept=lost)] == []
    assert "transfer-1" in [u.name for u in outstanding(plan, done, lost, kept=there)]
