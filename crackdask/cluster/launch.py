"""From what `--cluster` says to an executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from distributed import performance_report

from crackdask.batch_systems import BATCH_SYSTEMS
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.existing import at_address
from crackdask.cluster.local import load_ahead, local
from crackdask.cluster.tls import Trust
from crackdask.cluster.worker_settings import cap_threads
from crackdask.engine.executors import Distributed, Executor, Say, Serial, Threads
from crackdask.recipe.site import Site, cores_here, kinds


def _say_nothing(_: str) -> None:
    pass


def begin(cluster: str) -> None:
    """Begin what can be begun of a cluster before it is known what for: nobody needs to wait for it then."""
    if cluster == "local":
        load_ahead()


@contextmanager
def connect(
    cluster: str,
    workers: int | None,
    memory: int,
    *,
    site: Site | None = None,
    folder: Path | None = None,
    trust: Trust | None = None,
    say: Say = _say_nothing,
) -> Iterator[Executor]:
    """Hold an executor for a run.

    Parameters
    ----------
    cluster
        "local" (worker processes on this machine), "threads", "synchronous", a batch system (one of
        `crackdask.batch_systems`), "kubernetes", or the address of a scheduler, "tcp://host:port" or "tls://host:port".
    workers
        How many, by default one for each core; of a scheduler's address, all that it has.
    memory
        Bytes that one worker may take.
    site
        What is asked of the cluster.
    folder
        Where certificates and logs of jobs go: a folder that all machines see.
    trust
        How to speak to a scheduler that runs already.
    say
        Is told what the user should know of workers that come and go.

    Raises
    ------
    ClusterError
        If no cluster can be had.
    """
    asked = site or Site()
    cap_threads()  # the reductions run in this process, and must not see how many cores it has
    with _executor(
        cluster, workers or asked.workers, memory, asked, folder or Path(), trust or Trust(), say
    ) as executor:
        yield executor


def _executor(
    cluster: str, workers: int | None, memory: int, site: Site, folder: Path, trust: Trust, say: Say
) -> AbstractContextManager[Executor]:
    """Return who does the blocks, by the kind of cluster."""
    count = workers or cores_here()
    if cluster == "synchronous":
        return nullcontext(Serial())
    if cluster == "threads":
        return nullcontext(Threads(count))
    if cluster == "local":
        return local(count, memory, site, say)
    if cluster in BATCH_SYSTEMS:
        from crackdask.cluster.jobqueue import jobs

        return jobs(cluster, count, memory, site, folder, say)
    if cluster == "kubernetes":
        from crackdask.cluster.kubernetes import pods

        return pods(count, memory, site, say)
    if cluster.startswith(("tcp://", "tls://")):
        return at_address(cluster, workers, site, trust, say)
    raise ClusterError(f"unknown cluster {cluster!r}; known: {', '.join(kinds())}, tcp://host:port, tls://host:port")


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
