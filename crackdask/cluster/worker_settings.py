"""What every worker keeps to, wherever it runs: planned memory, one core, no open door."""

from __future__ import annotations

from crackdask.cluster.errors import ClusterError
from crackdask.recipe.site import Site

#: What a worker takes while kernels are compiled, which happens once after an installation.
COMPILING = 2**30
#: Memory is planned: a worker near its budget is neither paused nor made to spill, only ended beyond it. Its web pages
#: would tell everyone on its machine what it does; the scheduler's dashboard, which asks who comes, shows the same.
#: Looking at itself 50 or 100 times a second, as dask does, took 9% of a core of client and two workers; now 3%, and
#: two thirds of what was left when nothing was done were ten looks a second at the memory of each worker.
SETTINGS = {
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.profile.interval": "200ms",
    "distributed.worker.profile.cycle": "60s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.0,
    "distributed.worker.memory.monitor-interval": "300ms",
    "distributed.worker.http.routes": [],
}
#: One heap for all of its threads, which keeps up to 64 MiB for what comes next: asking the system for every array of
#: 128 KiB anew, as dask's own setting has it, cost a fifth of a run's time; keeping them costs 20 MiB. And native
#: libraries that count cores when they are loaded find one.
ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}


def in_environment() -> dict[str, str]:
    """Return all of it as environment variables, for workers that another machine starts.

    >>> in_environment()["DASK_DISTRIBUTED__WORKER__MEMORY__SPILL"]
    'False'
    """
    named = {f"DASK_{key.replace('.', '__').replace('-', '_').upper()}": str(v) for key, v in SETTINGS.items()}
    return named | ENVIRONMENT


def in_configuration() -> dict[str, object]:
    """Return all of it as dask's configuration, for workers that this process starts."""
    return SETTINGS | {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()}


def check_memory(site: Site, planned: int) -> None:
    """Refuse jobs and pods whose workers would die of the memory that they share.

    Raises
    ------
    ClusterError
        If a worker has less than what its blocks were planned to take, or than compiling the kernels takes.
    """
    needed = -(-max(planned, COMPILING) // 2**20)
    share = site.worker_bytes(max(planned, COMPILING)) // 2**20
    if share < needed:
        raise ClusterError(
            f"{(site.memory or 0) // 2**20} MiB for a job of {site.cores} core{'s' * (site.cores > 1)} leaves {share} "
            f'MiB for each worker, and one takes {needed} MiB: set memory = "{needed * site.cores} MiB" or more under '
            "[cluster], or fewer cores"
        )


def cap_threads() -> None:
    """Keep native threads within a worker's one core (numba, BLAS, ITK, blosc, zarr)."""
    import numba
    import SimpleITK
    import zarr
    from numcodecs import blosc
    from threadpoolctl import threadpool_limits

    numba.set_num_threads(1)
    threadpool_limits(1)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    blosc.set_nthreads(1)
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 4})
