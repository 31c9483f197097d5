"""Progress that says nothing, and remembers what it was told."""

from __future__ import annotations

from dataclasses import dataclass, field

from crackdask.engine.pass_runner import Report


@dataclass
class Silent:
    """The engine's progress, kept for tests to look at."""

    begun: list[tuple[str, str, int, int]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    failures: list[tuple[str, str, int, BaseException, bool]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    warned: list[tuple[str, str]] = field(default_factory=list)

    def begin(self, unit: str, step: str, done: int, blocks: int) -> None:
        self.begun.append((unit, step, done, blocks))

    def advance(self, unit: str, report: Report) -> None:
        self.reports.append(report)

    def failed(self, unit: str, step: str, number: int, error: BaseException, again: bool) -> None:
        self.failures.append((unit, step, number, error, again))

    def end(self, unit: str, seconds: float) -> None:
        self.ended.append(unit)

    def leave(self, unit: str) -> None:
        self.left.append(unit)

    def warn(self, unit: str, words: str) -> None:
        self.warned.append((unit, words))
