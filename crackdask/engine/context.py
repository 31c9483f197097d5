"""What a step finds when it is its turn: the scans, the results before it, volumes to read and to write, the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crackdask.arrays import Floats, Singles
from crackdask.blocks.passes import Array, Pass
from crackdask.engine.block_plan import Plan
from crackdask.engine.checkpoints import Work
from crackdask.engine.executors import Executor
from crackdask.engine.pass_runner import Engine, Readable
from crackdask.engine.progress import Progress
from crackdask.engine.retries import Retries
from crackdask.engine.scans import Scans, is_large
from crackdask.engine.work_units import Unit, labelled_by
from crackdask.grid import Grid, Triple
from crackdask.recipe.recipe import Recipe, RecipeError
from crackdask.schema import UnitKey
from crackdask.sources import SourceError
from crackdask.steps.denoise import NoiseError
from crackdask.steps.measure import TooDeepError
from crackdask.steps.projection_slabs import sinogram_chunk, slab_rows
from crackdask.steps.reconstruct import sinogram_type
from crackdask.steps.registration_parameters import RegistrationError
from crackdask.steps.registry import KEPT_ON_REQUEST, STORED, VOLUMES
from crackdask.storage.locations import Place, PlaceError
from crackdask.store import root
from crackdask.store.arrays import Axes, Compression
from crackdask.store.root import StoreError
from crackdask.store.volumes import Volume, make_volume, volume

#: Bytes of the tables of a unit that are kept at hand.
_SMALL = 2**16


class ResultError(ValueError):
    """A step's result cannot be right; the message says what was found and the way out."""


class CenterError(ResultError):
    """No center of a state's projections can be believed.

    Attributes
    ----------
    state, number
        Name and number of the state.
    center, centers, images
        The middle of what was found, and slices (center, y, x) about it and others, to be looked at.
    """

    def __init__(self, words: str, state: str, number: int, center: float, centers: Floats, images: Singles) -> None:
        super().__init__(words)
        self.state, self.number = state, number
        self.center, self.centers, self.images = center, centers, images


#: Mistakes of the user's: no second try can mend them.
USER_ERRORS: tuple[type[BaseException], ...] = (
    RecipeError,
    SourceError,
    StoreError,
    ResultError,
    RegistrationError,
    TooDeepError,
    NoiseError,
    PlaceError,
)


@dataclass
class RunContext:
    """What the steps of one recipe work with, on the way into one store."""

    scans: Scans
    path: Place
    executor: Executor
    progress: Progress
    work: Work = field(init=False)
    engine: Engine = field(init=False)
    plan: Plan = field(init=False)
    #: Tables of units that were done in this run and are written down nowhere.
    held: dict[UnitKey, dict[str, Array]] = field(default_factory=dict, init=False)
    #: Small tables of finished units, which are asked for again and again; those of one that is redone go.
    at_hand: dict[UnitKey, dict[str, Array]] = field(default_factory=dict, init=False)
    #: Names of work volumes that may be there: while this run holds the store, nobody else makes any.
    lying: set[str] | None = field(default=None, init=False)
    #: Volumes kept on request that the store has; of a store that this run does not hold, that is asked each time.
    kept: frozenset[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Plan the blocks, and into which files they go."""
        self.scans = self.scans.laid_out(_identity_at(self.path))
        recipe = self.scans.recipe
        self.work = Work.beside(self.path)
        self.plan = self.scans.plan(self.executor.workers)
        self.engine = Engine(self.work, self.executor, self.progress, Retries(recipe.compute.retries, USER_ERRORS))

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.scans.recipe

    @property
    def grid(self) -> Grid:
        """The blocks of the stored volume."""
        return self.plan.grid

    @property
    def axes(self) -> Axes:
        """Coordinates of the store."""
        return axes_of(self.recipe, self.scans.shape)

    def is_stored(self, volume: str) -> bool:
        """Tell whether a volume belongs to the store; once it does it stays, or it would fall behind its recipe."""
        if volume not in KEPT_ON_REQUEST:
            return volume in STORED
        if self.recipe.compute.keep_intermediate:
            return True
        return volume in self.kept if self.kept is not None else self._keeps(volume)

    def _keeps(self, volume: str) -> bool:
        return (self.path / "volumes" / volume / "zarr.json").is_file()

    def hold(self) -> None:
        """Take what is there for given: from now on only this run changes it."""
        self.lying = set(self.work.volumes())
        self.kept = frozenset(filter(self._keeps, KEPT_ON_REQUEST))

    def result(self, step: str, state: int | None = None) -> dict[str, Array]:
        """Return the tables that a step left of a state, where not given of the reference."""
        return self.result_of(UnitKey(step, self.recipe.reference if state is None else state))

    def result_of(self, unit: UnitKey) -> dict[str, Array]:
        """Return the tables of a finished unit."""
        if unit in self.held:
            return self.held[unit]
        if unit in self.at_hand:
            return dict(self.at_hand[unit])
        result = self.work.result(unit)
        if result is None:
            raise AssertionError(f"{unit} is not done")
        self.keep_at_hand(unit, result[1])
        return result[1]

    def keep_at_hand(self, unit: UnitKey, tables: Mapping[str, Array]) -> None:
        """Keep the tables of a finished unit for who asks for them, if they are small."""
        found = {name: np.asarray(values, order="C") for name, values in tables.items()}
        if sum(values.nbytes for values in found.values()) <= _SMALL:
            self.at_hand[unit] = found

    @property
    def particles(self) -> int:
        """How many particles the reference has: labels go from 1 to this number."""
        return int(self.result("labels")["particles"][0])

    def labels_of(self, state: int) -> dict[str, Array]:
        """Return the tables of the unit that labelled a state."""
        return self.result_of(labelled_by(state, self.recipe.reference))

    def volume(self, name: str, state: int) -> Volume:
        """Return a volume of the store or the work folder, made if it is not there."""
        compute = self.recipe.compute
        if "/" in name or self.is_stored(name):
            return volume(self.path, name, state)
        shape, dtype, chunk = self._form(name, state)
        compression = Compression.of_work(dtype, compressed=compute.compression != "none")
        # As for the store: few files where volumes are large, and where the recipe asks for them.
        shard = compute.shard if VOLUMES[name].shaped == "store" and is_large(shape) else None
        place = self.work.volume(name, state)
        sought = self.lying is None or place.name in self.lying
        made = make_volume(place, shape, dtype, chunk, compression, shard, sought=sought)
        if self.lying is not None:
            self.lying.add(place.name)
        return made

    def _form(self, name: str, state: int) -> tuple[Triple, str, Triple]:
        """Return shape, dtype and chunks of a volume of the work folder."""
        made, source = VOLUMES[name], self.scans.sources[state]
        if made.shaped == "store":
            return self.scans.shape, str(made.dtype), self.plan.chunk
        dtype = source.dtype.newbyteorder("=").str if made.dtype is None else str(made.dtype)
        if made.shaped == "scan":
            return source.shape, dtype, self.plan.raw_chunk
        projections = self.scans.projections(state)
        if projections is None:
            raise AssertionError(f"{name} is made of projections, and state {state} has none")
        frames = projections.recorded
        if made.shaped == "slabs":
            return source.shape, dtype, (slab_rows(frames.shape), self.plan.raw_chunk[1], source.shape[2])
        counts = sinogram_type(frames.dtype, self.recipe.reconstruct)
        return frames.shape, counts.str, sinogram_chunk(frames.shape, counts.itemsize)

    def passes(
        self,
        unit: Unit,
        passes: Sequence[Pass],
        inputs: Mapping[str, Readable],
        looked_up: Mapping[str, Array] | None = None,
        grid: Grid | None = None,
    ) -> dict[str, Array]:
        """Run the passes of a unit; what they write goes to this state's volumes."""
        outputs = {name: self.volume(name, unit.state) for each in passes for name in each.writes}
        return self.engine.run(
            unit.key,
            self.scans.fingerprints[unit.key],
            passes,
            grid or self.grid,
            inputs,
            outputs,
            looked_up or {},
        )


def _identity_at(path: Place) -> Mapping[str, Any] | None:
    """Return what makes a store its experiment's; None where there is none, or none that can be read."""
    with suppress(StoreError, PlaceError, OSError):  # of which those tell who open it
        if not root.is_there(path) and not root.has_remains(path):
            return None
        told = (root.kept_root(path) or {}) if root.broken(path) else root.attributes(path)
        return told.get("identity")
    return None


def axes_of(recipe: Recipe, shape: Triple) -> Axes:
    """Return the coordinates of a recipe's store, whose volumes are of some shape."""
    states = recipe.states
    return Axes(
        tuple(s.name for s in states),
        tuple(s.voltage for s in states),
        tuple(s.step for s in states),
        tuple(s.cycle for s in states),
        shape,
        recipe.experiment.voxel_um,
    )
