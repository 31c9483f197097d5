"""`python -m tests.benchmarks.damage_budget [--shape Z Y X] [name ...]`: what adds how much to the error of damage.

One electrode of known damage, three states, scanned again and again with one more thing that goes wrong: first only
what segmentation and partial volume do, then motion, noise of a scan, then from photons: counts, rings, levels of
16 bit, the angles that a holder leaves. These last are of a sample in air, in a cylinder of its mean grey, and of a
part of a larger sample, as an electrode is. Centers are found by the run. Errors are those of changes of damage since
the first state, signs those of changes from state to state, of particles with a radius of six voxels or more. Identity
is that of particles which stay inside, over all states.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

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
from tests.support.compared import compared_with_truth, staying
from tests.support.scoring import f1, matches
from tests.support.silence import Silent

LEAST = 6.0  # voxels, of a radius
PIECE = 250  # voxels, of what counts as a particle
MARGIN = 40  # voxels of a larger sample around what is looked at
SOUND = Detector(striped=0.0, dead=0, fluctuating=0, stuck=0, gain_sd=0.02)
STILL: dict[str, Any] = {"max_shift": 0.0, "max_rotation_deg": 0.0, "noise_sd": 0.0, "streak": 0.0}

Prepare = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Variant:
    """A phantom, what writes its scans and returns the recipe, and the part of the reference that is looked at."""

    phantom: Phantom
    prepare: Prepare
    box: Box


def scanned(phantom: Phantom) -> Variant:
    """Return scans of a phantom that were never projected."""
    return Variant(phantom, lambda folder: tomllib.loads(write(phantom, folder).read_text()), Box.whole(phantom.shape))


def projected(
    phantom: Phantom,
    angles: int,
    window: tuple[float, float] | str = "none",
    margin: int = 0,
    **given: Any,
) -> Variant:
    """Return projections of a phantom whose own scans have no noise.

    `window` is attenuations, 0 that of the void and 1 that of the solid, or "none": tomograms of real numbers.
    """
    scan = Projections(phantom, degrees=tuple(np.linspace(0, 180, angles).tolist()), **given)
    void, solid = (scan.per_grey * grey for grey in (phantom.background_grey, phantom.solid_grey))
    nz, ny, nx = phantom.shape

    def prepare(folder: Path) -> dict[str, Any]:
        recipe = tomllib.loads(write_projections(scan, folder).read_text())
        own = window if isinstance(window, str) else [void + end * (solid - void) for end in window]
        recipe["reconstruct"]["window"] = own
        recipe["crop"] = {axis: [first + margin, end - margin] for axis, (first, end) in recipe["crop"].items()}
        return recipe

    return Variant(phantom, prepare, Box((0, margin, margin), (nz, ny - margin, nx - margin)))


def variants(shape: Triple, angles: int) -> dict[str, Variant]:
    """Return by name experiments each of which has one more error than the one before."""
    moved = Phantom(shape, states(3), seed=5, vanishing=0, leaving=0, dtype="uint16")
    still, quiet = replace(moved, **STILL), replace(moved, noise_sd=0.0, streak=0.0)
    large = replace(quiet, shape=(shape[0], shape[1] + 2 * MARGIN, shape[2] + 2 * MARGIN))
    whole: dict[str, Any] = {"clear": None}
    return {
        "segmentation": scanned(still),
        "motion": scanned(quiet),
        "noise": scanned(moved),
        "photons": projected(quiet, angles, detector=SOUND, **whole),
        "rings": projected(quiet, angles, **whole),
        "levels": projected(quiet, angles, window=(-1.5, 2.5), **whole),
        "angles, air": projected(quiet, angles),
        "angles, cylinder": projected(quiet, angles, embedded=True),
        "angles, part": projected(large, angles, margin=MARGIN, embedded=True),
    }


@dataclass(frozen=True)
class Found:
    """What a run made of one variant.

    Attributes
    ----------
    particles
        Those with a radius of `LEAST` and more.
    f1
        Of pieces in the first state.
    whole, same
        Shares: of the particles that stay inside those that were found, and of these those that keep their label.
    signs
        Share of the changes from state to state whose sign is right.
    bias, scatter, slope, covered
        Of changes of damage since the first state.
    """

    particles: int
    f1: float
    whole: float
    same: float
    signs: float
    bias: float
    scatter: float
    slope: float
    covered: float

    def __str__(self) -> str:
        return (
            f"{self.particles} | {self.f1:.3f} | {100 * self.whole:.1f} | {100 * self.same:.1f} | "
            f"{100 * self.signs:.1f} | {self.bias:+.4f} | {self.scatter:.4f} | {self.slope:.2f} | "
            f"{100 * self.covered:.0f}"
        )


def kept(label: np.ndarray, truth: xr.Dataset, true_labels: np.ndarray) -> tuple[float, float]:
    """Return two shares: of particles that stay those found in the first state, of these those that keep a label."""
    pairs = [matches(one, true_labels) for one in label]
    stays = staying(truth, true_labels)
    followed = [a for a, b in pairs[0].items() if b in stays]
    same = np.mean([all(pair.get(a) == pairs[0][a] for pair in pairs[1:]) for a in followed])
    return len(followed) / len(stays), float(same)


def measured(variant: Variant, folder: Path) -> Found:
    """Run one variant in an empty folder."""
    recipe = check(variant.prepare(folder))
    with connect("synchronous", None, recipe.compute.memory) as executor:
        outcome = Run(Scans.of(recipe, folder), folder / "store.zarr", executor, Silent())(None)
    if outcome.failures:
        raise RuntimeError(outcome.failures[0].error)
    label = crackdask.open(folder / "store.zarr")["volumes"].label.values
    true_labels = variant.phantom.labels(variant.box)
    whole, same = kept(label, variant.phantom.truth(), true_labels)
    both = compared_with_truth(folder / "store.zarr", variant.phantom, variant.box)
    large = both.radius >= LEAST
    found, true = (analyse.changes(each, since="pristine") for each in (both.found, both.true))
    off = (found.change - true.change).values[:, large]
    really, error = true.change.values[:, large], found.standard_error.values[:, large]
    steps = [np.sign(np.diff(each.damage.values[:, large], axis=0)) for each in (both.found, both.true)]
    return Found(
        particles=int(large.sum()),
        f1=f1(label[0], true_labels, PIECE),
        whole=whole,
        same=same,
        signs=float((steps[0] == steps[1]).mean()),
        bias=float(np.median(off)),
        scatter=float(off.std()),
        slope=float((found.change.values[:, large] * really).sum() / (really**2).sum()),
        covered=float((np.abs(off) <= 1.96 * error).mean()),
    )


def row(name: str, variant: Variant) -> str:
    """Run one variant, and return its line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        try:
            found = measured(variant, Path(folder))
        except RuntimeError as error:
            return f"| {name} | failed: {error} |"
    return f"| {name} | {found} | {time.process_time() - started:.0f} |"


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
    print(
        "| | particles | F1 | found, % | identity, % | signs right, % | bias | scatter | slope | covered, % | CPU s |"
    )
    print("|" + "---|" * 11)
    for name, variant in chosen.items():
        if not args.names or name in args.names:
            print(row(name, variant), flush=True)


if __name__ == "__main__":
    main()
