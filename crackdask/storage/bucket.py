"""Object storage: a prefix of a bucket, with as much of a path's manners as the package needs.

``s3://bucket/prefix`` goes through obstore (store.md says why). Addresses and credentials come from the environment
alone (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...); a worker looks them up in its own, and nothing here
writes or sends them.

An object is written by one PUT: it is there whole or not at all, on the service's disks before the PUT returns, and
from then on every reader sees it.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: What obstore speaks; only s3 is tested here.
SCHEMES = ("s3", "gs", "az")
#: How long a request is tried again before the service counts as gone.
PATIENCE = timedelta(seconds=60)
#: And when a bucket is first asked for: a wrong address or missing credentials should be told soon.
FIRST_PATIENCE = timedelta(seconds=4)
_BUFFER = 2**18
#: What of the environment describes a service; another one needs another client.
_ASKED = ("AWS_", "GOOGLE_", "AZURE_")
Environment = tuple[tuple[str, str], ...]
_ADDRESSES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for workers on other machines in their environment too), and "
    "AWS_ENDPOINT_URL where the service is not Amazon's"
)


class PlaceError(Exception):
    """A place that cannot be used until somebody mends its name, address or permission; the message says how."""


class UnreachableError(Exception):
    """The service went away, and did not come back while requests were tried again."""


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
        Size and ETag where a listing told them.

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
                yield from (self._found(item) for item in batch if not str(item["path"]).endswith("/"))

    def iterdir(self) -> Iterator[Prefix]:
        """Yield what lies directly below."""
        obstore = speaking(self)
        with told(self):
            found = obstore.list_with_delimiter(client(self.bucket), self.key or None)
        yield from (Prefix(self.bucket, str(key).strip("/")) for key in found["common_prefixes"])
        yield from (self._found(item) for item in found["objects"] if item["path"] != self.key)

    def _found(self, item: Any) -> Prefix:
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
        found = self._head()
        return int(found["size"]), str(found["e_tag"])

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

    def write_bytes(self, data: bytes) -> None:
        """Write the object whole; on return it is safe."""
        obstore = speaking(self)
        with told(self):
            obstore.put(client(self.bucket), self.key, data)

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


# ---------------------------------------------------------------- the service


def client(bucket: str, key: str = "", patience: timedelta | None = None) -> Any:
    """Return a client for a bucket, or for a prefix of it, as the environment describes the service.

    Raises
    ------
    PlaceError
        If obstore is not installed, there is no such bucket, no credentials or no permission.
    UnreachableError
        If the service does not answer.
    """
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith(_ASKED)))
    _greet(bucket, environment)
    return _client(f"{bucket}/{key}" if key else bucket, environment, patience or PATIENCE)


def speaking(where: object = "s3://") -> Any:
    """Return the library that speaks to object storage, an extra of the package."""
    try:
        import obstore
        import obstore.exceptions
    except ImportError:
        raise PlaceError(
            f"{where}: object storage needs obstore, which is not installed: pip install 'crackdask[s3]'"
        ) from None
    return obstore


@lru_cache(maxsize=256)
def _client(url: str, environment: Environment, patience: timedelta) -> Any:
    from obstore.store import from_url

    # Plain http only where the address itself says so.
    plain = any("ENDPOINT" in name and value.startswith("http://") for name, value in environment)
    options: dict[str, Any] = {"allow_http": True} if plain else {}
    if patience <= FIRST_PATIENCE:
        options["timeout"] = timedelta(seconds=10)  # one request that hangs must not outlast a lease
    retry: Any = {"max_retries": 12, "retry_timeout": patience}
    return from_url(url, client_options=options, retry_config=retry)  # type: ignore[call-overload, unused-ignore]


@lru_cache(maxsize=64)
def _greet(bucket: str, environment: Environment) -> None:
    """See that a bucket is there and credentials are, with little patience, before anything is built on it."""
    obstore = speaking(bucket)
    for name, value in environment:
        if name in _ADDRESSES and not re.fullmatch(r"https?://[^\s/]+\S*", value):  # at which the library would panic
            raise PlaceError(f"{name}: an address such as 'https://host:port', not {value!r}")
    first = _client(bucket, environment, FIRST_PATIENCE)
    with told(bucket), suppress(obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError):
        # Some may see a part of a bucket only: what is denied is told when it is asked for.
        obstore.list_with_delimiter(first, "crackdask-looks-whether-you-are-there")


@contextmanager
def told(where: object) -> Iterator[None]:
    """Turn what the service says into words: what was wrong with which place, and the way out."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _told(where, error) from None
        raise FileNotFoundError(2, "no such object", str(where)) from None
    except Exception as error:
        known = type(error).__module__.startswith("obstore")
        if not known or type(error).__name__ in ("AlreadyExistsError", "PreconditionError"):
            raise
        raise _told(where, error) from None


def _told(where: object, error: Exception) -> Exception:
    said = str(error).partition("\n\nDebug source")[0]
    code, words = (re.search(rf"<{tag}>([^<]*)</{tag}>", said) for tag in ("Code", "Message"))
    reason = f"{code[1]}: {words[1]}" if code and words else said.partition("\n")[0].rstrip(": ")
    kind = type(error).__name__
    if code and code[1] == "NoSuchBucket":
        bucket = str(where).split("/")[2]
        return PlaceError(f"{where}: there is no bucket {bucket!r}; make it, or correct the name")
    if re.search(r"/latest/(api/token|meta-data)", said):  # where a machine of Amazon's would have asked for some
        return PlaceError(f"{where}: no credentials were found; set {_CREDENTIALS}")
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or (code and "Token" in code[1]):
        return PlaceError(
            f"{where}: the object storage denies access ({reason}); have the permission changed, or set {_CREDENTIALS}"
        )
    if kind == "NotSupportedError":
        return PlaceError(f"{where}: the object storage cannot do what is needed ({reason}); use another place")
    return UnreachableError(
        f"{where}: the object storage does not answer ({reason}); when it does, run the same command again: "
        "the finished blocks are kept"
    )
