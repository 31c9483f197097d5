"""Zarr's view of object storage: zarr's own store over obstore, with our words for what goes wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from zarr.storage import ObjectStore

from crackdask.storage.bucket import Prefix
from crackdask.storage.service import client, told

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


#: What holds no voxels, in any format of Zarr.
_HEADS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


class Chunks(ObjectStore):  # type: ignore[type-arg, unused-ignore]
    """The objects below a prefix, as zarr reads and writes them.

    Attributes
    ----------
    written
        Bytes written.
    absent
        Chunks that were asked for and are not there.
    heads
        What groups and arrays say of themselves, by key, where it need not be asked for.
    """

    where: Prefix
    written: int = 0
    absent: list[str]
    heads: dict[str, bytes]

    @classmethod
    def at(cls, where: Prefix, *, read_only: bool = False) -> Self:
        """Return the view of a prefix."""
        store = cls(client(where.bucket, where.key), read_only=read_only)
        store.where, store.absent, store.heads = where, [], {}
        return store

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the same view with other rights."""
        return self.at(self.where, read_only=read_only)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return an object, or None."""
        if key in self.heads:
            return prototype.buffer.from_bytes(self.heads[key])
        with told(self.where):
            chunk = await super().get(key, prototype, byte_range)
        if chunk is None and key.rpartition("/")[2] not in _HEADS:
            self.absent.append(key)
        return chunk

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object."""
        with told(self.where):
            return await super().exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object whole."""
        with told(self.where):
            await super().set(key, value)
        self.written += len(value)

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with told(self.where):
            await super().delete(key)


class Emptied(Chunks):
    """The objects below a prefix of which some were removed: of those, there is what this view has written since.

    zarr asks whether there is an array before it makes one, and looks after every group above it, which is six requests
    for each; here the answers are known. Only who holds a store, so that nobody else writes there, may look through it.

    Attributes
    ----------
    emptied
        What was removed with all that was below, as seen from the prefix; "" is everything.
    mine
        Names of what was written.
    """

    emptied: tuple[str, ...]
    mine: set[str]

    @classmethod
    def below(cls, where: Prefix, emptied: Iterable[str]) -> Self:
        """Return the view of a prefix of which some was removed."""
        store = cls.at(where)
        store.emptied, store.mine = tuple(emptied), set()
        return store

    def _is_gone(self, key: str) -> bool:
        if key in self.mine:
            return False
        return any(not name or key == name or key.startswith(f"{name}/") for name in self.emptied)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return an object, or None."""
        if self._is_gone(key):
            return None
        found = await super().get(key, prototype, byte_range)
        if found is not None and key.rpartition("/")[2] in _HEADS:
            self.heads[key] = found.to_bytes()
        return found

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object whole."""
        await super().set(key, value)
        self.mine.add(key)
        if key.rpartition("/")[2] in _HEADS:
            self.heads[key] = value.to_bytes()

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object whole where there is none."""
        if key not in self.heads:
            await super().set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        if not self._is_gone(key):
            await super().delete(key)
            self.mine.discard(key)
