"""One crop of a scan under several values of the recipe's keys, each made by a run of its own steps.

All variants run into one store in a temporary folder, one after the other: what a value does not decide is kept from
the one before. So a picture shows the bits of a run of that crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from crackdask.analysis.variants import Variant
from crackdask.engine.executors import Serial
from crackdask.engine.progress import Silent
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.grid import Box, Triple
from crackdask.recipe.recipe import Recipe, RecipeError, check
from crackdask.recipe.sweep import Sweep
from crackdask.sources.windows import Window

#: Voxels of the box that is looked at where none is given, and around it what the registration of a state may need.
USUAL_BOX: Triple = (48, 192, 192)
AROUND = 24
_MOST_VARIANTS = 36


@dataclass(frozen=True)
class Preview:
    """A crop of some states, and what is tried on it.

    Attributes
    ----------
    scans
        Of the recipe, opened.
    state
        Number of the state that is looked at.
    box
        Voxels of the stored volume.
    sweeps
        What is tried; two make a grid.
    base
        Folder of the recipe.
    """

    scans: Scans
    state: int
    box: Box
    sweeps: tuple[Sweep, ...]
    base: Path

    @classmethod
    def of(cls, scans: Scans, base: Path, state: str | None, box: Box | None, sweeps: Sequence[Sweep]) -> Preview:
        """Check what is asked for.

        Raises
        ------
        RecipeError
            If there is no such state, the box is outside, or keys are tried that do not go together.
        """
        names = [each.name for each in scans.recipe.states]
        if state is not None and state not in names:
            raise RecipeError(f"no state is named {state!r}; there are {', '.join(map(repr, names))}")
        number = scans.recipe.reference if state is None else names.index(state)
        whole = Box.whole(scans.shape)
        chosen = _usual(scans.shape) if box is None else box
        if box is not None and box.intersect(whole) != box:
            ends = ", ".join(f"{axis} 0:{n}" for axis, n in zip("zyx", scans.shape, strict=True))
            raise RecipeError(f"the box {box.start} to {box.stop} reaches outside the volume, which is {ends}")
        if not 1 <= len(sweeps) <= 2:
            raise RecipeError(f"{len(sweeps)} keys are to be tried, wanted one, or two for a grid; --set names them")
        if len({sweep.name for sweep in sweeps}) < len(sweeps):
            raise RecipeError(f"{sweeps[0].name} is tried twice; give all its values in one --set")
        count = int(np.prod([len(sweep.values) for sweep in sweeps]))
        if count > _MOST_VARIANTS:
            raise RecipeError(
                f"{count} pictures are asked for, at most {_MOST_VARIANTS} are to be looked at; try fewer"
            )
        if number == scans.recipe.reference:
            for sweep in sweeps:
                if sweep.section in ("register", "transfer"):
                    other = next((name for name in names if name != names[number]), None)
                    way = f"name another state with --state, such as {other!r}" if other else "the recipe has no other"
                    raise RecipeError(f"{sweep.name} does nothing to the reference: {way}")
        made = scans.projections(number) or scans.projections(scans.recipe.reference)
        for sweep in sweeps:
            if sweep.section == "reconstruct" and not made:
                raise RecipeError(f"{sweep.name} does nothing: {names[number]!r} is a tomogram already")
        if (scans.projections(scans.recipe.reference) is None) != (scans.projections(number) is None):
            raise RecipeError(
                f"the reference and {names[number]!r} are not both projections, or both tomograms; preview a recipe of "
                "states that are alike"
            )
        return cls(scans, number, chosen, tuple(sweeps), base)

    def variants(self, folder: Path, say: Callable[[int, int], None] = lambda done, count: None) -> Iterator[Variant]:
        """Run each combination of values in a folder, and yield what became of it, in order.

        Raises
        ------
        RecipeError
            If a value is none that the recipe may have.
        """
        combined = list(product(*(sweep.values for sweep in self.sweeps)))
        recipes = [self._recipe(values) for values in combined]  # all mistakes before the first voxel
        for done, (values, recipe) in enumerate(zip(combined, recipes, strict=True)):
            say(done, len(combined))
            yield self._run(values, recipe, folder / "preview.zarr")
        say(len(combined), len(combined))

    @property
    def denoised(self) -> bool:
        """Whether pictures show denoised grey levels: where it is that which is tried."""
        return any(sweep.section == "denoise" for sweep in self.sweeps)

    @property
    def _states(self) -> list[int]:
        """Numbers of the states that are run, the reference first."""
        return list(dict.fromkeys([self.scans.recipe.reference, self.state]))

    @property
    def _around(self) -> Box:
        """The box in voxels of the scans, with what a registration may need around it."""
        crop, margin = self.scans.crop, AROUND if len(self._states) > 1 else 0
        shape = self.scans.sources[0].shape
        start = [max(0, c + b - margin) for c, b in zip(crop.start, self.box.start, strict=True)]
        stop = [min(n, c + b + margin) for n, c, b in zip(shape, crop.start, self.box.stop, strict=True)]
        return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]

    def _recipe(self, values: Sequence[Any]) -> Recipe:
        """Return the recipe of a variant: its states, its crop, its values."""
        content = self.scans.recipe.as_dict()
        content["states"] = [content["states"][k] for k in self._states]
        content.pop("electrochemistry", None)
        content["register"] |= {"reference": None}
        content["analyse"] = {}
        content["compute"] |= {"block": "auto", "shard": None, "chunk": [32, 64, 64]}
        content["compute"] |= {"keep_intermediate": self.denoised}
        written = self.scans.recipe.reconstruct
        if written and isinstance(written.center, tuple):  # of all states; and of two, a pair would be a tilted axis
            axes = written.axes(len(self.scans.recipe.states))
            content["reconstruct"]["center"] = [axes[k] for k in self._states]
        local = self._local
        content["crop"] = {axis: [a, b] for axis, a, b in zip("zyx", local.start, local.stop, strict=True)}
        if first := self.scans.projections(self._states[0]):
            # Rows beside each other are reconstructed alone: only those of the box are.
            begin, end = (first.rows[0] + edge for edge in (self._around.start[0], self._around.stop[0]))
            content["reconstruct"] = content["reconstruct"] | {"rows": [begin, end]}
        for sweep, value in zip(self.sweeps, values, strict=True):
            section = dict(content.get(sweep.section) or {})
            content[sweep.section] = section | {sweep.key: value}
        told = ", ".join(f"{sweep.name} = {value!r}" for sweep, value in zip(self.sweeps, values, strict=True))
        return check(content, where=f"the recipe with {told}")

    @property
    def _local(self) -> Box:
        """The box in voxels of what is taken for the scans."""
        begin = self._around.start
        if self.scans.projections(self._states[0]):
            begin = (begin[0], 0, 0)  # slices are made whole
        start = [c + b - a for c, b, a in zip(self.scans.crop.start, self.box.start, begin, strict=True)]
        return Box(tuple(start), tuple(s + n for s, n in zip(start, self.box.shape, strict=True)))  # type: ignore[arg-type]

    def _run(self, values: tuple[Any, ...], recipe: Recipe, store: Path) -> Variant:
        scans = self._opened(recipe)
        run = Run(scans, store, Serial(), Silent())
        last = "labels" if len(self._states) == 1 else "transfer"
        try:
            outcome = run(last)
        except (ValueError, RuntimeError) as error:  # of a step: nothing can come of these values
            return Variant(values, error=str(error))
        if outcome.failures:
            return Variant(values, error=outcome.failures[0].error)
        context, number = run.context, len(self._states) - 1
        whole = Box.whole(scans.shape)
        registered = context.result("register", number)
        return Variant(
            values,
            context.volume("denoised" if self.denoised else "grey", number).read(whole),
            context.volume("label", number).read(whole),
            float(context.result("mask", number)["threshold"]),
            float(registered["residual_voxels"]) if number else float("nan"),
        )

    def _opened(self, recipe: Recipe) -> Scans:
        """Return the scans of a variant: of tomograms a window, of projections the rows that are wanted."""
        if self.scans.projections(self._states[0]):
            return Scans.of(recipe, self.base)
        windows = tuple(Window.of(self.scans.sources[k], self._around) for k in self._states)
        return replace(self.scans, recipe=recipe, sources=windows, crop=self._local, cycler=None)


def _usual(shape: Triple) -> Box:
    """Return the middle of a volume."""
    size = [min(n, most) for n, most in zip(shape, USUAL_BOX, strict=True)]
    start = [(n - m) // 2 for n, m in zip(shape, size, strict=True)]
    return Box(tuple(start), tuple(a + m for a, m in zip(start, size, strict=True)))  # type: ignore[arg-type]
