"""The service that keeps a bucket: clients, and what it says turned into words.

``s3://bucket/prefix`` goes through obstore (store/decisions.md says why). Addresses and credentials come from the
environment alone (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...); a worker looks them up in its own, and nothing
here writes or sends them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any

#: How long a request is tried again before the service counts as gone.
PATIENCE = timedelta(seconds=60)
#: And when a bucket is first asked for: a wrong address or missing credentials should be told soon.
FIRST_PATIENCE = timedelta(seconds=4)
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
