"""What a run asks of a cluster: the recipe's section [cluster], and the file of a site.

A recipe may come from somebody else, so its section holds plain facts only: names, numbers, sizes, times. What a
shell would run, and where files go, stands in the file of `--cluster-config`, which is the user's own.
Nothing here changes a bit of the result, and none of it enters a fingerprint or a store.
"""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_UNITS |= {"tib": 2**40, "tb": 10**12}
_LEAST_MEMORY = 2**20
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
#: Batch systems, by the name that --cluster takes, and what people call them.
SYSTEMS = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF", "sge": "Grid Engine"}
#: Every value of --cluster that is no address.
KINDS = ("local", *SYSTEMS, "kubernetes", "threads", "synchronous")


def nbytes(value: Any) -> Any:
    """Return a size such as '2 GiB' in bytes, for pydantic to go on with."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
        if not match or match[2].lower() not in _UNITS:
            raise ValueError(f"a size such as '2 GiB' or '800 MB', not {value!r}")
        value = int(float(match[1]) * _UNITS[match[2].lower()])
    if isinstance(value, int) and not isinstance(value, bool) and value < _LEAST_MEMORY:
        raise ValueError(f"at least 1 MiB, not {value} bytes")
    return value


def seconds(value: Any) -> int:
    """Return a time such as '4 h', '90 min', '12:00:00' or '2-12:00:00' in seconds; a number is seconds already.

    >>> seconds("90 min"), seconds("1-02:00:00"), seconds(60)
    (5400, 93600, 60)
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, time):  # what TOML makes of 04:00:00 without quotes
        value = value.isoformat("seconds")
    if isinstance(value, str):
        if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\s*", value):
            return max(1, round(float(match[1]) * _SECONDS[match[2]]))
        if match := re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", value):
            days, hours, minutes, rest = (int(part or 0) for part in match.groups())
            return max(1, ((days * 24 + hours) * 60 + minutes) * 60 + rest)
    raise ValueError(f"a time such as '4 h', '90 min' or '12:00:00', not {value!r}")


def _word(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9][\w.:/@+-]*", value):
        raise ValueError(f"a name of letters, digits and ._:/@+-, not {value!r}")
    return value


def _kind(value: Any) -> Any:
    if isinstance(value, str) and value not in KINDS and not re.fullmatch(r"(tcp|tls)://\S+", value):
        raise ValueError(f"unknown cluster {value!r}; known: {', '.join(KINDS)}, tcp://host:port, tls://host:port")
    return value


def _address(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[\w.:\[\]-]*:\d{1,5}", value):
        raise ValueError(f"host:port, not {value!r}")
    return value


def _lines(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(line, str) and "\n" in line for line in value):
        raise ValueError("each line on its own, without line ends")
    return tuple(value) if isinstance(value, list) else value


Word = Annotated[str, BeforeValidator(_word)]
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
    cores: int = Field(1, ge=1, le=1024, description="cores of a job; each is a worker")
    memory: Annotated[int, BeforeValidator(nbytes)] | None = Field(
        None, description="memory of a job; none: that of its workers"
    )
    interface: Word | None = Field(None, description="network interface of scheduler and workers, such as 'ib0'")
    image: Word | None = Field(None, description="container image with crackdask, for kubernetes")
    namespace: Word | None = Field(None, description="namespace, for kubernetes")
    claim: Word | None = Field(None, description="volume claim that holds scans and store, for kubernetes")
    mount: str | None = Field(None, pattern=r"^(/\w[\w.-]*)+$", description="where pods mount it, for kubernetes")
    patience: Seconds | None = Field(None, description="how long to wait when there is no worker")
    dashboard: Annotated[str, BeforeValidator(_address)] = Field(
        "127.0.0.1:0", description="where the dashboard listens"
    )


class Site(ClusterParams):
    """The same, and what is the user's own to say: a file of a site, never a recipe."""

    python: str | None = Field(None, min_length=1, description="python of the jobs; none: the one that runs now")
    prologue: Lines = Field((), description="lines of shell before the work, such as 'module load python'")
    directives: Lines = Field((), description="further directives of the batch system, such as '--constraint=x'")
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
