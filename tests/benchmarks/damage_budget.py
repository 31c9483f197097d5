"""`python -m tests.benchmarks.damage_budget [--shape Z Y X] [name ...]`: what adds how much to the error of damage.

One electrode of known damage, three states, scanned again and again with one more thing that goes wrong: first only
what segmentation and partial volume do, then motion, noise of a scan, then from photons: counts, rings, levels of
16 bit, the angles that a holder leaves. Errors are those of changes of damage since the first state, of particles with
a radius of six voxels or more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import crackdask
from crackdask import analyse
from crackdask.cluster.launch import connect
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.grid import Box, Triple
from crackdask.phantom import Phantom, states, write
from crackdask.phantom.detector import Detector
from crackdask.phantom.projected_scans import write_projections
from crackdask.phantom.projections import Projections
from crackdask.recipe.recipe import check
from tests.support.compared import compared_with_truth
from tests.support.scoring import f1
from tests.support.silence import Silent

LEAST = 6.0  # voxels, of a radius
SOUND = Detector(striped=0.0, dead=0, fluctuating=0, stuck=0, gain_sd=0.02)
STILL: dict[str, Any] = {"max_shift": 0.0, "max_rotation_deg": 0.0, "noise_sd": 0.0, "streak": 0.0, "rim": 0.0}


def projected(phantom: Phantom, angles: int, window: bool = False, **given: Any) -> Callable[[Path], dict[str, Any]]:
    """Return what writes projections of a phantom whose own scans have no noise, and the recipe."""

    def prepare(folder: Path) -> dict[str, Any]:
        scan = Projections(phantom, degrees=tuple(np.linspace(0, 180, angles).tolist()), **given)
        recipe = tomllib.loads(write_projections(scan, folder).read_text())
        recipe["reconstruct"] |= {"center": scan.axis}
        if window:
            solid = scan.per_grey * 255
            recipe["reconstruct"]["window"] = [-solid, 2 * solid]
        return recipe

    return prepare


def scanned(phantom: Phantom) -> Callable[[Path], dict[str, Any]]:
    """Return what writes scans of a phantom that were never projected."""
    return lambda folder: tomllib.loads(write(phantom, folder).read_text())


def variants(shape: Triple, angles: int) -> dict[str, tuple[Phantom, Callable[[Path], dict[str, Any]]]]:
    """Return by name the phantom and what prepares its scans, each with one more error than the one before."""
    moved = Phantom(shape, states(3), seed=5, vanishing=0, leaving=0, dtype="uint16")
    still, quiet = replace(moved, **STILL), replace(moved, noise_sd=0.0, streak=0.0, rim=0.0)
    whole: dict[str, Any] = {"clear": None}
    return {
        "segmentation": (still, scanned(still)),
        "motion": (quiet, scanned(quiet)),
        "noise": (moved, scanned(moved)),
        "photons": (quiet, projected(quiet, angles, detector=SOUND, **whole)),
        "rings": (quiet, projected(quiet, angles, **whole)),
        "levels": (quiet, projected(quiet, angles, window=True, **whole)),
        "angles": (quiet, projected(quiet, angles, embedded=True)),
    }


def row(name: str, phantom: Phantom, prepare: Callable[[Path], dict[str, Any]]) -> str:
    """Run one variant, and return its line of the table."""
    with tempfile.TemporaryDirectory() as made:
        folder, started = Path(made), time.process_time()
        recipe = check(prepare(folder))
        with connect("synchronous", None, recipe.compute.memory) as executor:
            outcome = Run(Scans.of(recipe, folder), folder / "store.zarr", executor, Silent())(None)
        if outcome.failures:
            return f"| {name} | failed: {outcome.failures[0].error} |"
        labels = crackdask.open(folder / "store.zarr")["volumes"].label[0].values
        score = f1(labels, phantom.labels(Box.whole(phantom.shape)), least=250)
        both = compared_with_truth(folder / "store.zarr", phantom)
    large = both.radius >= LEAST
    found, true = (analyse.changes(each, since="pristine") for each in (both.found, both.true))
    off = (found.change - true.change).values[:, large]
    really, error = true.change.values[:, large], found.standard_error.values[:, large]
    signs = 100 * (np.sign(found.change.values[:, large]) == np.sign(really)).mean()
    slope = float((found.change.values[:, large] * really).sum() / (really**2).sum())
    covered = 100 * (np.abs(off) <= 1.96 * error).mean()
    return (
        f"| {name} | {large.sum()} | {score:.3f} | {signs:.0f} | {np.median(off):+.4f} | {off.std():.4f} | {slope:.2f} "
        f"| {covered:.0f} | {time.process_time() - started:.0f} |"
    )


def main() -> None:
    """Print a table, a line a variant."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.damage_budget", description=__doc__)
    parser.add_argument("names", nargs="*", help="those variants alone")
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 160, 160), metavar=("Z", "Y", "X"))
    parser.add_argument("--angles", type=int, default=721)
    args = parser.parse_args()
    chosen = variants(tuple(args.shape), args.angles)
    if unknown := set(args.names) - set(chosen):
        parser.error(f"no variant is called {', '.join(sorted(unknown))}; there are {', '.join(chosen)}")
    print("| | particles | F1 | signs right, % | bias | scatter | slope | covered, % | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (phantom, prepare) in chosen.items():
        if not args.names or name in args.names:
            print(row(name, phantom, prepare), flush=True)


if __name__ == "__main__":
    main()
