"""Blocks that fail where a rule says so, and which blocks a run did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from crackdask.engine import pass_runner as engine
from crackdask.engine.pass_runner import BlockJob
from crackdask.engine.progress import BlockReport


class Failing:
    """Stands in for the engine's work on a block and fails where a rule says so."""

    def __init__(self, fails: Callable[[BlockJob, int], bool]) -> None:
        self.fails, self.do = fails, engine.run_block
        self.tries: Counter[tuple[str, str, int]] = Counter()

    def __call__(self, job: BlockJob) -> BlockReport:
        key = (job.records.folder.parent.name, job.pass_.name, job.number)
        self.tries[key] += 1
        if self.fails(job, self.tries[key]):
            raise OSError(f"invented failure of {key}")
        return self.do(job)


def done_blocks(job: Any) -> list[tuple[str, str, int]]:
    return [(str(unit), pass_, report.number) for unit, pass_, report in job.engine.reports]
