"""What a run tells of the cell's record, and of states that are linked to no moment of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from crackdask.analysis.findings import Finding
from crackdask.analysis.state_links import Link, Record


class Noted(Record, Protocol):
    """A record with notes."""

    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102


def of_record(record: Noted) -> list[Finding]:
    """Return what the record itself tells: notes of its files, and a current that looks turned round."""
    told = [Finding("cycler-notes", None, 0.0, 0.0, note) for note in record.notes]
    flows = float(np.sum(np.diff(record.voltage) * record.current[1:]))
    moves = float(np.sum(np.abs(np.diff(record.voltage) * record.current[1:])))
    if moves and flows < -moves / 2:
        told.append(
            Finding("current-reversed", None, flows / moves, -0.5, "the voltage falls while the current is positive")
        )
    return told


def of_links(names: Sequence[str], links: Sequence[Link]) -> list[Finding]:
    """Return which states are linked to no moment of the record, and why."""
    without = [(name, link) for name, link in zip(names, links, strict=True) if not link.by]
    if links and len(without) == len(links):
        reasons = "; ".join(f"{name}: {link.reason}" for name, link in without)
        return [Finding("other-cell", None, 0.0, 1.0, f"none of {len(links)} states: {reasons}")]
    return [Finding("not-linked", name, 0.0, 1.0, link.reason) for name, link in without]
