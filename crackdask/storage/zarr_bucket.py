"""Zarr's view of object storage: zarr's own store over obstore, with our words for what goes wrong."""

from __future__ import annotations

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
    """

    where: Prefix
    written: int = 0
    absent: list[str]

    @classmethod
    def at(cls, where: Prefix, *, read_only: bool = False) -> Self:
        """Return the view of a prefix."""
        store = cls(client(where.bucket, where.key), read_only=read_only)
        store.where, store.absent = where, []
        return store

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the same view with other rights."""
        return self.at(self.where, read_only=read_only)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return an object, or None."""
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
