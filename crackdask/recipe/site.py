"""What a run asks of a cluster: the recipe's section [cluster], and the file of a site.

A recipe may come from somebody else, so its section holds plain facts only: names, numbers, sizes, times. What a
shell would run, and where files go, stands in the file of `--cluster-config`, which is the user's own.
Nothing here changes a bit of the result, and none of it enters a fingerprint or a store.
"""

from __future__ import annotations

import os
import re
from datetime import time
from math import ceil
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, TypeAdapter, ValidationError

from crackdask.batch_systems import BATCH_SYSTEMS

_SIZE = TypeAdapter(ByteSize)
_LEAST_MEMORY, _MOST_MEMORY = 2**20, 2**50
_MOST_SECONDS = 10**9
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def kinds() -> tuple[str, ...]:
    """Return every value of --cluster that is no address."""
    return ("local", *BATCH_SYSTEMS, "kubernetes", "threads", "synchronous")


def cores_here() -> int:
    """Return how many cores this process may use: those that a batch system or a container left it, where one can ask.

    >>> cores_here() > 0
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows tell no more


def nbytes(value: Any) -> Any:
    """Return a size such as '2 GiB' in bytes, for pydantic to go on with.

    >>> nbytes("2 GiB"), nbytes("1.5 MB")
    (2147483648, 1500000)
    """
    if isinstance(value, str):
        wrong = ValueError(f"a size such as '2 GiB' or '800 MB', not {value!r}")
        # ByteSize takes what follows the unit for nothing, and bits for bytes.
        if not re.fullmatch(r"\s*\d{1,15}(?:\.\d+)?\s*(?:[kmgt]?i?b)?\s*", value, re.IGNORECASE):
            raise wrong
        try:
            value = int(_SIZE.validate_python(value))
        except ValidationError:
            raise wrong from None
    if isinstance(value, int) and not isinstance(value, bool) and value < _LEAST_MEMORY:
        raise ValueError(f"at least 1 MiB, not {value} bytes")
    if isinstance(value, int) and value > _MOST_MEMORY:
        raise ValueError("at most 1 PiB")
    return value


def seconds(value: Any) -> int:
    """Return a time such as '4 h', '90 min', '12:00:00' or '2-12:00:00' in seconds; a number is seconds already.

    >>> seconds("90 min"), seconds("1-02:00:00"), seconds(60)
    (5400, 93600, 60)
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_SECONDS:
        return value
    if isinstance(value, time):  # what TOML makes of 04:00:00 without quotes
        value = value.isoformat("seconds")
    if isinstance(value, str):
        total = 0
        if match := re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*(s|min|h|d)\s*", value):
            total = ceil(float(match[1]) * _SECONDS[match[2]])
        elif match := re.fullmatch(r"(?:(\d{1,9})-)?(\d{1,9}):([0-5]\d):([0-5]\d)", value):
            days, hours, minutes, rest = (int(part or 0) for part in match.groups())
            total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
        if 0 < total <= _MOST_SECONDS:
            return total
    raise ValueError(f"a time such as '4 h', '90 min' or '12:00:00', at most 30 years, not {str(value)[:60]!r}")


def _like(pattern: str, words: str) -> BeforeValidator:
    """Return a check of text that is to be all as a pattern says, or else as in words."""

    def checked(value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise ValueError(f"{words}, not {value!r}")
        return value

    return BeforeValidator(checked)


def _is_port_of(host: str, value: str) -> bool:
    match = re.fullmatch(rf"{host}:(\d{{1,5}})", value)
    return match is not None and int(match[1]) < 2**16


def _kind(value: Any) -> Any:
    if isinstance(value, str) and value not in kinds() and not _is_port_of(r"(?:tcp|tls)://\S+", value):
        raise ValueError(f"unknown cluster {value!r}; known: {', '.join(kinds())}, tcp://host:port, tls://host:port")
    return value


def _address(value: Any) -> Any:
    if isinstance(value, str) and not _is_port_of(r"[\w.:\[\]-]*", value):
        raise ValueError(f"host:port, not {value!r}")
    return value


def _lines(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(line, str) and "\n" in line for line in value):
        raise ValueError("each line on its own, without line ends")
    return tuple(value) if isinstance(value, list) else value


Word = Annotated[str, _like(r"[A-Za-z0-9][\w.:/@+-]*", "a name of letters, digits and ._:/@+-")]
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Namespace = Annotated[str, _like(_LABEL, "a name of at most 63 lower-case letters, digits and '-'")]
Claim = Annotated[str, _like(rf"{_LABEL}(\.{_LABEL})*", "a name of lower-case letters, digits, '-' and '.'")]
Image = Annotated[
    str,
    _like(
        r"([A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?/)?[a-z0-9][a-z0-9._/-]*(:\w[\w.-]*)?(@sha256:[0-9a-f]{64})?",
        "an image such as 'registry/crackdask:tag', in lower case but for the tag",
    ),
]
Mount = Annotated[str, _like(r"(/\w[\w.-]*)+", "a folder such as '/data'")]
Seconds = Annotated[int, BeforeValidator(seconds)]
Lines = Annotated[tuple[str, ...], BeforeValidator(_lines)]


class ClusterParams(BaseModel):
    """Where the work runs and what it may take there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Annotated[str, BeforeValidator(_kind)] = Field("local", description="what --cluster takes")
    workers: int | None = Field(None, ge=1, le=10_000, description="how many workers; none: one for each core here")
    queue: Word | None = Field(None, description="queue or partition")
    account: Word | None = Field(None, description="account or project")
    walltime: Seconds | None = Field(None, description="longest time of a job")
    run_walltime: Seconds | None = Field(
        None, description="that of the job that `submit --spread` gives to the run itself; none: walltime"
    )
    cores: int = Field(1, ge=1, le=1024, description="cores of a job; each is a worker")
    memory: Annotated[int, BeforeValidator(nbytes)] | None = Field(
        None, description="memory of a job; none: that of its workers"
    )
    interface: Word | None = Field(None, description="network interface of scheduler and workers, such as 'ib0'")
    image: Image | None = Field(None, description="container image with crackdask, for kubernetes")
    namespace: Namespace | None = Field(None, description="namespace, for kubernetes")
    claim: Claim | None = Field(None, description="volume claim that holds scans and store, for kubernetes")
    mount: Mount | None = Field(None, description="where pods mount it, for kubernetes")
    patience: Seconds | None = Field(None, description="how long to wait when there is no worker")
    dashboard: Annotated[str, BeforeValidator(_address)] = Field(
        "127.0.0.1:0", description="where the dashboard listens"
    )


class Site(ClusterParams):
    """The same, and what is the user's own to say: a file of a site, never a recipe."""

    python: str | None = Field(None, min_length=1, description="python of the jobs; none: the one that runs now")
    prologue: Lines = Field((), description="lines of shell before the work, such as 'module load python'")
    directives: Lines = Field((), description="further directives of the batch system, such as '--constraint=x'")
    on_state: str | None = Field(
        None, min_length=1, description="command that a run gives to the shell for each state that it finished"
    )
    scratch: str | None = Field(None, min_length=1, description="folder of the workers' temporary files")
    folder: str | None = Field(
        None,
        min_length=1,
        description="folder that all machines see, for certificates and logs; none: beside the store",
    )

    def worker_bytes(self, planned: int) -> int:
        """Return the bytes of one worker: its share of a job, or what was planned for it."""
        return self.memory // self.cores if self.memory else planned


#: Keys that only the file of a site may hold.
SITE_ONLY = tuple(name for name in Site.model_fields if name not in ClusterParams.model_fields)
