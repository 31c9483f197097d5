"""Scans that are yet to come: which of a recipe's are there, and what is wrong with one that is not.

A scan counts as there when nothing of it has changed for some time, it can be opened, which finds frames, chunks and
voxels that are missing (`crackdask.sources`), and it has as many slices as the first one. States are taken in their
order, for each may be compared with those before it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from crackdask.engine.cycler import Cycler
from crackdask.engine.scans import opened_scan
from crackdask.grid import Triple
from crackdask.recipe.recipe import Recipe, RecipeError
from crackdask.sources import Source, SourceError
from crackdask.sources.opening import there
from crackdask.sources.projections import Projections
from crackdask.storage.locations import Place, PlaceError, Prefix, UnreachableError

#: Files, bytes, and when the newest was written: another value tells that a scan changed.
Stamp = tuple[int, int, str]


@dataclass
class _Watched:
    """What was seen of one scan that is waited for.

    Attributes
    ----------
    stamp, since
        What it was when it last changed, and when that was.
    tried
        When it was last opened, since it changed.
    found
        What it is, since it was found to be all there.
    fingerprint
        Of all its files, when it was last opened.
    told
        What was last told of it.
    """

    stamp: Stamp | None = None
    since: float = 0.0
    tried: float | None = None
    found: str = ""
    fingerprint: str = ""
    told: str = ""


@dataclass
class Arrivals:
    """The scans of a recipe, as they come.

    Attributes
    ----------
    recipe, base
        The recipe with all its states, and the folder that its paths start from.
    settle
        For how many seconds nothing of a scan must have changed.
    known
        How many of the first states were there before, as their store tells; these need not settle again.
    clock
        Tells seconds.
    """

    recipe: Recipe
    base: Path
    settle: float
    known: int = 0
    clock: Callable[[], float] = time.monotonic
    there: int = field(default=0, init=False)
    _shape: Triple | None = field(default=None, init=False)
    _seen: dict[int, _Watched] = field(default_factory=dict, init=False)

    def look(self) -> list[str]:
        """Look at what is there now, count it in `there`, and return what is news, one line each."""
        news: dict[str, list[str]] = {}
        for state in range(self.there, len(self.recipe.states)):
            seen = self._seen.setdefault(state, _Watched())
            words = self._judged(state, seen)
            if seen.found and state == self.there:
                self.there += 1
            elif seen.found:
                words = f"there, but {self.recipe.states[self.there].name}, which comes before, is not"
            if words != seen.told:
                seen.told = words
                news.setdefault(words, []).append(self.recipe.states[state].name)
        return [f"{', '.join(names)}: {words}" for words, names in news.items()]

    def again(self) -> None:
        """Look at all scans again, for one that was there is not any more."""
        self.there = self.known = 0

    def _judged(self, state: int, seen: _Watched) -> str:
        """Find out whether a scan is there, and return what is to be told of it."""
        now = self.clock()
        try:
            stamp = self._stamp(state)
        except (UnreachableError, OSError) as error:  # of a service or a share that comes back
            return f"cannot be looked at now; still waiting ({error})"
        if stamp != seen.stamp:
            seen.stamp, seen.since, seen.tried, seen.found = stamp, now, None, ""
        if stamp is None:
            return "not there yet"
        settle = 0.0 if state < self.known else self.settle
        if now - seen.since < settle:
            return "being written"
        if seen.found or (seen.tried is not None and now - seen.tried < max(settle, 1.0)):
            return seen.found or seen.told
        seen.tried = now
        try:
            source = opened_scan(self.recipe, self.recipe.states[state], self.base)
            self._check_shape(source)
            before, seen.fingerprint = seen.fingerprint, source.fingerprint()
        except (SourceError, PlaceError, UnreachableError, RecipeError, OSError) as error:
            return f"not complete, and nothing came for {settle:g} s; still waiting ({error})"
        if settle and _may_lie_elsewhere(source) and before != seen.fingerprint:
            return "being written, or was until now"
        if state == self.there and self._shape is None:
            self._shape = source.shape
            for other in self._seen.values():  # is to be held against the first
                other.found, other.tried = "", None
        seen.found = f"there, {' x '.join(map(str, source.shape))} voxels"
        return seen.found

    def _check_shape(self, source: Source) -> None:
        """Raise if a scan has not the shape of the first, or the recipe's crop."""
        self.recipe.crop_of(source.shape)
        if self._shape is None or source.shape == self._shape:
            return
        (slices, *across), (wanted, *wide) = source.shape, self._shape
        if across == wide and slices < wanted:
            raise SourceError(f"{source.location}: {slices} of {wanted} slices, which the first scan has")
        shapes = [" x ".join(map(str, shape)) for shape in (source.shape, self._shape)]
        raise SourceError(f"{source.location}: {shapes[0]} voxels, where the first scan has {shapes[1]}")

    def _stamp(self, state: int) -> Stamp | None:
        try:
            path, _ = there(self.recipe.states[state].source, self.base)
            return stamp_of(path)
        except (SourceError, FileNotFoundError):
            return None


@dataclass
class CyclerArrival:
    """The cycler's files of a recipe, which may be yet to come, or to get their first row, as its scans are.

    Attributes
    ----------
    recipe, base
        The recipe, and the folder that its paths start from.
    """

    recipe: Recipe
    base: Path
    _stamps: list[Stamp] = field(default_factory=list, init=False)
    _why: str | None = field(default=None, init=False)

    def missing(self) -> str | None:
        """Return why the files cannot be read now, or None where they can, or none are named.

        They are read where they changed since they were looked at.
        """
        try:
            cycler = Cycler.of(self.recipe, self.base, [])
            if cycler is None:
                return None
            stamps = [stamp_of(path) for path in cycler.paths]
            if stamps != self._stamps:
                self._stamps, self._why = stamps, None
                cycler.record()
        except (SourceError, PlaceError, UnreachableError, OSError) as error:
            self._why = str(error)
        return self._why


def stamp_of(path: Place) -> Stamp:
    """Return what changes when anything of a scan does that lies at a place."""
    if isinstance(path, Prefix):
        found = sorted((str(each), *each.stamp()) for each in ([path] if path.is_file() else path.files()))
        return len(found), sum(size for _, size, _ in found), str(hash(tuple(found)))
    if not path.is_dir():
        seen = path.stat()
        return 1, seen.st_size, str(seen.st_mtime_ns)
    count = total = newest = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # renamed, gone since it was listed, or a link to nowhere: told when it is opened
                seen = (Path(folder) / name).stat()
                count, total, newest = count + 1, total + seen.st_size, max(newest, seen.st_mtime_ns)
    return count, total, str(newest)


def _may_lie_elsewhere(source: Source) -> bool:
    """Tell whether a scan may have files that its stamp does not tell of, as projections and virtual data may."""
    return isinstance(source, Projections) or bool(getattr(source, "others", ()))
