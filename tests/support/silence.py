"""Progress that says nothing, and remembers what it was told."""

from __future__ import annotations

from dataclasses import dataclass, field

from crackdask.engine.progress import BlockReport
from crackdask.schema import UnitKey


@dataclass
class Silent:
    """The engine's progress, kept for tests to look at."""

    begun: list[tuple[str, str, int, int]] = field(default_factory=list)
    reports: list[BlockReport] = field(default_factory=list)
    failures: list[tuple[str, str, int, BaseException, bool]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    warned: list[tuple[str, str]] = field(default_factory=list)

    def begin(self, unit: UnitKey, pass_: str, done: int, blocks: int) -> None:
        self.begun.append((str(unit), pass_, done, blocks))

    def advance(self, unit: UnitKey, report: BlockReport) -> None:
        self.reports.append(report)

    def failed(self, unit: UnitKey, pass_: str, number: int, error: BaseException, again: bool) -> None:
        self.failures.append((str(unit), pass_, number, error, again))

    def end(self, unit: UnitKey, seconds: float) -> None:
        self.ended.append(str(unit))

    def leave(self, unit: UnitKey) -> None:
        self.left.append(str(unit))

    def warn(self, about: UnitKey | str, words: str) -> None:
        self.warned.append((str(about), words))
