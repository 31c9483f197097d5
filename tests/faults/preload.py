"""What every worker of the fault suite loads first, through dask's own `worker.preload`: it is no part of the package.

It notes each block that begins and ends, with the process that does it, and does to chosen blocks what is asked of it.
What is asked lies in a JSON file that CRACKDASK_FAULTS names and that may change while the workers run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crackdask.engine import pass_runner as engine
from crackdask.engine.pass_runner import BlockJob, BlockReport


def dask_setup(worker: Any) -> None:
    """Stand between the worker and its blocks."""
    sound = engine.run_block

    def watched(job: BlockJob) -> BlockReport:
        asked = json.loads(Path(os.environ["CRACKDASK_FAULTS"]).read_text())
        block = f"{job.records.folder.parent.name} {job.pass_.name} {job.number}"
        begun = False

        def kernel(own: Any) -> Any:
            nonlocal begun
            begun = True
            _note(asked["log"], "begin", block)
            time.sleep(asked["pause"])
            for fault in asked["faults"]:
                if fault["block"] == block and (before := _before(asked["log"], fault)) < fault["times"]:
                    _HURTS[fault["how"]](fault, before)
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

if __name__ == "__main__":  # a run whose workers are threads of its own
    from crackdask.cli import main

    dask_setup(None)
    sys.argv[0] = "crackdask"
    main()
