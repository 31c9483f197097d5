"""A run that waits for scans: whenever one more state is there, the store grows by it, and the report follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich.markup import escape

from crackdask.cli.common import beside, notice, out
from crackdask.cli.endings import ending_in_order
from crackdask.cli.options import WatchOptions
from crackdask.engine.arrivals import Arrivals, CyclerArrival
from crackdask.engine.scans import Scans, ScansError
from crackdask.engine.state_hook import StateHook
from crackdask.recipe.first_states import first_states
from crackdask.recipe.recipe import Recipe
from crackdask.storage.locations import Place, UnreachableError
from crackdask.store.root import StoreError, attributes

#: Seconds for which nothing of a scan must have changed, where the user does not say.
SETTLE = 30.0
#: Looks at the scans while one settles, and seconds between them at most.
_LOOKS, _MOST_SECONDS = 5, 10.0
#: Seconds in which the last commands of the user's may come to their end.
PATIENCE = 60.0


def watched(
    recipe: Recipe,
    base: Path,
    store: Place,
    options: WatchOptions,
    hook: StateHook,
    run: Callable[[Scans], bool],
) -> bool:
    """Run the first states of a recipe as their scans come, and tell whether anything was done.

    Parameters
    ----------
    recipe, base
        The recipe with all its states, and the folder that its paths start from.
    store
        The store, which need not exist yet.
    options
        How long a scan settles, and which state is the last.
    hook
        Is told which states are finished.
    run
        Brings the store to the states of some scans, and tells whether anything was done.
    """
    names = [state.name for state in recipe.states]
    settle = SETTLE if options.settle is None else options.settle
    known = _states_of(store, names)
    last = max(known, names.index(options.until_state) + 1 if options.until_state else len(names))
    arrivals, cycler = Arrivals(recipe, base, settle, known), CyclerArrival(recipe, base)
    done, was_done, lacks, gone = 0, False, None, set[str]()
    out.print(
        f"watching for {last} scans; one counts as there when it is whole and still for {settle:g} s (Ctrl-C ends)"
    )
    with ending_in_order():
        while True:
            for words in arrivals.look():
                out.print(escape(f"{datetime.now():%H:%M:%S} {words}"))
            hook.look()
            # What lies there at the start is taken at once; then each state is told of before the next one is begun.
            ready = min(arrivals.there, last, max(done + 1, known) if done else last)
            grew = ready > max(done, recipe.reference) and ready >= known
            why = cycler.missing() if grew or lacks else None
            if why and why != lacks:
                out.print(escape(f"{datetime.now():%H:%M:%S} taking states without the cell's record for now: {why}"))
            if not grew and (not lacks or why):
                if done == last:
                    break
                time.sleep(min(settle / _LOOKS, _MOST_SECONDS))
                continue
            scans = _opened(_of_what_is_there(recipe, ready, why), base, gone)
            if scans is None:
                arrivals.again()
                time.sleep(min(settle / _LOOKS, _MOST_SECONDS))
                continue
            lacks = why
            was_done |= run(scans)
            done = ready
            page = _report(store)
            hook.finished(names[:done], {"CRACKDASK_REPORT": str(page or "")})
    if lacks:
        notice(f"the store lacks the cell's record: {lacks}; run again when it is there")
    return was_done


def _opened(recipe: Recipe, base: Path, told: set[str]) -> Scans | None:
    """Return the scans of a recipe; None where one was there and cannot be opened now, and why if it was not told."""
    try:
        return Scans.of(recipe, base)
    except (ScansError, UnreachableError, OSError) as error:
        if isinstance(error, ScansError) and not error.unusable:
            raise
        if str(error) not in told:
            told.add(str(error))
            out.print(escape(f"{datetime.now():%H:%M:%S} waiting again: {error}"))
        return None


def _of_what_is_there(recipe: Recipe, states: int, lacks: str | None) -> Recipe:
    """Return the recipe of the first states, without the cell's record where that cannot be read yet."""
    first = first_states(recipe, states)
    return first.model_copy(update={"electrochemistry": None}) if lacks else first


def there_now(recipe: Recipe, base: Path, *, watch: bool) -> Scans | None:
    """Return the scans of a recipe; of one that will be watched those that are there already, if there are enough."""
    if not watch:
        return Scans.of(recipe, base)
    arrivals = Arrivals(recipe, base, 0.0)
    arrivals.look()
    if arrivals.there <= recipe.reference:
        return None
    return Scans.of(_of_what_is_there(recipe, arrivals.there, CyclerArrival(recipe, base).missing()), base)


def _states_of(store: Place, names: list[str]) -> int:
    """Return how many states a store has; none if it is not there, or of another experiment, which a run will tell."""
    try:
        there = attributes(store.resolve()).get("identity", {}).get("states")
    except StoreError:
        return 0
    return len(there) if isinstance(there, list) and there == names[: len(there)] else 0


def _report(store: Place) -> Path | None:
    """Write the report where `crackdask report` does; that it cannot be written does not end the run."""
    from crackdask.report.page import report  # loads matplotlib: not before there is something to draw

    try:
        page = report(store, beside(store, "report")).page
    except Exception as error:  # whatever it is, the scans that come must be processed
        notice(f"the report could not be written: {error}")
        return None
    out.print(escape(f"{datetime.now():%H:%M:%S} {page}"))
    return page
