"""The command that validates a recipe and plans its run: check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from crackdask.analysis import cycler_findings as findings
from crackdask.analysis.findings import KINDS
from crackdask.batch_systems import BATCH_SYSTEMS
from crackdask.cli.common import app, examples, notice, out
from crackdask.cli.console import duration, facts, size
from crackdask.cli.endings import mistakes
from crackdask.cli.options import ClusterOption, RecipePath, WorkersOption
from crackdask.clocks import spoken
from crackdask.cluster.worker_settings import check_memory
from crackdask.engine.arrivals import CyclerArrival
from crackdask.engine.block_plan import BASE_BYTES, Plan, estimate, kept_bytes
from crackdask.engine.cycler import Cycler
from crackdask.engine.run_times import learned, likeness, remembered
from crackdask.engine.scans import Scans, ScansError
from crackdask.recipe.recipe import Recipe, RecipeError, load_site, written
from crackdask.recipe.recipe import check as checked
from crackdask.recipe.site import Site, cores_here
from crackdask.sources import SourceError
from crackdask.sources.frames import FrameStack, Uniform
from crackdask.sources.opening import there
from crackdask.storage.locations import PlaceError, UnreachableError

#: What tomograms are made of, by the bytes of a voxel.
_TOMOGRAMS = {2: "16-bit levels", 4: "real numbers"}


@app.command(
    epilog=examples(
        "crackdask check recipe.toml",
        "crackdask check recipe.toml --cluster slurm --workers 32",
    )
)
@mistakes
def check(recipe: RecipePath, cluster: ClusterOption = None, workers: WorkersOption = None) -> None:
    """Validate a recipe and plan the run: blocks, memory, disk, tasks, time. Reads no voxel."""
    content = written(recipe)
    try:
        experiment = checked(content, where=str(recipe))
    except RecipeError as error:
        lacking = _lacking(content, recipe.resolve().parent)  # all mistakes at once
        raise RecipeError("\n".join([str(error), *lacking])) from None
    try:
        scans = Scans.of(experiment, recipe.resolve().parent).laid_out(None)
    except ScansError as error:
        if error.absent:
            waits = "`crackdask run RECIPE --store STORE --watch` waits for them"
            notice(f"not there yet: {', '.join(error.absent)}; {waits}")
        why = CyclerArrival(experiment, recipe.resolve().parent).missing()
        if why and why not in str(error):  # all mistakes at once
            raise ScansError(f"{error}\n  {why}", error.absent, unusable=error.unusable) from None
        raise
    site = load_site(None, experiment.cluster, kind=cluster, workers=workers)
    count = site.workers or cores_here()
    _print_plan(scans.recipe, scans, planned(scans, site, count), count)


def _lacking(content: Mapping[str, Any], base: Path) -> list[str]:
    """Return which sources of a recipe that is wrong otherwise are not there, one line each."""
    lines: list[str] = []
    states = content.get("states")
    for number, state in enumerate(states if isinstance(states, list) else []):
        source = state.get("source") if isinstance(state, dict) else None
        try:
            if isinstance(source, str) and source:
                there(source, base)
        except (SourceError, PlaceError, UnreachableError) as error:
            lines.append(f"  states[{number}].source: {error}")
    return lines


def planned(scans: Scans, site: Site, workers: int) -> Plan:
    """Return the blocks for some workers: too little memory is told before any starts with it."""
    plan = scans.plan(workers)
    if site.kind in (*BATCH_SYSTEMS, "kubernetes"):
        check_memory(site, plan.worker_bytes)
    return plan


def expected_seconds(scans: Scans, plan: Plan, workers: int) -> float:
    """Return the seconds that a run is expected to take on a machine of which nothing is known."""
    return estimate(scans.recipe, plan, scans.sources[0].dtype, workers, scans.projected).seconds


def _print_plan(recipe: Recipe, scans: Scans, plan: Plan, workers: int) -> None:
    dtype = scans.sources[0].dtype
    projected = scans.projected
    cost = estimate(recipe, plan, dtype, workers, projected)
    seconds, runs = learned(likeness(recipe), cost.seconds, remembered())
    by = f", as {runs} run{'s' * (runs > 1)} on this machine tell{'s' * (runs == 1)}" if runs else ""
    shape = " x ".join(map(str, plan.grid.shape))
    rows = [
        ["states", f"{len(recipe.states)}, reference {recipe.states[recipe.reference].name!r}"],
        ["stored volume (z, y, x)", f"{shape} voxels, {dtype} scans"],
        ["blocks", f"{cost.blocks} a state of {' x '.join(map(str, plan.grid.block))} voxels"],
        ["tasks", str(cost.tasks)],
        [
            "memory, each worker",
            f"{size(plan.worker_bytes)} of {size(recipe.compute.memory)} "
            f"({size(BASE_BYTES)} program, {size(plan.peak.bytes)} {plan.peak.step}, {size(plan.kept_bytes)} heap)",
        ],
        ["scans to read", size(cost.source_bytes)],
        *_projections(scans),
        *(["read as fill value", f"{name}: {what}"] for name, what in scans.unwritten.items()),
        *(
            [
                [
                    "sinograms, tomogram",
                    f"{size(most.sinogram_bytes)} and {size(most.tomogram_bytes)} a state, in the work folder; "
                    f"voxels of {_TOMOGRAMS[most.voxel_bytes]}",
                ]
            ]
            if (most := max(projected, key=lambda each: each.sinogram_bytes + each.tomogram_bytes, default=None))
            else []
        ),
        *_kept(scans, plan),
        ["store", f"about {size(cost.store_bytes)}, {cost.files} files a state{_sharded(recipe)}, and tables"],
        ["work folder, at most", f"about {size(cost.work_bytes)}"],
        ["likely time", f"{duration(seconds)} on {workers} worker{'s' * (workers > 1)}{by}"],
    ]
    out.print(facts(rows))
    if scans.cycler:
        _print_cell(recipe, scans.cycler)
    for words in scans.doubts():
        notice(words)
    out.print("\nthe recipe is valid")


def _kept(scans: Scans, plan: Plan) -> Iterator[list[str]]:
    """Yield what the tomograms take that the store keeps."""
    kept = kept_bytes(scans.recipe) * prod(plan.slabs.shape)
    if kept and scans.projected and scans.recipe.reconstruct:
        yield ["tomograms kept", f"about {size(ceil(kept))} a state, {scans.recipe.reconstruct.keep}, in the store"]


def _sharded(recipe: Recipe) -> str:
    shard = recipe.compute.shard
    return f" (shards of {' x '.join(map(str, shard))} voxels)" if shard else ""


def _print_cell(recipe: Recipe, cycler: Cycler) -> None:
    """Say what the cycler recorded, and which moment of it each state is linked to, and why."""
    record, links = cycler.linked()
    began = f" from {spoken(record.start)}" if record.start else ""
    if record.start and record.start.tzinfo is None:
        began += " by its own clock, of which no zone is told"
    low, high, most = record.voltage.min(), record.voltage.max(), np.ptp(record.charge)
    what = f"{record.rows} rows, {record.time[-1] / 3600:.4g} h{began}, {low:.3f} to {high:.3f} V, {most:.4g} mAh"
    out.print(f"\nthe cell: {what}")
    out.print(
        facts([[state.name, link.reason if link.by else f"not linked: {link.reason}"]
               for state, link in zip(recipe.states, links, strict=True)])
    )  # fmt: skip
    for finding in (*findings.of_record(record), *findings.of_links([state.name for state in recipe.states], links)):
        if finding.code != "not-linked":
            notice(f"{KINDS[finding.code].title}: {finding.text}")


def _projections(scans: Scans) -> Iterator[list[str]]:
    """Yield what is known of projections before one is read, states that are alike together; then their notes."""
    alike: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for number, state in enumerate(scans.recipe.states):
        found = scans.projections(number)
        if found is None:
            continue
        angles, (first, end), (rows, columns) = found.angles, found.rows, found.detector
        flats, darks = (_frames(stacks) for stacks in (found.flat_stacks, found.dark_stacks))
        told = (
            f"{len(angles)} of {len(found.degrees)} kept, {angles.min():g} to {angles.max():g} degrees; {flats} flats, "
            f"{darks} darks; rows {first} to {end} of {rows}, {columns} columns, {found.recorded.dtype}, {found.format}"
        )
        alike.setdefault(told, []).append(state.name)
        for note in found.notes:
            notes.setdefault(note, []).append(state.name)
    for name, lines in (("projections", alike), ("note", notes)):
        for told, states in lines.items():
            everywhere = len(states) == len(scans.recipe.states)
            yield [name, told if everywhere else f"{', '.join(states)}: {told}"]


def _frames(stacks: Sequence[FrameStack]) -> int:
    """Return how many frames were recorded; those that stand for none do not count."""
    return sum(len(each.frames) for each in stacks if not isinstance(each.frames.stack, Uniform))
