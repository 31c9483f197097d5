"""What the steps of a run cost: time, voxels a second, bytes, and the memory of the largest worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crackdask.engine.progress import BlockReport
from crackdask.schema import STEPS, UnitKey


@dataclass(frozen=True)
class Cost:
    """What some blocks cost together.

    Attributes
    ----------
    blocks
        How many.
    busy_seconds
        Seconds that workers spent on them, added up.
    bytes_read, bytes_written
        Voxels read (uncompressed) and bytes written to the disk (compressed, with records).
    peak_bytes
        Largest resident memory that a worker had reached by the end of one of them.
    """

    blocks: int = 0
    busy_seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    peak_bytes: int = 0

    @classmethod
    def of(cls, reports: Iterable[BlockReport]) -> Cost:
        """Add up the reports of blocks."""
        total = cls()
        for report in reports:
            total += cls(1, report.seconds, report.bytes_read, report.bytes_written, report.peak_bytes)
        return total

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(
            self.blocks + other.blocks,
            self.busy_seconds + other.busy_seconds,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            max(self.peak_bytes, other.peak_bytes),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the store's attributes."""
        return asdict(self) | {"busy_seconds": round(self.busy_seconds, 3)}


@dataclass(frozen=True)
class StepProfile:
    """What one step cost over all states."""

    step: str
    states: int
    seconds: float
    voxels_per_second: float
    cost: Cost


def profile(units: Mapping[str, Mapping[str, Any]], voxels: int) -> list[StepProfile]:
    """Return the cost of each step from what a store remembers of its units.

    Parameters
    ----------
    units
        The root attribute `steps` of a store: unit name to its facts.
    voxels
        Voxels of one state.
    """
    profiles = []
    for step in STEPS:
        mine = [facts for name, facts in units.items() if UnitKey.parse(name).step == step and "cost" in facts]
        seconds = sum(float(facts["seconds"]) for facts in mine)
        cost = sum((Cost(**facts["cost"]) for facts in mine), Cost())
        if mine:
            rate = voxels * len(mine) / seconds if seconds else 0.0
            profiles.append(StepProfile(step, len(mine), seconds, rate, cost))
    return profiles
