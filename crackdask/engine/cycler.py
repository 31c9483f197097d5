"""The cycler's files of a recipe: where they lie, what stands for them, and how states are linked to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import lru_cache, partial
from pathlib import Path

from crackdask.analysis.state_links import Link, Scanned, links
from crackdask.clocks import seconds_after, spoken, zone_of
from crackdask.recipe.recipe import Recipe
from crackdask.sources import Source, SourceError
from crackdask.sources.cycler import CyclerRecord, Reading, read_record
from crackdask.sources.scan_times import scan_times
from crackdask.steps.electrochemistry import ElectrochemistryParams
from crackdask.storage.locations import Place, at_home, opened, place, stamps

Times = tuple[datetime, datetime] | None


@dataclass(frozen=True)
class Cycler:
    """The cycler's files of a recipe, and when each scan was taken as far as its own file tells."""

    recipe: Recipe
    params: ElectrochemistryParams
    paths: tuple[Place, ...]
    seen: tuple[Times, ...]

    @classmethod
    def of(cls, recipe: Recipe, base: Path, sources: Sequence[Source | None]) -> Cycler | None:
        """Return the files that a recipe names, or None where it names none.

        Raises
        ------
        SourceError
            If one is not there.
        """
        params = recipe.electrochemistry
        if params is None:
            return None
        paths = []
        for name in params.files:
            outright = place(name)
            path = base / at_home(outright) if isinstance(outright, Path) else outright
            if not path.is_file():
                raise SourceError(f"electrochemistry.files: there is no file {path}; correct the path")
            paths.append(path)
        return cls(recipe, params, tuple(paths), tuple(scan_times(source) if source else None for source in sources))

    def fingerprint(self) -> str:
        """Return a sha256 over the files' bytes, in their order, and over the times of the scans."""
        return _digest(repr(self.seen), self.paths, tuple(stamps((str(path), path) for path in self.paths)))

    def record(self) -> CyclerRecord:
        """Read what all files recorded."""
        params = self.params
        return read_record(self.paths, Reading(params.columns, params.dates, params.positive, zone_of(params.zone)))

    def linked(self) -> tuple[CyclerRecord, list[Link]]:
        """Read the record, and link the states to it."""
        params, record = self.params, self.record()
        states = [
            Scanned(state.name, state.voltage, state.step, state.time, seen)
            for state, seen in zip(self.recipe.states, self.seen, strict=True)
        ]
        zone = zone_of(params.zone)
        record = replace(record, notes=(*record.notes, *self._left_out(record.start, zone)))
        return record, links(record, states, params.tolerance, 60 * params.rest_min, zone)

    def _left_out(self, start: datetime | None, zone: tzinfo | None) -> Iterator[str]:
        """Yield that times of scans lead nowhere, since nobody knows how far their clock is from the cycler's."""
        for state, seen in zip(self.recipe.states, self.seen, strict=True):
            if seen and start and state.time is None:
                try:
                    seconds_after(seen[0], start, zone)
                except ValueError as error:
                    yield f"the time in the scan's file of {state.name}, {spoken(seen[0])}, leads nowhere: it {error}"
                    return  # which the others will be like


@lru_cache(maxsize=8)
def _digest(times: str, paths: tuple[Place, ...], seen: tuple[object, ...]) -> str:
    """Return a sha256; files that are as they were `seen` are not read again, as a run asks more than once."""
    digest = hashlib.sha256(times.encode())
    for path in paths:
        with opened(path) as file:
            for piece in iter(partial(file.read, 2**22), b""):
                digest.update(piece)
    return digest.hexdigest()
