"""From what `--cluster` says to an executor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distributed import performance_report

from crackdask.cluster.errors import ClusterError
from crackdask.cluster.existing import at_address
from crackdask.cluster.local import local
from crackdask.cluster.tls import Certificates
from crackdask.cluster.worker_settings import cap_threads
from crackdask.engine.executors import Distributed, Executor, Say, Serial, Threads
from crackdask.recipe.site import KINDS, SYSTEMS, Site


def _say_nothing(_: str) -> None:
    pass


@contextmanager
def connect(
    cluster: str,
    workers: int | None,
    memory: int,
    *,
    site: Site | None = None,
    folder: Path | None = None,
    certificates: Certificates | None = None,
    insecure: bool = False,
    say: Say = _say_nothing,
) -> Iterator[Executor]:
    """Hold an executor for a run.

    Parameters
    ----------
    cluster
        "local" (worker processes on this machine), "threads", "synchronous", a batch system ("slurm", "pbs", "lsf",
        "sge"), "kubernetes", or the address of a scheduler, "tcp://host:port" or "tls://host:port".
    workers
        How many, by default one for each core; of a scheduler's address, all that it has.
    memory
        Bytes that one worker may take.
    site
        What is asked of the cluster.
    folder
        Where certificates and logs of jobs go: a folder that all machines see.
    certificates
        For a scheduler that speaks TLS.
    insecure
        Whether a scheduler on another machine may do without TLS.
    say
        Is told what the user should know of workers that come and go.

    Raises
    ------
    ClusterError
        If no cluster can be had.
    """
    asked = site or Site()
    count = workers or asked.workers or len(os.sched_getaffinity(0))
    cap_threads()  # the reductions run in this process, and must not see how many cores it has
    with ExitStack() as held:
        if cluster == "synchronous":
            yield Serial()
        elif cluster == "threads":
            yield Threads(count)
        elif cluster == "local":
            yield held.enter_context(local(count, memory, asked, say))
        elif cluster in SYSTEMS:
            from crackdask.cluster.jobqueue import jobs

            yield held.enter_context(jobs(cluster, count, memory, asked, folder or Path(), say))
        elif cluster == "kubernetes":
            from crackdask.cluster.kubernetes import pods

            yield held.enter_context(pods(count, memory, asked, say))
        elif cluster.startswith(("tcp://", "tls://")):
            some = workers or asked.workers
            known = certificates or Certificates()
            yield held.enter_context(at_address(cluster, some, asked, known, insecure, say))
        else:
            raise ClusterError(
                f"unknown cluster {cluster!r}; known: {', '.join(KINDS)}, tcp://host:port, tls://host:port"
            )


@contextmanager
def recorded(executor: Executor, path: Path | None) -> Iterator[None]:
    """Write dask's performance report of what runs inside to a file, where one is wanted.

    Raises
    ------
    ClusterError
        If the executor is no dask cluster.
    """
    if path is None:
        yield
    elif not isinstance(executor, Distributed):
        raise ClusterError("a performance report needs a dask cluster: --cluster local or a scheduler's address")
    else:
        with executor.client.as_current(), performance_report(filename=str(path)):
            yield
