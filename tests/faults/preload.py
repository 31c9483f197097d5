"""What every worker of the fault suite loads first, through dask's own `worker.preload`: it is no part of the package.

It notes each block that begins and ends, with the process that does it, and does to chosen blocks what is asked of it.
What is asked lies in a JSON file that CRACKDASK_FAULTS names and that may change while the workers run. The last step,
which the run does itself, is noted and hurt alike, in a run that is started by this file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from crackdask.engine import pass_runner as engine
from crackdask.engine import step_runners
from crackdask.engine.context import RunContext
from crackdask.engine.pass_runner import BlockJob
from crackdask.engine.progress import BlockReport
from crackdask.engine.work_units import Unit


def dask_setup(worker: Any) -> None:
    """Stand between the worker and its blocks."""
    sound = engine.run_block

    def watched(job: BlockJob) -> BlockReport:
        asked = _asked()
        block = f"{job.records.folder.parent.name} {job.pass_.name} {job.number}"
        begun = False

        def kernel(own: Any) -> Any:
            nonlocal begun
            begun = True
            _note(asked["log"], "begin", block)
            time.sleep(asked["pause"])
            _hurt(asked, block)
            return job.pass_.kernel(own)

        try:
            report = sound(replace(job, pass_=replace(job.pass_, kernel=kernel)))
        except BaseException:
            _note(asked["log"], "fail", block)
            raise
        if begun:
            _note(asked["log"], "end", block)
        return report

    engine.run_block = watched


def watch_last_step() -> None:
    """Stand before the step that no worker does, in the process of the run."""
    sound = step_runners.PERFORM["track"]

    def watched(context: RunContext, unit: Unit) -> dict[str, Any]:
        asked = _asked()
        _note(asked["log"], "last", unit.name)
        _hurt(asked, unit.name)
        return sound(context, unit)

    cast(dict[str, Any], step_runners.PERFORM)["track"] = watched


def _asked() -> dict[str, Any]:
    asked: dict[str, Any] = json.loads(Path(os.environ["CRACKDASK_FAULTS"]).read_text())
    return asked


def _hurt(asked: dict[str, Any], what: str) -> None:
    for fault in asked["faults"]:
        if fault["block"] == what and (before := _before(asked["log"], fault)) < fault["times"]:
            _HURTS[fault["how"]](fault, before)


def _note(log: str, word: str, block: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{word} {os.getpid()} {block}\n".encode())
    os.close(handle)


def _before(log: str, fault: dict[str, Any]) -> int:
    """Return how often a fault happened before; counted in a file, for the process may not live to remember."""
    happened = Path(f"{log}.{fault['how']}.{fault['block'].replace(' ', '.')}")
    count = len(happened.read_bytes()) if happened.exists() else 0
    with happened.open("ab") as file:
        file.write(b".")
    return count


def _fail(fault: dict[str, Any], before: int) -> None:
    raise RuntimeError("a kernel that fails")


def _allocate(fault: dict[str, Any], before: int) -> None:
    taken = []
    until = time.monotonic() + 20
    for _ in range(fault["bytes"] >> 26):
        taken.append(np.ones(2**26, np.uint8))
        time.sleep(0.05)  # slowly enough for the nanny to see it, and never all that the machine has
    while time.monotonic() < until:
        time.sleep(0.1)


def _reserve(fault: dict[str, Any], before: int) -> None:
    np.empty(2**62, np.uint8)


def _hold(fault: dict[str, Any], before: int) -> None:
    until = time.monotonic() + 60
    while not Path(fault["until"][before]).exists() and time.monotonic() < until:
        time.sleep(0.01)


_HURTS: dict[str, Callable[[dict[str, Any], int], None]] = {
    "fail": _fail,
    "allocate": _allocate,
    "reserve": _reserve,
    "hold": _hold,
}

if __name__ == "__main__":  # a run; its blocks, too, where its workers are threads of its own
    from crackdask.cli import main

    watch_last_step()
    if "threads" in sys.argv:
        dask_setup(None)
    sys.argv[0] = "crackdask"
    main()
