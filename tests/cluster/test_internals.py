"""What crackdask expects of the private parts of distributed and dask-jobqueue; who changes them is told here what."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, Scheduler, SpecCluster
from distributed import utils as distributed_utils
from distributed.deploy.spec import ProcessInterface
from tornado import web

from crackdask.batch_systems import BATCH_SYSTEMS
from crackdask.cluster import distributed_internals
from crackdask.cluster.worker_settings import SETTINGS

WHERE = "crackdask/cluster/distributed_internals.py"


@contextmanager
def cluster_of(scheduler: type[Scheduler]) -> Iterator[Any]:
    made = distributed_internals.local_cluster(scheduler)
    with made(n_workers=0, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1") as held:
        yield held


class Chosen(Scheduler):  # type: ignore[misc, unused-ignore]
    """A scheduler that is told from others."""


# ---------------------------------------------------------------- distributed


def test_a_local_cluster_takes_the_scheduler_that_is_chosen_as_it_starts() -> None:
    with cluster_of(Chosen) as cluster:
        assert isinstance(cluster.scheduler, Chosen), (
            f"LocalCluster no longer reads scheduler_spec['cls'] in _start ({WHERE}, local_cluster)"
        )
        address = distributed_internals.dashboard_address(cluster.scheduler)
        assert address, f"a scheduler no longer keeps its pages in services['dashboard'] ({WHERE}, dashboard_address)"
        assert address.startswith("127.0.0.1:")
        assert address.split(":")[1] in cluster.dashboard_link


def test_every_page_is_found_by_the_find_handler_of_the_application() -> None:
    class Door(web.RequestHandler):
        def initialize(self, words: str) -> None:
            self.words = words

        def get(self) -> None:
            self.finish(self.words)

    class Guarded(Scheduler):  # type: ignore[misc, unused-ignore]
        def start_http_server(self, *words: Any, **more: Any) -> None:
            super().start_http_server(*words, **more)
            distributed_internals.guard_pages(self, lambda request: request.path == "/health", Door, {"words": "no"})

    from urllib.request import urlopen

    with cluster_of(Guarded) as cluster:
        place = f"http://{distributed_internals.dashboard_address(cluster.scheduler)}"
        told = f"pages are no longer found by http_application.find_handler ({WHERE}, guard_pages)"
        for page in ("/status", "/info/main/workers.html", "/metrics", "/sitemap.json"):
            assert urlopen(place + page, timeout=5).read() == b"no", f"{page}: {told}"
        assert urlopen(place + "/health", timeout=5).read() == b"ok", told


def test_the_flag_that_keeps_distributed_from_choosing_what_is_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed_utils._forkserver_preload_set in (False, True)
    called: list[Any] = []
    monkeypatch.setattr(distributed_utils, "_forkserver_preload_set", False)
    distributed_internals.leave_preload_to_us()
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        context = distributed_utils.get_mp_context()
        monkeypatch.setattr(type(context), "set_forkserver_preload", lambda _, names: called.append(names))
        distributed_utils.get_mp_context()
    assert not called, f"get_mp_context no longer heeds _forkserver_preload_set ({WHERE}, leave_preload_to_us)"


@pytest.mark.parametrize(
    "key", [*SETTINGS, "distributed.worker.multiprocessing-method", "distributed.deploy.lost-worker-timeout",
            "distributed.adaptive.interval", "distributed.comm.timeouts.connect", "distributed.dashboard.link"],
)  # fmt: skip
def test_settings_that_are_changed_are_known(key: str) -> None:
    assert dask.config.get(key, default=dask) is not dask, (
        f"distributed knows no {key}: what is set for it has no effect"
    )


def test_what_the_executor_asks_of_a_client() -> None:
    accepted = inspect.signature(Client.map).parameters
    assert {"key", "pure", "priority"} <= set(accepted)


# ---------------------------------------------------------------- dask-jobqueue


@pytest.fixture(scope="module")
def internals() -> Any:
    return pytest.importorskip(
        "crackdask.cluster.jobqueue_internals", reason="no dask-jobqueue: pip install crackdask[hpc]"
    )


@pytest.mark.parametrize("name", BATCH_SYSTEMS)
def test_dask_jobqueue_has_a_cluster_for_each_batch_system(internals: Any, name: str) -> None:
    system = BATCH_SYSTEMS[name]
    lasting = internals.lasting_cluster(system)
    assert issubclass(lasting, SpecCluster)
    assert issubclass(lasting.job_cls, ProcessInterface), "jobs are started and closed as a SpecCluster's processes are"
    assert (lasting.job_cls.submit_command,) == system.submit
    assert system.account_keyword in inspect.signature(lasting.__mro__[2].job_cls.__init__).parameters
    assert dask.config.get(f"jobqueue.{name}.walltime", default=dask) is not dask


def test_methods_that_are_overridden_are_there_and_are_called(internals: Any) -> None:
    for name, parameters in {"_start": [], "_close": [], "_update_worker_status": ["op", "msg"]}.items():
        found = inspect.signature(getattr(SpecCluster, name)).parameters
        assert [each for each in found if each != "self"] == parameters, f"SpecCluster.{name} is another one"
    assert inspect.iscoroutinefunction(SpecCluster._start)
    assert inspect.iscoroutinefunction(SpecCluster._close)


@pytest.fixture
def pretended(internals: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a `sbatch`, `squeue` and `scancel` that take jobs and start nothing."""
    answers = {"sbatch": 'echo "Submitted batch job $(date +%N)"', "squeue": "true", "scancel": "true"}
    for name, line in answers.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def clustered(internals: Any, folder: Path, work: Any) -> None:
    async def began() -> None:
        async with internals.lasting_cluster(BATCH_SYSTEMS["slurm"])(
            cores=2, processes=2, memory="1GiB", log_directory=str(folder / "logs"), asynchronous=True,
            scheduler_options={"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"},
        ) as cluster:  # fmt: skip
            await work(cluster)

    asyncio.run(began())


def test_a_job_of_several_workers_has_their_names(internals: Any, pretended: Path) -> None:
    async def work(cluster: Any) -> None:
        assert internals.log_folder(cluster) == pretended / "logs"
        cluster.scale(jobs=1)
        await cluster
        ((name, job),) = cluster.workers.items()
        assert job.job_id.isdigit()
        assert cluster._workers_of(name) == {f"{name}-0", f"{name}-1"}
        assert cluster._present() == set()
        assert isinstance(cluster._futures, set)

    clustered(internals, pretended, work)


def test_a_job_that_is_over_before_its_worker_comes_is_dropped(internals: Any, pretended: Path) -> None:
    async def work(cluster: Any) -> None:
        cluster.scale(jobs=1)
        await cluster
        ((_, job),) = cluster.workers.items()
        await cluster._look()
        assert cluster.stillborn == 1, "a pretended squeue knows no job"
        assert job not in cluster.workers.values()
        cluster.scale(jobs=0)

    clustered(internals, pretended, work)


def test_what_a_batch_system_refuses_is_kept(internals: Any, pretended: Path) -> None:
    (pretended / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no such queue' >&2\nexit 1\n")

    async def work(cluster: Any) -> None:
        cluster.scale(jobs=1)
        await cluster
        assert type(cluster).job_cls.refused == "sbatch: error: no such queue"
        cluster.scale(jobs=0)

    clustered(internals, pretended, work)


def test_workers_of_this_machine_are_copies_of_what_has_loaded_its_kernels() -> None:
    """Each would load numba by itself else, define all kernels, and write to all that it looks through for garbage."""
    code = (
        "import gc, importlib, sys\n"
        "from crackdask.cluster.local import _LOADED\n"
        "for name in _LOADED: importlib.import_module(name)\n"
        "from crackdask.kernels import compiling, nlm, tally\n"
        "print(len(compiling._late), type(tally._voxels).__name__, 'SimpleITK' in sys.modules, gc.isenabled())\n"
        "print(gc.get_freeze_count() > 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "0 CPUDispatcher True True\nTrue\n", done.stderr
