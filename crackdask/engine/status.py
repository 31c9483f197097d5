"""What is done, what failed, what a rerun would do: read from files alone, while a run is at work or after it died."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from crackdask.analysis.findings import Finding, of_store
from crackdask.engine.checkpoints import Work
from crackdask.engine.job_note import Job, asked_for
from crackdask.engine.soundness import Damage, has_levels, look, verify
from crackdask.engine.work_units import Unit, outstanding, units
from crackdask.recipe.recipe import Recipe, RecipeError, check
from crackdask.schema import STEPS, UnitKey
from crackdask.storage.locations import Place
from crackdask.store.damage import damaged_chunk
from crackdask.store.levels import amiss
from crackdask.store.root import StoreError, attributes, has_remains, is_there, way_out


@dataclass(frozen=True)
class StepStatus:
    """How far one step is: names of states."""

    step: str
    done: tuple[str, ...]
    left: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Status:
    """How far a store is.

    Attributes
    ----------
    complete
        Whether every block of every step is done.
    running
        The process that writes the store now, or None.
    job
        The job that was last submitted to make it, or None.
    steps
        For each step the states done and left, and the seconds the done ones took.
    at_work
        Passes begun but not done: (step, state, pass, blocks done, blocks).
    failed
        Blocks that the last run set aside.
    rerun
        What a rerun would do: (step, state), in order.
    findings
        What should be known before a number is believed; of the last run that came to its end.
    damaged
        What is no longer as it was written, and what is wrong with it.
    """

    name: str
    complete: bool
    running: str | None
    job: Job | None
    steps: tuple[StepStatus, ...]
    at_work: tuple[tuple[str, str, str, int, int], ...]
    failed: tuple[dict[str, Any], ...]
    rerun: tuple[tuple[str, str], ...]
    damaged: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def status(path: Place, *, content: bool = False) -> Status:
    """Return how far a store is.

    Parameters
    ----------
    path
        The store.
    content
        Also read every chunk, and hold it against its checksum and its seal.

    Raises
    ------
    StoreError
        If there is no store, or one of a newer format.
    """
    path = path.resolve()  # a run writes where a link leads, and its records beside that
    work = Work.beside(path)
    job = asked_for(work)
    if job and not is_there(path) and not has_remains(path):
        raise StoreError(
            f"there is no store at {path} yet, but a job was asked for that makes it ({job}): the queue of the batch "
            f"system shows whether it waits, and {job.logs} what it said"
        )
    facts = attributes(path)
    try:
        recipe = check(facts["recipe"])
    except RecipeError as error:
        wrong = str(error).splitlines()[-1].strip()
        raise StoreError(f"{path}/zarr.json is damaged: its recipe is none ({wrong}); {way_out(path)}") from error
    names = [state.name for state in recipe.states]
    recorded = _of_units(facts.get("steps"), dict)
    held = work.is_held()
    found = look(path, recipe, chunks=held is None)
    standing = _standing(found, work, recipe, recorded, bool(facts.get("complete")))
    spoilt = [words for unit, words in found.spoilt.items() if unit in recorded]
    damaged = [words for words in (*found.gone.values(), *spoilt) if facts.get("complete") or words in spoilt]
    if has_levels(facts) and (words := amiss(path)):
        damaged.append(words)
    if content:
        damaged += [str(damaged_chunk(path, key, reason)) for key, reason in verify(path)]
    return Status(
        recipe.experiment.name,
        standing.complete and not damaged,
        held,
        job,
        tuple(_steps(standing, names, recorded)),
        tuple(_at_work(work, names)),
        _failed(work.noted("failed")),
        tuple((u.step, names[u.state]) for u in standing.again),
        tuple(dict.fromkeys(damaged)),
        tuple(of_store(facts)),
    )


def _of_units(noted: Any, kind: type) -> dict[UnitKey, Any]:
    """Return what was noted of units, without what is damaged: that counts as if it had not been noted."""
    found = {}
    for name, value in noted.items() if isinstance(noted, dict) else ():
        with suppress(ValueError):
            if isinstance(value, kind):
                found[UnitKey.parse(name)] = value
    return found


def _failed(noted: Any) -> tuple[dict[str, Any], ...]:
    """Return the blocks that failed, as `run` noted them; what is damaged counts as if it had not been noted."""
    whole = {"unit", "pass", "block", "start", "stop", "error"}
    return (
        tuple(each for each in noted if isinstance(each, dict) and whole <= {*each}) if isinstance(noted, list) else ()
    )


@dataclass(frozen=True)
class _Standing:
    """What of a plan is done, and what a rerun would do."""

    plan: list[Unit]
    complete: bool
    done: set[UnitKey]
    again: list[Unit]


def _standing(
    found: Damage, work: Work, recipe: Recipe, recorded: Mapping[UnitKey, Mapping[str, Any]], said_complete: bool
) -> _Standing:
    plan = units(recipe)
    results = {u.key: result for u in plan if (result := work.result(u.key))}
    # What the last run set out to make: a changed recipe may have left results of the one before.
    planned = _of_units(work.noted("planned"), str) or {key: unit.get("fingerprint") for key, unit in recorded.items()}
    lost = set(found.spoilt)
    fitting = {key for key, (fingerprint, _) in results.items() if fingerprint == planned.get(key)} - lost
    complete = said_complete and not lost and not found.gone and (len(fitting) == len(plan) or not work.has_results())
    done = {u.key for u in plan if complete or u.key in fitting}
    lying = set(work.volumes())
    there = {
        volume
        for u in plan
        for volume in u.writes
        if (u.key in fitting and volume[0] in results[u.key][1]["stored"]) or work.volume(*volume).name in lying
    }
    return _Standing(plan, complete, done, [] if complete else outstanding(plan, done, there))


def _steps(
    standing: _Standing, names: Sequence[str], recorded: Mapping[UnitKey, Mapping[str, Any]]
) -> Iterator[StepStatus]:
    for step in STEPS:
        mine = [u for u in standing.plan if u.step == step]
        done = [u for u in mine if u.key in standing.done]
        if mine:
            yield StepStatus(
                step,
                tuple(names[u.state] for u in done),
                tuple(names[u.state] for u in mine if u.key not in standing.done),
                sum(recorded.get(u.key, {}).get("seconds", 0.0) for u in done),
            )


def _at_work(work: Work, names: Sequence[str]) -> Iterator[tuple[str, str, str, int, int]]:
    for unit, pass_, records in work.passes_begun():
        done = records.done
        if done < records.blocks and records.is_open():  # closed: the unit was finished meanwhile
            yield (unit.step, names[unit.state], pass_, done, records.blocks)
