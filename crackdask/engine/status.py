"""What is done, what failed, what a rerun would do: read from files alone, while a run is at work or after it died."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from crackdask.engine.checkpoints import Records, Work
from crackdask.engine.job_note import Job, asked_for
from crackdask.engine.table_writer import spoilt
from crackdask.engine.work_units import outstanding, units
from crackdask.recipe.recipe import check
from crackdask.schema import STEPS
from crackdask.storage.locations import Place
from crackdask.storage.locations import names as listed
from crackdask.store.root import StoreError, attributes, is_there


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
    """

    name: str
    complete: bool
    running: str | None
    job: Job | None
    steps: tuple[StepStatus, ...]
    at_work: tuple[tuple[str, str, str, int, int], ...]
    failed: tuple[dict[str, Any], ...]
    rerun: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def status(path: Place) -> Status:
    """Return how far a store is.

    Raises
    ------
    StoreError
        If there is no store, or one of a newer format.
    """
    path = path.resolve()  # a run writes where a link leads, and its records beside that
    work = Work.beside(path)
    job = asked_for(work)
    if job and not is_there(path):
        raise StoreError(
            f"there is no store at {path} yet, but a job was asked for that makes it ({job}): the queue of the batch "
            f"system shows whether it waits, and {job.logs} what it said"
        )
    facts = attributes(path)
    recipe = check(facts["recipe"])
    plan = units(recipe)
    names = [state.name for state in recipe.states]
    recorded = facts.get("steps", {})
    results = {u.name: found for u in plan if (found := work.result(u.name))}
    # What the last run set out to make: a changed recipe may have left results of the one before.
    planned = work.noted("planned") or {name: step.get("fingerprint") for name, step in recorded.items()}
    lost = spoilt(path, recipe)
    fitting = {name for name, found in results.items() if found[0] == planned.get(name)} - lost
    complete = bool(facts.get("complete")) and not lost and (len(fitting) == len(plan) or not work.has_results())
    done = {u.name for u in plan if complete or u.name in fitting}
    lying = set(work.volumes())
    there = {
        key
        for u in plan
        for key in u.writes
        if (u.name in fitting and key[0] in results[u.name][1]["stored"]) or work.volume(*key).name in lying
    }
    again = [] if complete else outstanding(plan, done, there)
    steps = tuple(
        StepStatus(
            step,
            tuple(names[u.state] for u in plan if u.step == step and u.name in done),
            tuple(names[u.state] for u in plan if u.step == step and u.name not in done),
            sum(recorded.get(u.name, {}).get("seconds", 0.0) for u in plan if u.step == step and u.name in done),
        )
        for step in STEPS
        if any(u.step == step for u in plan)
    )
    return Status(
        recipe.experiment.name,
        complete,
        work.is_held(),
        job,
        steps,
        tuple(_at_work(work, names)),
        tuple(work.noted("failed") or ()),
        tuple((u.step, names[u.state]) for u in again),
    )


def _at_work(work: Work, names: list[str]) -> list[tuple[str, str, str, int, int]]:
    found, blocks = [], work.folder / "blocks"
    for folder in (blocks / unit / step for unit in sorted(listed(blocks)) for step in sorted(listed(blocks / unit))):
        step, state = folder.parent.name.split("-")
        name, _, count = folder.name.rsplit("-", 2)
        records = sum(not record.startswith(".") for record in listed(folder))
        if records < int(count) and Records(folder, int(count)).is_open():  # closed: the unit was finished meanwhile
            found.append((step, names[int(state)], name, records, int(count)))
    return found
