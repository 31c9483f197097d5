"""Object storage: a prefix of a bucket, with as much of a path's manners as the package needs.

An object is written by one PUT: it is there whole or not at all, on the service's disks before the PUT returns, and
from then on every reader sees it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from crackdask.storage.service import PlaceError, client, speaking, told

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: What obstore speaks; only s3 is tested here.
SCHEMES = ("s3", "gs", "az")
_BUFFER = 2**18


@dataclass(frozen=True, order=True)
class Prefix:
    """An object, or all objects whose names begin alike, as a file or a folder.

    Attributes
    ----------
    bucket
        Scheme and bucket, ``s3://bucket``.
    key
        The rest, without a slash at either end.
    seen
        Size and ETag where a listing told them, or a PUT.

    >>> Prefix.of("s3://bucket/scans/a.tif").parent / "b.tif"
    Prefix(bucket='s3://bucket', key='scans/b.tif')
    """

    bucket: str
    key: str = ""
    seen: tuple[int, str] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, url: str) -> Prefix:
        """Return the place that a URL names."""
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme not in SCHEMES or not bucket:
            known = ", ".join(f"{name}://BUCKET/NAME" for name in SCHEMES)
            raise PlaceError(f"{url}: not a place that is known here; wanted a path or {known}")
        parts = [part for part in key.split("/") if part]
        if {".", ".."}.intersection(parts):
            raise PlaceError(f"{url}: '.' and '..' mean nothing in object storage; write the name out")
        return cls(f"{scheme}://{bucket}", "/".join(parts))

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    def __truediv__(self, name: str) -> Prefix:
        return Prefix(self.bucket, f"{self.key}/{name}" if self.key else name)

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """What follows the last dot, with it."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Prefix:
        """What holds this."""
        return Prefix(self.bucket, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> Prefix:
        """Return a neighbour."""
        return self.parent / name

    def relative_to(self, other: Prefix) -> PurePosixPath:
        """Return the name as seen from a place above."""
        return PurePosixPath(self.key).relative_to(other.key)

    def resolve(self) -> Prefix:
        """Return the place itself: a URL is always whole."""
        return self

    def exists(self) -> bool:
        """Tell whether there is an object of this name, or one below."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Tell whether there is an object of this name."""
        try:
            return bool(self.key) and self.stamp() is not None
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Tell whether there is an object below this name."""
        return next(self.files(), None) is not None

    def files(self) -> Iterator[Prefix]:
        """Yield every object below, in the order of their names."""
        obstore = speaking(self)
        with told(self):
            for batch in obstore.list(client(self.bucket), self.key or None):
                yield from (self._listed(item) for item in batch if not str(item["path"]).endswith("/"))

    def iterdir(self) -> Iterator[Prefix]:
        """Yield what lies directly below."""
        obstore = speaking(self)
        with told(self):
            listing = obstore.list_with_delimiter(client(self.bucket), self.key or None)
        yield from (Prefix(self.bucket, str(key).strip("/")) for key in listing["common_prefixes"])
        yield from (self._listed(item) for item in listing["objects"] if item["path"] != self.key)

    def _listed(self, item: Any) -> Prefix:
        return Prefix(self.bucket, str(item["path"]), (int(item["size"]), str(item["e_tag"])))

    def stamp(self) -> tuple[int, str]:
        """Return size and ETag of the object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        if self.seen:
            return self.seen
        head = self._head()
        return int(head["size"]), str(head["e_tag"])

    def modified(self) -> datetime:
        """Return when the object was written, by the service's clock."""
        return self._head()["last_modified"]

    def _head(self) -> Any:
        obstore = speaking(self)
        with told(self):
            return obstore.head(client(self.bucket), self.key)

    def read_bytes(self) -> bytes:
        """Return the object's content."""
        obstore = speaking(self)
        with told(self):
            return bytes(obstore.get(client(self.bucket), self.key).bytes())

    def read_text(self) -> str:
        """Return the object's content as text."""
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes) -> Prefix:
        """Write the object whole, and return the place with what tells it from others there; on return it is safe."""
        obstore = speaking(self)
        with told(self):
            put = obstore.put(client(self.bucket), self.key, data)
        tag = put["e_tag"]
        return replace(self, seen=(len(data), str(tag)) if tag else None)

    def open(self) -> io.BufferedReader:
        """Open the object for reading; what is read, and little more, is fetched."""
        return io.BufferedReader(_Ranges(self), _BUFFER)

    def beginning(self, count: int) -> bytes:
        """Return the object's first bytes."""
        obstore = speaking(self)
        with told(self):
            return bytes(obstore.get_range(client(self.bucket), self.key, start=0, length=count))

    def unlink(self) -> None:
        """Remove the object, if it is there."""
        obstore = speaking(self)
        with told(self):
            obstore.delete(client(self.bucket), self.key)

    def remove(self) -> None:
        """Remove every object below."""
        obstore = speaking(self)
        with told(self):
            for batch in obstore.list(client(self.bucket), self.key, chunk_size=1000):
                obstore.delete(client(self.bucket), [str(item["path"]) for item in batch])

    def fresh(self) -> Prefix:
        """Return the place without what a listing told of it."""
        return replace(self, seen=None)


class _Ranges(io.RawIOBase):
    """An object as a file that can be read from anywhere."""

    def __init__(self, place: Prefix) -> None:
        self._place, self._at, self._size = place, 0, place.stamp()[0]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        obstore = speaking(self._place)
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        if count:
            with told(self._place):
                data = obstore.get_range(client(self._place.bucket), self._place.key, start=self._at, length=count)
            count = len(data)
            view[:count] = memoryview(data)
            self._at += count
        return count
