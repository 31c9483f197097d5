"""`python -m tests.benchmarks.whole [--shape Z Y X] [--repeats N] [--skip-peer]`: the whole run, in ratios.

Against the seed's way on the same phantom and cores: time, memory of the largest worker, accuracy. Two workers against
one. And a volume 8 times larger: memory of a worker, and time for a voxel.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from crackdask.grid import Box, Triple
from crackdask.phantom import Phantom, states, write
from crackdask.store.open import open_store
from crackdask.store.root import attributes
from tests.support.scoring import corner_error, f1, matches

Array = np.ndarray[Any, np.dtype[Any]]
#: Edge of the blocks where volumes of two sizes are compared: by itself a run takes larger ones for larger volumes.
BLOCK = 128


@dataclass(frozen=True)
class Finish:
    """How one run went."""

    seconds: float
    peak: int
    labels: Array | None = None
    matrices: Array | None = None


def ours(recipe: Path, folder: Path, workers: int, *, keep: bool = False) -> Finish:
    """Run crackdask as a user would, start-up of workers included."""
    store = folder / f"ours-{time.monotonic_ns()}.zarr"
    command = ["run", str(recipe), "--store", str(store), "--workers", str(workers)]
    started = time.perf_counter()
    code = "from crackdask.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *command], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    steps = attributes(store)["steps"].values()
    peak = max(facts["cost"]["peak_bytes"] for facts in steps)
    if not keep:
        return Finish(seconds, peak)
    tree = open_store(store)
    found = tree["volumes"].to_dataset().label.values, tree["transforms"].to_dataset().matrix.values
    return Finish(seconds, peak, *found)


def theirs(recipe: Path, folder: Path) -> Finish:
    """Run the seed's way in a process of its own."""
    out = folder / "theirs.npz"
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.seed_way", str(recipe), str(out)], check=True
    )
    seconds = time.perf_counter() - started
    with np.load(out) as found:
        return Finish(seconds, int(found["peak"]), found["labels"], found["matrices"])


def quality(finish: Finish, phantom: Phantom) -> str:
    """Return F1 (pieces of 50 voxels and more), identities kept and the largest corner error."""
    assert finish.labels is not None
    assert finish.matrices is not None
    truth = phantom.labels(Box.whole(phantom.shape))
    table = phantom.truth()
    whole = set(table.particle.values[table.in_field.values.all(axis=0)].tolist())
    pairs = [matches(label, truth) for label in finish.labels]
    followed = [a for a, b in pairs[0].items() if b in whole]
    kept = np.mean([all(p.get(a) == pairs[0][a] for p in pairs[1:]) for a in followed])
    errors = [corner_error(m, phantom.matrix(s), phantom.shape) for s, m in enumerate(finish.matrices)]
    return f"F1 {f1(finish.labels[0], truth, 50):.3f}, identity {kept:.1%}, corners {max(errors):.3f} voxel"


def in_blocks(recipe: Path, edge: int) -> Path:
    """Write a recipe beside another that cuts the same work into blocks of one size, whatever the volume."""
    made = recipe.with_name(f"blocks-{edge}.toml")
    made.write_text(f"{recipe.read_text()}\n[compute]\nblock = [{edge}, {edge}, {edge}]\n")
    return made


def halved(shape: Triple) -> Triple:
    """Return a shape of an eighth of the voxels."""
    return (shape[0] // 2, shape[1] // 2, shape[2] // 2)


def main() -> None:
    """Run and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", nargs=3, type=int, default=[160, 224, 224])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip-peer", action="store_true")
    args = parser.parse_args()
    phantom = Phantom(shape=tuple(args.shape), states=states(4), seed=1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        recipe = write(phantom, folder / "scans", workers=2)
        ours(recipe, folder, 2)  # after an installation kernels are compiled once
        runs = [ours(recipe, folder, 2, keep=n == 0) for n in range(args.repeats)]
        single = [ours(recipe, folder, 1) for _ in range(args.repeats)]
        two, one = (median(r.seconds for r in each) for each in (runs, single))
        peak = max(r.peak for r in runs)
        print(f"two workers against one: {one / two:.2f}x ({one:.1f}, {two:.1f} s)", flush=True)
        print(f"ours: {quality(runs[0], phantom)}", flush=True)
        little = write(replace(phantom, shape=halved(phantom.shape)), folder / "small", workers=2)
        sizes = []
        for each in (little, recipe):
            cut = in_blocks(each, BLOCK)
            sizes.append([ours(cut, folder, 2) for _ in range(args.repeats)])
        slow = [median(r.seconds for r in runs) for runs in sizes]
        most = [max(r.peak for r in runs) for runs in sizes]
        print(
            f"8 times larger, blocks of {BLOCK}^3: memory of a worker {most[1] / most[0]:.3f}x "
            f"({most[0] / 2**20:.0f}, {most[1] / 2**20:.0f} MiB), time for a voxel {slow[1] / 8 / slow[0]:.2f}x",
            flush=True,
        )
        if args.skip_peer:
            return
        peer = theirs(recipe, folder)
        print(f"seed's way: {quality(peer, phantom)}")
        print(
            f"whole run: {peer.seconds / two:.1f}x faster ({peer.seconds:.0f}, {two:.1f} s), memory of the largest "
            f"worker {peak / peer.peak:.3f} of the peer's ({peak / 2**20:.0f}, {peer.peak / 2**20:.0f} MiB)"
        )


if __name__ == "__main__":
    main()
