"""Who is told how the work goes on, and what is told of each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crackdask.schema import UnitKey


@dataclass(frozen=True)
class BlockReport:
    """What one block cost."""

    number: int
    seconds: float
    bytes_read: int
    bytes_written: int
    peak_bytes: int
    waited: float = 0.0  #: of the seconds, those without a core, as far as the system tells


class Progress(Protocol):
    """Is told how the work goes on."""

    def begin(self, unit: UnitKey, pass_: str, done: int, blocks: int) -> None:
        """Say that a pass begins, of which some blocks may be done."""

    def advance(self, unit: UnitKey, report: BlockReport) -> None:
        """Say that a block is done."""

    def failed(self, unit: UnitKey, pass_: str, number: int, error: BaseException, again: bool) -> None:
        """Say that a block failed, and whether it is tried again."""

    def end(self, unit: UnitKey, seconds: float) -> None:
        """Say that a unit is done."""

    def leave(self, unit: UnitKey) -> None:
        """Say that a unit is left undone, for some of its blocks failed."""

    def warn(self, about: UnitKey | str, words: str) -> None:
        """Say what the user should know of a unit's result, or of something else that has a name."""


class Silent:
    """Progress of a run that nobody looks on at."""

    def begin(self, unit: UnitKey, pass_: str, done: int, blocks: int) -> None:
        """Say nothing."""

    def advance(self, unit: UnitKey, report: BlockReport) -> None:
        """Say nothing."""

    def failed(self, unit: UnitKey, pass_: str, number: int, error: BaseException, again: bool) -> None:
        """Say nothing: what is set aside is in the outcome."""

    def end(self, unit: UnitKey, seconds: float) -> None:
        """Say nothing."""

    def leave(self, unit: UnitKey) -> None:
        """Say nothing."""

    def warn(self, about: UnitKey | str, words: str) -> None:
        """Say nothing."""
