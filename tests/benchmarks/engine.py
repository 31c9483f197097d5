"""`python -m tests.benchmarks.engine [--blocks N] [--workers N]`: what the engine costs when its kernels do nothing.

A full field has 2160 x 2560 x 2560 voxels: about 2 400 blocks a pass. Prints the time for each block as a ratio to the
time that numba's own denoising of such a block takes, and the growth of the scheduler's memory.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import psutil

from crackdask.blocks.passes import Block, Pass, Result
from crackdask.cluster.launch import connect
from crackdask.engine.checkpoints import Work
from crackdask.engine.pass_runner import Engine
from crackdask.engine.retries import Retries
from crackdask.grid import Grid
from crackdask.schema import UnitKey
from tests.support.silence import Silent

FULL_FIELD = (2160, 2560, 2560)


def nothing(block: Block) -> Result:
    """Do nothing."""
    return Result()


def overhead(grid: Grid, cluster: str, workers: int) -> tuple[float, float, int]:
    """Return the seconds for each block, those of this process (client and scheduler), and the bytes it grew by."""
    with tempfile.TemporaryDirectory() as place, connect(cluster, workers, 2 * 2**30) as executor:
        engine = Engine(Work(Path(place)), executor, Silent(), Retries(0))
        own = psutil.Process(os.getpid())
        idle = Pass(name="nothing", kernel=nothing, reads={})
        engine.run(UnitKey("warm", 0), "0" * 64, (idle,), Grid((64, 64, 64), (16, 16, 16)), {}, {}, {})
        before = own.memory_info().rss
        started, busy = time.perf_counter(), time.process_time()
        engine.run(UnitKey("nothing", 0), "0" * 64, (idle,), grid, {}, {}, {})
        each, own_each = (
            (now - then) / len(grid) for now, then in ((time.perf_counter(), started), (time.process_time(), busy))
        )
        return each, own_each, own.memory_info().rss - before


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=int, default=192)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    grid = Grid(FULL_FIELD, (args.block,) * 3)
    seconds, own, grown = overhead(grid, "local", args.workers)
    total = psutil.Process(os.getpid()).memory_info().rss
    print(
        f"{len(grid)} blocks of a full field, {args.workers} workers: {1000 * seconds:.2f} ms each, "
        f"{1000 * own:.2f} ms of it client and scheduler; "
        f"client and scheduler grew by {grown / 2**20:.0f} MiB to {total / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main()
