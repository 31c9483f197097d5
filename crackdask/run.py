"""The whole way, in order: from the scans of a recipe to the tables of a store.

Reading `_PERFORM` is reading the method section of the paper. The run is handed an executor and never makes one; it
may be killed at any moment and called again.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np

from crackdask import schema, store
from crackdask.blocks import Array, Pass
from crackdask.cluster import Executor
from crackdask.config import Recipe, RecipeError
from crackdask.damage import commonest
from crackdask.denoise import noise_passes
from crackdask.denoise import passes as denoise_passes
from crackdask.engine import BlocksFailedError, Engine, Failure, Progress, Readable
from crackdask.grey import Resampling, auto_window, peaks, to_reference
from crackdask.grey import passes as grey_passes
from crackdask.labels import passes as labels_passes
from crackdask.mask import otsu
from crackdask.mask import passes as mask_passes
from crackdask.measure import TooDeepError, contacts, deepest_shell, finalise
from crackdask.measure import passes as measure_passes
from crackdask.plan import Box, Grid, Triple, check_single_writer
from crackdask.planning import Plan, plan_blocks
from crackdask.profile import Cost
from crackdask.read import histogram_of, levels
from crackdask.read import passes as read_passes
from crackdask.register import Level, RegistrationError, register
from crackdask.sources import Source, SourceError, open_source
from crackdask.store import Compression, DamagedError, StoreError, Volume
from crackdask.tables import TableWriter, ranges
from crackdask.track import track
from crackdask.transfer import CARRIED
from crackdask.transfer import passes as transfer_passes
from crackdask.units import (
    DTYPES,
    INTERNAL,
    KEPT_ON_REQUEST,
    MEASURED,
    STORED,
    Unit,
    VolumeKey,
    fingerprints,
    outstanding,
    units,
)
from crackdask.work import Work


class ResultError(ValueError):
    """A step's result cannot be right; the message says what was found and the way out."""


#: Mistakes of the user's: no second try can mend them.
USER_ERRORS: tuple[type[BaseException], ...] = (
    RecipeError,
    SourceError,
    StoreError,
    ResultError,
    RegistrationError,
    TooDeepError,
)
#: Libraries whose versions a store remembers.
_LIBRARIES = ("numpy", "dask", "distributed", "zarr", "xarray", "scikit-image", "SimpleITK", "numba", "edt", "scipy")


@dataclass(frozen=True)
class Scans:
    """The opened scans of a recipe and what follows from their headers alone."""

    recipe: Recipe
    sources: tuple[Source, ...]
    crop: Box

    @classmethod
    def of(cls, recipe: Recipe, base: Path) -> Scans:
        """Open every scan of a recipe; no voxel is read.

        Raises
        ------
        RecipeError
            If a scan cannot be used, naming every one.
        """
        opened: list[Source] = []
        wrong: list[str] = []
        for number, state in enumerate(recipe.states):
            try:
                opened.append(open_source(state.source, base))
            except SourceError as error:
                wrong.append(f"  states[{number}].source ({state.name}): {error}")
        if wrong:
            raise RecipeError("\n".join([f"{len(wrong)} of {len(recipe.states)} scans cannot be used", *wrong]))
        shapes = {source.shape for source in opened}
        if len(shapes) > 1:
            found = "".join(
                f"\n  {state.name}: {' x '.join(map(str, source.shape))}"
                for state, source in zip(recipe.states, opened, strict=True)
            )
            raise RecipeError(
                f"the scans have different shapes (z, y, x):{found}\ncut or pad them to one shape, or leave a state out"
            )
        limits = recipe.crop_of(opened[0].shape)
        (z0, z1), (y0, y1), (x0, x1) = limits
        return cls(recipe, tuple(opened), Box((z0, y0, x0), (z1, y1, x1)))

    @property
    def shape(self) -> Triple:
        """Shape of the stored volume."""
        return self.crop.shape

    def plan(self, workers: int) -> Plan:
        """Return the blocks for a number of workers."""
        widest = max((source.dtype for source in self.sources), key=lambda dtype: dtype.itemsize)
        return plan_blocks(self.recipe, self.sources[0].shape, self.shape, widest, workers)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of every unit."""
        return fingerprints(self.recipe, [source.fingerprint() for source in self.sources], self.shape)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: what was done, what was there already, what failed, and what that keeps from being done."""

    done: tuple[str, ...]
    skipped: int
    failures: tuple[Failure, ...]
    blocked: tuple[str, ...]
    cause: BaseException | None = None


@dataclass
class Run:
    """One run of a recipe into a store."""

    scans: Scans
    path: Path
    executor: Executor
    progress: Progress
    work: Work = field(init=False)
    engine: Engine = field(init=False)
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        """Plan the blocks."""
        recipe = self.scans.recipe
        self.work = Work.beside(self.path)
        self.plan = self.scans.plan(self.executor.workers)
        self.engine = Engine(self.work, self.executor, self.progress, recipe.compute.retries, USER_ERRORS)

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.scans.recipe

    @property
    def grid(self) -> Grid:
        """The blocks of the stored volume."""
        return self.plan.grid

    def __call__(self, until: str | None = None) -> Outcome:
        """Do what is not done, up to and including a step."""
        self._check_place()
        with self.work.held():
            self._open_store()
            self.work.note("planned", self.scans.fingerprints)
            todo = self.outstanding(until)
            plan = [unit for unit in units(self.recipe) if until is None or _upto(unit, until)]
            self._clean({unit.name for unit in todo})  # a run that was killed may not have come to it
            if not todo:
                if until is None and not store.attributes(self.path).get("complete"):
                    self._mark(complete=True)
                return Outcome((), len(plan), (), ())
            self._mark(complete=False)
            self.work.note("failed", [])
            outcome = self._perform_mending(todo, len(plan) - len(todo), until)
            if not outcome.failures and until is None:
                self._mark(complete=True)
            return outcome

    def outstanding(self, until: str | None = None) -> list[Unit]:
        """Return the units that are to be done."""
        plan = units(self.recipe)
        if self._says_complete(plan):
            return []
        done = {u.name for u in plan if self._is_done(u)}
        there = {
            key
            for u in plan
            for key in u.writes
            if (u.name in done and key[0] in self.result(u.name)["stored"]) or self.work.volume(*key).exists()
        }
        kept = {key for u in plan for key in u.writes if key[0] in KEPT_ON_REQUEST and self._is_stored(key[0])}
        return outstanding(plan, done, there, until, kept)

    def _says_complete(self, plan: Sequence[Unit]) -> bool:
        """Tell whether the store alone vouches for every unit: its work folder may have been deleted."""
        facts = store.attributes(self.path)
        steps = facts.get("steps", {})
        return (
            bool(facts.get("complete"))
            and not self.work.has_results()
            and not self.recipe.compute.keep_intermediate
            and all(steps.get(u.name, {}).get("fingerprint") == self.scans.fingerprints[u.name] for u in plan)
        )

    def _perform_mending(self, todo: Sequence[Unit], skipped: int, until: str | None) -> Outcome:
        """Do units; where the disk damaged what one of them wrote, that one is done again, once."""
        done: list[str] = []
        mended: set[str] = set()
        while True:
            try:
                return self._perform(todo, skipped, done)
            except DamagedError as error:
                maker = next(u for u in units(self.recipe) if (error.name, error.state) in _made_by(u))
                if maker.name in mended:
                    raise
                mended.add(maker.name)
                self.progress.warn(maker.name, f"{error.found}; it is made anew")
                self.work.forget(maker.name)
                self.work.drop_records(maker.name)
                if not self._is_stored(error.name):
                    self.work.drop_volume(error.name, error.state)
                todo = self.outstanding(until)
                again = {unit.name for unit in todo}
                done = [name for name in done if name not in again]

    def _perform(self, todo: Sequence[Unit], skipped: int, done: list[str]) -> Outcome:
        failures: list[Failure] = []
        blocked: list[str] = []
        cause: BaseException | None = None
        spoilt: set[str | VolumeKey] = set()
        for unit in todo:
            if spoilt.intersection(unit.needs) or spoilt.intersection(unit.reads):
                blocked.append(unit.name)
                spoilt.update([unit.name, *unit.writes])
                continue
            try:
                self._do(unit)
            except BlocksFailedError as error:
                failures += error.failures
                cause = cause or error.cause
                spoilt.update([unit.name, *unit.writes])
                self.work.note("failed", [_as_json(failure) for failure in failures])
                continue
            done.append(unit.name)
            self._clean({u.name for u in todo} - set(done))
        return Outcome(tuple(done), skipped, tuple(failures), tuple(blocked), cause)

    def _do(self, unit: Unit) -> None:
        started = time.perf_counter()
        self.work.forget(unit.name)
        found = _PERFORM[unit.step](self, unit)
        stored = np.array([name for name, _ in unit.writes if self._is_stored(name)], "U")
        seconds = time.perf_counter() - started
        steps = dict(store.attributes(self.path).get("steps", {}))
        cost = Cost.of(report for name, _, report in self.engine.reports if name == unit.name)
        steps[unit.name] = {
            "fingerprint": self.scans.fingerprints[unit.name],
            "seconds": round(seconds, 3),
            "cost": cost.as_dict(),
        }
        store.set_attributes(self.path, {"steps": steps})
        self.work.finish(unit.name, self.scans.fingerprints[unit.name], {**found, "stored": stored})
        self.progress.end(unit.name, seconds)

    def _clean(self, left: set[str]) -> None:
        """Remove work volumes that no unit will read any more, or go on writing."""
        plan = units(self.recipe)
        undone = {
            u.name for u in plan if u.name in left or self.work.fingerprint(u.name) != self.scans.fingerprints[u.name]
        }
        awaited = {key for u in plan if u.name in undone for key in (*u.reads, *u.writes)}
        for unit in plan:
            for key in unit.writes:
                if key not in awaited and not self._is_stored(key[0]):
                    self.work.drop_volume(*key)
            if unit.name not in undone:
                self.work.drop_records(unit.name)
                for name in INTERNAL.get(unit.step, ()):
                    self.work.drop_volume(name, unit.state)

    # ------------------------------------------------------------ what is there

    def _is_done(self, unit: Unit) -> bool:
        found = self.work.result(unit.name)
        return found is not None and found[0] == self.scans.fingerprints[unit.name]

    def _is_stored(self, volume: str) -> bool:
        """Tell whether a volume belongs to the store; once it does it stays, or it would fall behind its recipe."""
        kept = self.recipe.compute.keep_intermediate or (self.path / "volumes" / volume).exists()
        return volume in STORED or (volume in KEPT_ON_REQUEST and kept)

    def result(self, name: str) -> dict[str, Array]:
        """Return the tables of a finished unit."""
        found = self.work.result(name)
        if found is None:
            raise AssertionError(f"{name} is not done")
        return found[1]

    def volume(self, name: str, state: int) -> Volume:
        """Return a volume of the store or the work folder, made if it is not there."""
        compute = self.recipe.compute
        if self._is_stored(name):
            return store.volume(self.path, name, state)
        compression = Compression("lz4" if compute.compression != "none" else "none", 1)
        if name == "raw":
            source = self.scans.sources[state]
            native = source.dtype.newbyteorder("=").str
            return store.make_volume(
                self.work.volume(name, state), source.shape, native, self.plan.raw_chunk, compression
            )
        return store.make_volume(
            self.work.volume(name, state), self.scans.shape, DTYPES[name], self.plan.chunk, compression
        )

    def passes(
        self,
        unit: Unit,
        steps: Sequence[Pass],
        inputs: Mapping[str, Readable],
        looked_up: Mapping[str, Array] | None = None,
        grid: Grid | None = None,
    ) -> dict[str, Array]:
        """Run the passes of a unit; what they write goes to this state's volumes."""
        outputs = {name: self.volume(name, unit.state) for step in steps for name in step.writes}
        return self.engine.run(
            unit.name,
            self.scans.fingerprints[unit.name],
            steps,
            grid or self.grid,
            inputs,
            outputs,
            looked_up or {},
        )

    # ------------------------------------------------------------ the store

    def _open_store(self) -> None:
        if (self.path / "zarr.json").exists():
            self._check_store()
            store.tidy(self.path)
            missing = [n for n in self._volumes() if not (self.path / "volumes" / n / "zarr.json").exists()]
            if missing:
                store.add_volumes(self.path, self.axes, {n: self._volumes()[n] for n in missing}, **self._layout())
            return
        store.create(self.path, self.axes, self._volumes(), values=self._facts(), **self._layout())

    def _check_place(self) -> None:
        """Refuse a place that holds something else, before anything is made beside it."""
        if (self.path / "zarr.json").exists():
            store.attributes(self.path)
        elif self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is a file, not a store; choose another place with --store")
        elif self.path.exists() and any(self.path.iterdir()):
            raise StoreError(f"{self.path} is not empty and not a store; choose another place with --store")

    def _check_store(self) -> None:
        found = store.attributes(self.path)
        identity = _identity(self.recipe, self.scans.shape)
        if found.get("identity") != identity:
            there = found.get("identity", {})
            differs = "".join(
                f"\n  {key}: {there.get(key)} in the store, {value} in the recipe"
                for key, value in identity.items()
                if there.get(key) != value
            )
            raise StoreError(
                f"{self.path} was made by another recipe:{differs}\nchoose another --store, or remove this one and "
                f"{Work.beside(self.path).folder.name} beside it"
            )
        store.set_attributes(self.path, self._facts())

    def _volumes(self) -> dict[str, str]:
        kept = KEPT_ON_REQUEST if self.recipe.compute.keep_intermediate else ()
        return {name: schema.VOLUMES[name].dtype for name in (*STORED, *kept)}

    def _layout(self) -> dict[str, Any]:
        compute = self.recipe.compute
        check_single_writer(self.grid, compute.shard or compute.chunk)
        return {
            "chunk": compute.chunk,
            "shard": compute.shard,
            "compression": Compression(compute.compression, compute.level),
        }

    @property
    def axes(self) -> store.Axes:
        """Coordinates of the store."""
        states = self.recipe.states
        return store.Axes(
            tuple(s.name for s in states),
            tuple(s.voltage for s in states),
            tuple(s.step for s in states),
            tuple(s.cycle for s in states),
            self.scans.shape,
            self.recipe.experiment.voxel_um,
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "format_version": schema.FORMAT_VERSION,
            "crackdask_version": importlib.metadata.version("crackdask"),
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES}
            | {"python": platform.python_version()},
            "recipe": self.recipe.as_dict(),
            "identity": _identity(self.recipe, self.scans.shape),
        }

    def _mark(self, *, complete: bool) -> None:
        store.set_attributes(self.path, {"complete": complete})
        store.consolidate(self.path)


def _made_by(unit: Unit) -> tuple[VolumeKey, ...]:
    return (*unit.writes, *((name, unit.state) for name in INTERNAL.get(unit.step, ())))


def _upto(unit: Unit, until: str) -> bool:
    return schema.STEPS.index(unit.step) <= schema.STEPS.index(until)


def _identity(recipe: Recipe, shape: Triple) -> dict[str, Any]:
    """Return what makes a store this experiment's: another value is another experiment."""
    return {
        "experiment": recipe.experiment.name,
        "voxel_um": list(recipe.experiment.voxel_um),
        "states": [state.name for state in recipe.states],
        "shape": list(shape),
        "chunk": list(recipe.compute.chunk),
        "shard": list(recipe.compute.shard) if recipe.compute.shard else None,
    }


def _as_json(failure: Failure) -> dict[str, Any]:
    return {
        "unit": failure.unit,
        "pass": failure.step,
        "block": failure.number,
        "start": list(failure.box.start),
        "stop": list(failure.box.stop),
        "error": failure.error,
    }


# ---------------------------------------------------------------- the steps


def _read(run: Run, unit: Unit) -> dict[str, Array]:
    source, state = run.scans.sources[unit.state], run.recipe.states[unit.state]
    steps = read_passes(state.name, source.dtype, source.shape, run.recipe.experiment.fill, run.scans.crop)
    return run.passes(unit, steps, {"source": source}, grid=run.plan.slabs)


def _register(run: Run, unit: Unit) -> dict[str, Array]:
    ref, params = run.recipe.reference, run.recipe.register_
    shape = run.scans.sources[unit.state].shape
    if unit.state == ref or params.transform == "none":
        matrix, residual = np.eye(4), 0.0
        used = blocks = 0
    else:
        run.progress.begin(unit.name, "register", 0, 1)
        try:
            found = register(
                _levels(run, ref),
                _levels(run, unit.state),
                run.volume("raw", ref).read,
                run.volume("raw", unit.state).read,
                shape,
                shape,
                params,
                spacing=run.recipe.experiment.voxel_um,
                fill=run.recipe.experiment.fill,
                apply=partial(run.engine.in_order, unit.name, "register"),
            )
        except RegistrationError as error:
            states = run.recipe.states
            raise RegistrationError(f"state {states[unit.state].name!r} onto {states[ref].name!r}: {error}") from error
        matrix, residual, used, blocks = found.matrix, found.residual_voxels, found.n_used, found.n_blocks
    cropped = np.eye(4)
    cropped[:3, 3] = run.scans.crop.start
    return {
        "matrix": matrix @ cropped,
        "residual_voxels": np.array(residual),
        "matched": np.array([used, blocks]),
    }


def _levels(run: Run, state: int) -> list[Level]:
    found, fill = run.result(f"read-{state}"), run.recipe.experiment.fill
    made = []
    for factor in levels(run.scans.sources[state].shape):
        voxels = found[f"level_{factor}"]
        valid = None if fill is None else (~np.isnan(voxels) if np.isnan(fill) else voxels != fill)
        made.append(Level(factor, voxels, valid))
    return made


def _grey(run: Run, unit: Unit) -> dict[str, Array]:
    params, ref = run.recipe.grey, run.recipe.reference
    reference = histogram_of(run.result(f"read-{ref}"))
    if params.window == "auto":
        low, high = auto_window(reference.percentile(0.1), reference.percentile(99.9))
    else:
        low, high = params.window
    gain, offset = 1.0, 0.0
    if params.normalise == "peaks":
        own = histogram_of(run.result(f"read-{unit.state}"))
        gain, offset = to_reference(peaks(own.centres, own.counts), peaks(reference.centres, reference.counts))
    matrix = run.result(f"register-{unit.state}")["matrix"]
    resampling = Resampling(
        tuple(tuple(row) for row in matrix.tolist()),
        run.scans.sources[unit.state].shape,
        low,
        high,
        gain,
        offset,
        run.recipe.experiment.fill,
    )
    steps = grey_passes(params, resampling)
    found = run.passes(unit, steps, {"raw": run.volume("raw", unit.state)})
    if not found["grey_voxels"][0]:
        raise ResultError(
            f"state {run.recipe.states[unit.state].name!r} has no voxel inside the crop: "
            "check [crop], fill and the transform (`crackdask status` shows it)"
        )
    return found | {"window": np.array([low, high]), "normalised": np.array([gain, offset])}


def _denoise(run: Run, unit: Unit) -> dict[str, Array]:
    ref = run.recipe.reference
    steps, known = denoise_passes(run.recipe.denoise), {}
    if unit.state == ref:
        steps = (*noise_passes(), *steps)
    else:
        known = {"noise": run.result(f"denoise-{ref}")["noise"]}
    return run.passes(unit, steps, {"grey": run.volume("grey", unit.state)}, known)


def _mask(run: Run, unit: Unit) -> dict[str, Array]:
    params = run.recipe.mask
    decides = unit.state if params.per_state else run.recipe.reference
    counts = run.result(f"denoise-{decides}")["denoised_histogram"]
    threshold = otsu(counts) if params.threshold == "otsu" else float(params.threshold)
    found = run.passes(
        unit,
        mask_passes(params),
        {"denoised": run.volume("denoised", unit.state)},
        {"threshold": np.array(threshold)},
    )
    inside, total = int(found["mask_voxels"]), int(found["scan_voxels"])
    if inside in (0, total):
        name = run.recipe.states[unit.state].name
        what = "nothing" if inside == 0 else "everything"
        seen = run.result(f"denoise-{unit.state}")["denoised_histogram"]
        bright = int(seen[floor(threshold) + 1 :].sum())
        alone = bright if params.phase == "bright" else total - bright
        if alone in (0, total):
            raise ResultError(
                f"the threshold {threshold:g} leaves {what} of state {name!r} as particles ({inside} of {total} "
                f"voxels); the denoised grey levels are {_spread(seen)}: set [mask] threshold between background "
                "and particles, or phase"
            )
        left = f"the threshold {threshold:g} leaves {alone} of {total} voxels of state {name!r}"
        if inside == 0:
            removers = f"opening = {params.opening} and min_island = {params.min_island}"
            raise ResultError(f"no particle was found: {left}, and {removers} remove them all; lower them under [mask]")
        fillers = f"closing = {params.closing} and max_hole = {params.max_hole}"
        raise ResultError(f"no background is left: {left}, and {fillers} fill the rest; lower them under [mask]")
    kept = ("mask_voxels", "scan_voxels", "threshold")
    return {name: found[name] for name in kept}


def _spread(counts: Array) -> str:
    below = np.cumsum(counts[1:])
    low, middle, high = (int(np.searchsorted(below, q * below[-1])) + 1 for q in (0.01, 0.5, 0.99))
    return f"{low} to {high} (1 to 99 per cent, median {middle})"


def _labels(run: Run, unit: Unit) -> dict[str, Array]:
    steps = labels_passes(run.recipe.labels, run.recipe.experiment.voxel_um)
    found = run.passes(unit, steps, {"mask": run.volume("mask", unit.state)})
    if not int(found["particles"][0]):
        raise ResultError(
            "no particle was found in the reference: check [mask] threshold, phase and min_island, "
            "or keep_intermediate and look at `mask`"
        )
    _warn_of_caps(run, unit, found)
    return {name: found[name] for name in (*CARRIED, "deepest", "particles", "capped_voxels")}


def _warn_of_caps(run: Run, unit: Unit, found: Mapping[str, Array]) -> None:
    capped, cap = int(found["capped_voxels"][0]), run.recipe.labels.max_radius
    if capped:
        run.progress.warn(
            unit.name,
            f"{capped} voxels are at least {cap} voxels deep, where depth is capped; "
            f"raise [labels] max_radius above {cap} if particles are that large",
        )


def _transfer(run: Run, unit: Unit) -> dict[str, Array]:
    name, source = next(key for key in unit.reads if key[0] == "label")
    ref = run.recipe.reference
    before = run.result(f"labels-{source}" if source == ref else f"transfer-{source}")
    steps = transfer_passes(run.recipe.transfer, run.recipe.labels, run.recipe.experiment.voxel_um)
    inputs = {
        "mask": run.volume("mask", unit.state),
        "previous_label": run.volume(name, source),
        "previous_depth": run.volume("depth", source),
    }
    found = run.passes(unit, steps, inputs, {name: before[name] for name in CARRIED})
    _warn_of_caps(run, unit, found)
    return {name: found[name] for name in (*CARRIED, "deepest", "capped_voxels")}


def _measure(run: Run, unit: Unit) -> dict[str, Array]:
    ref = run.recipe.reference
    labelled = run.result(f"labels-{ref}" if unit.state == ref else f"transfer-{unit.state}")
    voxel_um = run.recipe.experiment.voxel_um
    steps = measure_passes(run.recipe.measure, voxel_um, max(1, int(labelled["deepest"][0])))
    inputs = {"grey": run.volume("grey", unit.state), "label": run.volume("label", unit.state)}
    try:
        run.passes(unit, steps, inputs)
    except TooDeepError as error:
        wanted = _depth_bound(run, unit.state, error.particle)
        raise ResultError(
            f"particle {error.particle} is deeper in state {run.recipe.states[unit.state].name!r} than [labels] "
            f"max_radius = {run.recipe.labels.max_radius} voxels: raise max_radius to {wanted}, or correct [mask] "
            "if no particle is that large"
        ) from error
    tallies = run.engine.records(unit.name, steps[0].name, run.scans.fingerprints[unit.name], run.grid, {})
    particles = int(run.result(f"labels-{ref}")["particles"][0])
    shells = deepest_shell(tallies)
    run.work.drop_volume(MEASURED, unit.state)
    for ids in ranges(particles):
        groups = finalise(tallies, ids, voxel_um, shells)
        run.work.put_part(MEASURED, unit.state, ids.start, _flat(groups))
    return {"shells": np.array(shells)} | contacts(tallies, voxel_um)


def _depth_bound(run: Run, state: int, particle: int) -> int:
    """Return a depth, in voxels of the smallest edge, that a particle cannot exceed: half its narrowest side."""
    label, edges = run.volume("label", state), run.recipe.experiment.voxel_um
    low, high = np.array(run.grid.shape), np.zeros(3, int)
    for box in run.grid:
        for axis, there in enumerate(np.nonzero(label.read(box) == particle)):
            if there.size:
                low[axis] = min(low[axis], box.start[axis] + int(there.min()))
                high[axis] = max(high[axis], box.start[axis] + int(there.max()) + 1)
    return ceil(min((high - low + 1) / 2 * edges) / min(edges)) + 1


def _flat(groups: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    return {f"{group}.{name}": v for group, columns in groups.items() for name, v in columns.items()}


def _nested(columns: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    made: dict[str, dict[str, Array]] = {}
    for path, values in columns.items():
        group, name = path.split(".")
        made.setdefault(group, {})[name] = values
    return made


def _track(run: Run, unit: Unit) -> dict[str, Array]:
    """Write the tables of all states, and tell which particles can be followed."""
    states = range(len(run.recipe.states))
    particles = int(run.result(f"labels-{run.recipe.reference}")["particles"][0])
    measured = [run.result(f"measure-{s}") for s in states]
    widest = max(int(found["shells"]) for found in measured)
    run.progress.begin(unit.name, "tables", 0, len(states))
    writer = TableWriter(run.path, run.axes, particles, widest)
    seen = {name: np.zeros((len(states), particles), np.int64) for name in _FOLLOWED}
    for s in states:
        for ids in ranges(particles):
            groups = _nested(run.work.part(MEASURED, s, ids.start))
            for name, values in groups["shells"].items():
                missing = widest - values.shape[1]
                groups["shells"][name] = np.pad(values, ((0, 0), (0, missing)))
            for name, column in seen.items():
                column[s, ids.start - 1 : ids.stop - 1] = groups["particles"][name]
            writer.write(s, ids, groups)
    flags = track(
        seen["voxels"],
        seen["touches_border"] > 0,
        seen["touches_invalid"] > 0,
        [(found["particle_a"], found["particle_b"]) for found in measured],
    )
    writer.write_flags(flags)
    writer.write_contacts(measured)
    transforms = [run.result(f"register-{s}") for s in states]
    writer.write_transforms(
        np.array([found["matrix"] for found in transforms]),
        np.array([found["residual_voxels"] for found in transforms]),
    )
    store.set_attributes(run.path, {"found": _found(run)})
    writer.close()
    return {name: np.array(np.count_nonzero(flag)) for name, flag in flags.items()}


def _found(run: Run) -> dict[str, Any]:
    """Return the whole-volume numbers of a run, for people: window, noise, threshold, share of clipped voxels."""
    ref, names = run.recipe.reference, [state.name for state in run.recipe.states]
    greys = [run.result(f"grey-{s}") for s in range(len(names))]
    return {
        "window": greys[ref]["window"].tolist(),
        "noise": float(run.result(f"denoise-{ref}")["noise"]),
        **_phases(run),
        "threshold": {name: float(run.result(f"mask-{s}")["threshold"]) for s, name in enumerate(names)},
        "clipped_share": {
            name: (found["grey_voxels"][1:] / found["grey_voxels"][0]).tolist()
            for name, found in zip(names, greys, strict=True)
        },
        "capped_voxels": {
            name: int(run.result(f"labels-{s}" if s == ref else f"transfer-{s}")["capped_voxels"][0])
            for s, name in enumerate(names)
        },
    }


def _phases(run: Run) -> dict[str, float | None]:
    """Return the commonest grey levels of background and solid in the reference, None where they cannot be told."""
    ref = run.recipe.reference
    counts = run.result(f"denoise-{ref}")["denoised_histogram"]
    parted = floor(float(run.result(f"mask-{ref}")["threshold"])) + 1
    both = (commonest(counts, 1, parted), commonest(counts, parted, counts.size))
    background, solid = both if run.recipe.mask.phase == "bright" else both[::-1]
    return {"background": background, "solid": solid}


_FOLLOWED = ("voxels", "touches_border", "touches_invalid")

_PERFORM: Mapping[str, Callable[[Run, Unit], dict[str, Array]]] = {
    "read": _read,
    "register": _register,
    "grey": _grey,
    "denoise": _denoise,
    "mask": _mask,
    "labels": _labels,
    "transfer": _transfer,
    "measure": _measure,
    "track": _track,
}
