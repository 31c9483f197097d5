"""The store of a run: made, held against the experiment that it is of, mended where it is damaged, and marked.

What a run knows of its store goes through here; what steps write into it does not.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crackdask import schema
from crackdask.engine import cell_renewal, growth
from crackdask.engine.checkpoints import Work
from crackdask.engine.context import RunContext
from crackdask.engine.growth import is_longer
from crackdask.engine.kept_tomograms import make_room as make_room_for_tomograms
from crackdask.engine.level_writer import layout_of, make_room
from crackdask.engine.soundness import GROUP, Damage, has_levels, look
from crackdask.engine.work_units import stored_volumes
from crackdask.grid import Triple, check_single_writer
from crackdask.recipe.recipe import Recipe
from crackdask.schema import UnitKey
from crackdask.steps.registry import GROUPS, GROUPS_IF_ANY, KEPT_ON_REQUEST
from crackdask.storage.locations import Place, names, remove
from crackdask.store import root, seals
from crackdask.store.arrays import VolumeLayout
from crackdask.store.create import add_coordinates, add_volumes, coordinate_folders, create
from crackdask.store.levels import image
from crackdask.store.root import StoreError

#: Libraries whose versions a store remembers.
_LIBRARIES = ("numpy", "dask", "distributed", "zarr", "xarray", "scikit-image", "SimpleITK", "numba", "scipy")


class RunStore:
    """The store that a run writes into, while the run holds it."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._path, self._work, self._recipe = context.path, context.work, context.recipe
        #: Whether the root tells of all groups and arrays; what a run makes from then on is told of by its maker.
        self._consolidated = False

    def check_place(self) -> None:
        """Refuse a place that holds something else, before anything is made beside it."""
        for folder in (self._path, self._work.folder):
            root.refuse_links(folder)
        if root.is_there(self._path) or root.has_remains(self._path):
            if root.kept_root(self._path) is None or not root.broken(self._path):
                root.attributes(self._path)
        elif root.is_begun(self._path):
            return
        elif isinstance(self._path, Path) and self._path.exists() and not self._path.is_dir():
            raise StoreError(f"{self._path} is a file, not a store; choose another place with --store")
        elif names(self._path):
            raise StoreError(f"{self._path} is not empty and not a store; choose another place with --store")

    def open(self, found: Damage | None, vouches: Callable[[Damage], bool], *, levels: bool) -> bool:
        """Make the store, or check that it is this experiment's and mend what is amiss.

        Parameters
        ----------
        found
            What is amiss, if it has been looked for.
        vouches
            Tells whether the store alone vouches for all that was done before, whatever is amiss.
        levels
            Whether coarser levels are to be made where a store of old has none.

        Returns
        -------
        bool
            Whether it does.
        """
        vouched = False
        if root.is_there(self._path) or root.has_remains(self._path):
            if root.broken(self._path) and (kept := root.kept_root(self._path)) is not None:
                self._context.progress.warn(
                    "store", f"{self._path}/zarr.json {root.broken(self._path)}; it is restored"
                )
                root.restore(self._path, kept)
                root.consolidate(self._path)
            if self._grow():
                found = None  # it was of a shorter store
            root.tidy(self._path)
            found = found or look(self._path, self._recipe)
            vouched = vouches(found)
            self._mend(found, vouched)
            if vouched and UnitKey("track", self._recipe.reference) in found.spoilt:
                cell_renewal.begin(self._context)
            if levels or has_levels(root.attributes(self._path)):
                make_room(self._path, self._recipe, self._context.axes, found)
        else:
            self._work.start_anew()  # it may tell of a store that was removed or renamed
            create(self._path, self._context.axes, self._volumes(), self._layout(), facts := self._facts())
            self._consolidated = True
            self.keep_root(facts)
        self._context.hold()
        make_room_for_tomograms(self._context)
        if seals.load(self._path, seals.COORDINATES) is None:
            seals.keep(self._path, seals.COORDINATES, [seals.seals_of(self._path, coordinate_folders(self._path))])
        return vouched

    def mark(self, *, complete: bool) -> None:
        """Let the store say whether all of it is done."""
        facts = root.set_attributes(self._path, {"complete": complete})
        if not self._consolidated:
            root.consolidate(self._path)
            self._consolidated = True
        self.keep_root(facts)

    def keep_root(self, facts: Mapping[str, Any]) -> None:
        """Keep a copy of what the root of the store tells, from which it can be restored."""
        self._work.note("root", facts)

    def _grow(self) -> bool:
        """Refuse a store of another experiment; make room where states were added to this one, and tell whether."""
        there = root.attributes(self._path).get("identity") or {}
        facts = self._facts()
        identity = facts["identity"]
        if (kept := growth.unfinished_from(self._path, identity, there)) is not None:
            lacking = ", ".join(map(repr, there["states"][kept:]))
            self._context.progress.warn("store", f"{lacking}: never finished, and taken out, for the recipe lacks it")
            growth.take_back(self._path, kept)
            there = root.attributes(self._path)["identity"]
        longer = is_longer(identity, there)
        if there != identity and not longer:
            raise _another_experiment(self._path, identity, there)
        if longer:
            growth.begin(self._path, facts)
        else:
            root.set_attributes(self._path, facts)
        if begun := growth.is_begun(self._path):
            growth.end(self._path, self._context.axes)
        return begun

    def _mend(self, found: Damage, vouched: bool) -> None:
        """Make room for what is gone, and let what is spoilt count as not done."""
        said_complete = bool(root.attributes(self._path).get("complete"))
        if (found.gone or found.spoilt) and said_complete and not vouched:
            root.set_attributes(self._path, {"complete": False})  # first: an empty volume must never count as done
        told: dict[UnitKey | str, str] = {GROUP: found.gone[GROUP]} if GROUP in found.gone else {}
        for unit, reason in found.spoilt.items():
            if said_complete or self._work.fingerprint(unit) is not None:
                told[unit] = reason
            self._work.forget(unit)
            self._work.drop_records(unit)
        for about, reason in told.items():
            self._context.progress.warn(about, f"{reason}; it is made anew")
        if not found.gone:
            return
        for name in found.gone:
            if name in (*GROUPS, *GROUPS_IF_ANY):
                remove(self._path / name)
            elif name in KEPT_ON_REQUEST:
                remove(self._path / "volumes" / name)
            elif name == schema.TOMOGRAMS:
                remove(self._path / name)
            elif name == schema.LEVELS:  # what is left of them is no group that could be told of
                for group in seals.LEVEL_GROUPS:
                    remove(self._path / group)
        if GROUP in found.gone:
            add_coordinates(self._path, self._context.axes)
            seals.drop(self._path, seals.COORDINATES)
        volumes = {name: dtype for name, dtype in self._volumes().items() if name in found.gone}
        add_volumes(self._path, self._context.axes, volumes, self._layout())

    def _volumes(self) -> dict[str, str]:
        return {name: schema.VOLUMES[name].dtype for name in stored_volumes(self._recipe) if name in schema.VOLUMES}

    def _layout(self) -> VolumeLayout:
        layout = layout_of(self._recipe)
        check_single_writer(self._context.grid, layout.shard or layout.chunk)
        return layout

    def _facts(self) -> dict[str, Any]:
        return {
            "format_version": schema.FORMAT_VERSION,
            "crackdask_version": importlib.metadata.version("crackdask"),
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES}
            | {"python": platform.python_version()},
            "recipe": self._recipe.as_dict(),
            "identity": _identity(self._recipe, self._context.scans.shape),
            "ome": image(self._context.axes),
        }


def _another_experiment(path: Place, identity: Mapping[str, Any], there: Mapping[str, Any]) -> StoreError:
    """Return the error of a store that another recipe made."""
    differ = [key for key, value in identity.items() if there.get(key) != value]
    if differ == ["states"] and isinstance(there.get("states"), list):
        return growth.other_states(path, identity["states"], there["states"])
    differs = "".join(f"\n  {key}: {there.get(key)} in the store, {identity[key]} in the recipe" for key in differ)
    return StoreError(
        f"{path} was made by another recipe:{differs}\nchoose another --store, or remove this one and "
        f"{Work.beside(path).folder.name} beside it"
    )


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
