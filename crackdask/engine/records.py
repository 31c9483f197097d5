"""Records of finished blocks: whether a block is done, and the tally that it left; whole, or they count for nothing.

How they lie on the disk, and why they can be trusted, is told in `crackdask.engine.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from crackdask.arrays import Array
from crackdask.engine.packed_arrays import Arrays, pack, unpack
from crackdask.storage.locations import Place, Prefix, at_once, names, write_whole

#: Records that are fetched at once from object storage.
_AHEAD = 8
#: Lies among the records of a pass from its first block until its unit is done.
_OPEN = ".open"
#: Begins the names of what is recorded of chunks, beside a tally.
_SEALS = "seals of "


@dataclass(frozen=True)
class RecordsFolder:
    """The name of the folder that holds the records of a pass: what it is, how it was cut, into how many blocks."""

    pass_: str
    cut: str
    blocks: int

    def __str__(self) -> str:
        """Name it as it lies among the records of its unit."""
        return f"{self.pass_}-{self.cut}-{self.blocks}"

    @classmethod
    def parse(cls, name: str) -> RecordsFolder:
        """Return what a folder's name tells."""
        pass_, cut, blocks = name.rsplit("-", 2)
        return cls(pass_, cut, int(blocks))


@dataclass(frozen=True)
class Records(Sequence[dict[str, Array]]):
    """Records of the finished blocks of one pass; as a sequence, their tallies in block order."""

    folder: Place
    blocks: int

    def path(self, number: int) -> Place:
        """Return where a block's record lies."""
        return self.folder / f"{number:06d}"

    def begin(self) -> None:
        """Open the records to the blocks of a run; they are closed when the pass's unit is done, or done otherwise."""
        write_whole(self.folder / _OPEN, b"")

    def is_open(self) -> bool:
        """Tell whether the run that asked for a block still wants it.

        A worker whose run was killed, or whose link was cut, may be at a block of a unit that is long done, or done
        by another recipe: it must not write then.
        """
        return (self.folder / _OPEN).is_file()

    @property
    def done(self) -> int:
        """How many blocks have a record, sound or not."""
        return sum(not name.startswith(".") for name in names(self.folder))

    def has(self, number: int) -> bool:
        """Tell whether a block has a sound record."""
        return self.path(number).is_file() and self._sound(number)

    def add(self, number: int, tally: Arrays, seals: Arrays) -> int:
        """Record a finished block with its tally and the seals of its chunks; return the bytes written."""
        data = pack({**tally, **{_SEALS + volume: table for volume, table in seals.items()}})
        write_whole(self.path(number), data)
        return len(data)

    def missing(self) -> list[int]:
        """Return the blocks that have no record, or a damaged one."""
        there = set(names(self.folder))
        recorded = [n for n in range(self.blocks) if f"{n:06d}" in there]
        whole = at_once(self.folder, self._sound, recorded)
        sound = {n for n, is_sound in zip(recorded, whole, strict=True) if is_sound}
        return [n for n in range(self.blocks) if n not in sound]

    def _sound(self, number: int) -> bool:
        try:
            self[number]
        except (RuntimeError, ValueError, OSError, EOFError, KeyError):
            return False
        return True

    def __len__(self) -> int:
        """Return the number of blocks."""
        return self.blocks

    @overload
    def __getitem__(self, number: int) -> dict[str, Array]: ...
    @overload
    def __getitem__(self, number: slice) -> list[dict[str, Array]]: ...
    def __getitem__(self, number: int | slice) -> dict[str, Array] | list[dict[str, Array]]:
        """Load the tally of a block."""
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(self.blocks))]
        if not 0 <= number < self.blocks:
            raise IndexError(number)
        found = self._read(number)
        return {name: values for name, values in found.items() if not name.startswith(_SEALS)}

    def _read(self, number: int) -> dict[str, Array]:
        return unpack(self.path(number).read_bytes())

    def seals(self, volumes: Iterable[str]) -> dict[str, list[Array]]:
        """Return the seals of all chunks that the blocks wrote of some volumes; of one that a block did not seal none.

        Each record is read once.
        """
        parts: dict[str, list[Array]] = {name: [] for name in volumes}
        for found in self._in_order(self._read) if parts else ():
            for name in tuple(parts):
                if (part := found.get(_SEALS + name)) is None:
                    del parts[name]
                else:
                    parts[name].append(part)
        return parts

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """Load one tally after the other."""
        return self._in_order(self.__getitem__)

    def _in_order(self, load: Callable[[int], dict[str, Array]]) -> Iterator[dict[str, Array]]:
        """Load something of every record, a few at once where each is a request."""
        ahead = _AHEAD if isinstance(self.folder, Prefix) else 1
        for first in range(0, self.blocks, ahead):
            yield from at_once(self.folder, load, range(first, min(first + ahead, self.blocks)))
