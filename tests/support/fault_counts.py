"""What the fault suite did to runs, and what became of them, added up over all processes that test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass
class Counts:
    """What the suite did, and what it found."""

    kills: int = 0
    cuts: int = 0
    faults: int = 0
    recomputed: int = 0
    bytes_lost: int = 0
    results_that_differ: int = 0
    runs_compared: int = 0

    def add(self, others: Mapping[str, int]) -> None:
        """Add what another process counted."""
        for name, count in others.items():
            setattr(self, name, getattr(self, name) + count)

    def as_dict(self) -> dict[str, int]:
        """Return the counts as plain numbers, to be sent to another process."""
        return asdict(self)

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"{self.kills} kills, {self.cuts} cuts, {self.faults} faults; {self.runs_compared} runs compared "
            f"with an undisturbed one: {self.recomputed} blocks recomputed, {self.bytes_lost} bytes lost, "
            f"{self.results_that_differ} results that differ"
        )


COUNTS = Counts()
