"""The machine at hand: what its CPU is called, what it reaches at most on one thread, what was measured on its like.

A share of the peak tells how far a kernel is from what the CPU could do, by a roofline: the least time is that of the
kernel's operations at the rate of the vector unit, or of the bytes that it must read and write at the rate of the
memory, whichever is longer. Operations are counted in lanes of 32 bits; a kernel with narrower ones may reach more.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

_FIGURES = Path(__file__).with_name("figures.json")


@dataclass(frozen=True)
class Work:
    """What a kernel must do at least: operations in lanes of 32 bits, and bytes from and to the memory."""

    operations: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class Peak:
    """What one thread reaches at most, a second."""

    operations: float
    bytes: float

    def seconds(self, work: Work) -> float:
        """Return the least time for some work."""
        return max(work.operations / self.operations, work.bytes / self.bytes)


def cpu() -> str:
    """Return what tells the CPU from others: its name, and family and model, for names of rented ones tell little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", platform.machine())
    return f"{name}, family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"


@lru_cache(maxsize=1)
def peak(edge: int = 1024, megabytes: int = 128) -> Peak:
    """Measure what one thread reaches: half the rate of a matrix product's sums and products, and that of a copy.

    Each lane can do one operation where the product of matrices does a multiplication with an addition.
    """
    matrix, source = np.ones((edge, edge), np.float32), np.ones(megabytes << 20, np.uint8)
    target = source.copy()
    with threadpool_limits(1):
        product = min(_seconds(lambda: matrix @ matrix) for _ in range(5))
    copy = min(_seconds(lambda: np.copyto(target, source)) for _ in range(5))
    return Peak(edge**3 / product, 2 * source.size / copy)


def _seconds(work: object) -> float:
    assert callable(work)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def figures() -> dict[str, float]:
    """Return the ratios that were measured on a CPU like this one, by benchmark; none where it was never measured."""
    found: dict[str, dict[str, float]] = json.loads(_FIGURES.read_text())
    return found.get(cpu(), {})


def keep(ratios: dict[str, float]) -> None:
    """Write down ratios as those of CPUs like this one, beside what was measured of other benchmarks."""
    every = json.loads(_FIGURES.read_text())
    every[cpu()] = every.get(cpu(), {}) | {name: round(times, 2) for name, times in ratios.items()}
    _FIGURES.write_text(json.dumps(every, indent=2, sort_keys=True) + "\n")
