"""Runs through a real Slurm give the store of a local run, and say what is wrong when Slurm or a job does not do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from distributed import Client
from distributed.security import Security

from crackdask.cluster.launch import connect
from crackdask.engine.executors import Distributed
from crackdask.recipe.site import Site
from crackdask.store.root import attributes
from tests.support.slurm import Slurm
from tests.support.tiny import Tiny, assert_same_store

if find_spec("dask_jobqueue") is None:  # not imported here: that would change what Ctrl-C does
    pytest.skip("no dask-jobqueue: pip install crackdask[hpc]", allow_module_level=True)

SITE = """
kind = "slurm"
workers = 2
interface = "lo"
queue = "main"
walltime = 00:10:00
"""


@pytest.fixture
def queue(slurm: Slurm) -> Iterator[Slurm]:
    yield slurm
    slurm.clear()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    return path


def command(tiny: Tiny, site: Path, name: str = "run") -> list[str]:
    words = ("-m", "crackdask", name, tiny.recipe, "--store", tiny.store, "--cluster-config", site)
    return [sys.executable, *map(str, words)]


def test_a_run_in_two_jobs_of_which_one_is_cancelled_gives_the_store_of_a_local_run(
    queue: Slurm, tiny: Tiny, finished: Tiny, site: Path
) -> None:
    with subprocess.Popen(command(tiny, site), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        results = tiny.store.with_name("out.zarr.work") / "results"
        queue.wait(lambda: (results / "grey-0").exists(), 90)
        began = queue.jobs(name="crackdask-worker", state="RUNNING")
        assert len(began) == 2
        assert [job.nodes for job in began if job.nodes not in queue.nodes] == []
        last = max(job.number for job in began)
        queue.command("scontrol", "suspend", str(began[1].number))  # or the run is over before another job comes
        queue.command("scancel", str(began[0].number))
        queue.wait(lambda: any(job.number > last for job in queue.jobs(name="crackdask-worker")), 60)
        queue.command("scontrol", "resume", str(began[1].number))
        out, err = run.communicate(timeout=150)
    assert run.returncode == 0, (out, err)
    assert "asked Slurm for 2 jobs" in out
    assert queue.state(began[0].number) == "CANCELLED"
    assert [job for job in queue.jobs(name="crackdask-worker") if job.state != "COMPLETING"] == []
    assert not list(results.parent.glob("tls-*"))
    assert_same_store(tiny.store, finished.store)


def test_a_lost_job_of_several_workers_is_replaced(queue: Slurm, tmp_path: Path) -> None:
    # dask-jobqueue alone does not notice it.
    site = Site.model_validate({"interface": "lo", "cores": 2, "memory": "2 GiB", "queue": "main"})
    with connect("slurm", 2, 2**30, site=site, folder=tmp_path) as executor:
        assert isinstance(executor, Distributed)
        workers = executor.client.nthreads
        queue.wait(lambda: len(workers()) == 2, 60)
        [job], before = queue.jobs(state="RUNNING"), set(workers())
        place = str(executor.client.scheduler.address)
        for where, security in ((place.replace("tls", "tcp", 1), None), (place, Security.temporary())):
            with pytest.raises(OSError, match=r"Timed out|closed|certificate does not match"):
                Client(where, security=security, timeout="1s", set_as_default=False)
        assert all(worker.startswith("tls://127.0.0.1:") for worker in before)
        with pytest.raises(HTTPError, match="403"):
            urlopen((executor.dashboard or "").partition("?")[0], timeout=5)
        queue.command("scancel", str(job.number))
        queue.wait(lambda: len(set(workers()) - before) == 2, 60)
        assert dict(executor.map(abs, range(-9, 0))) == {-n: n for n in range(1, 10)}
    queue.wait(lambda: not queue.jobs(), 20)
    assert int(queue.command("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "true")) - job.number == 2, (
        "one took its place"
    )


def test_a_submitted_run_is_told_to_end_and_continues_when_it_is_submitted_again(
    queue: Slurm, tiny: Tiny, finished: Tiny, site: Path
) -> None:
    tiny.change("compute", memory="1 GiB")
    said = tiny.crackdask("submit", tiny.recipe, "--store", tiny.store, "--cluster-config", site)
    assert said.code == 0, said.err
    assert "Submitted batch job" in said.out
    assert f"crackdask status {tiny.store}" in said.out
    [job] = queue.jobs(name="crackdask")
    results = tiny.store.with_name("out.zarr.work") / "results"
    queue.wait((results / "grey-0").exists, 90)
    assert "run" in tiny.crackdask("status", tiny.store).out
    again = tiny.crackdask("submit", tiny.recipe, "--store", tiny.store, "--cluster-config", site)
    assert again.code == 2
    assert "another run is writing this store" in again.err
    queue.command("scancel", "--signal=TERM", "--batch", str(job.number))  # as before the walltime ends
    queue.wait(lambda: queue.state(job.number) == "FAILED", 30)
    log = results.parent / "logs" / f"run-{job.number}.log"
    assert log.stat().st_mode & 0o077 == 0 or log.parent.stat().st_mode & 0o077 == 0
    assert "stopped by a signal to end; the finished blocks are kept" in log.read_text()
    # And again, its workers now in jobs of their own.
    said = tiny.crackdask("submit", tiny.recipe, "--store", tiny.store, "--cluster-config", site, "--spread")
    [job] = queue.jobs(name="crackdask")
    queue.wait(lambda: len(queue.jobs(name="crackdask-worker", state="RUNNING")) == 2, 60)
    queue.wait(lambda: queue.state(job.number) == "COMPLETED", 120)
    queue.wait(lambda: not queue.jobs(), 20)
    assert_same_store(tiny.store, finished.store)


def test_a_submitted_run_that_waits_for_scans_is_told_to_end_and_goes_on(
    queue: Slurm, tiny: Tiny, finished: Tiny, site: Path
) -> None:
    tiny.change("compute", memory="1 GiB")
    later = (tiny.folder / "scans" / "b").rename(tiny.folder / "later")
    report = tiny.folder / "out-report" / "report.html"
    words = ("submit", tiny.recipe, "--store", tiny.store, "--cluster-config", site, "--watch", "--settle", "0.5")

    def begun() -> int:
        said = tiny.crackdask(*words)
        assert said.code == 0, said.err
        [job] = queue.jobs(name="crackdask")
        log = tiny.store.with_name("out.zarr.work") / "logs" / f"run-{job.number}.log"
        queue.wait(lambda: log.exists() and "4.2 V: not there yet" in log.read_text() and report.exists(), 120)
        assert attributes(tiny.store)["identity"]["states"] == ["pristine"]
        return job.number

    job = begun()
    queue.command("scancel", "--signal=TERM", "--batch", str(job))  # while it waits, as where a walltime ends
    queue.wait(lambda: queue.state(job) == "FAILED", 60)
    job = begun()
    later.rename(tiny.folder / "scans" / "b")
    queue.wait(lambda: queue.state(job) == "COMPLETED", 120)
    assert_same_store(tiny.store, finished.store)


def test_a_second_job_for_a_store_is_refused_while_the_first_waits(queue: Slurm, tiny: Tiny, site: Path) -> None:
    words = ("submit", tiny.recipe, "--store", tiny.store, "--cluster-config", site)
    site.write_text(site.read_text() + 'directives = ["--hold"]\n')
    assert tiny.crackdask(*words).code == 0
    [job] = queue.jobs(name="crackdask")
    said = tiny.crackdask(*words)
    assert said.code == 2
    assert f"a job that makes this store is in the queue already (Submitted batch job {job.number}, " in said.err
    assert [job] == queue.jobs(name="crackdask")
    assert f"a job was asked for that makes it (Submitted batch job {job.number}, " in (
        tiny.crackdask("status", tiny.store).err
    )
    queue.command("scancel", str(job.number))
    queue.wait(lambda: not queue.jobs(), 20)
    assert tiny.crackdask(*words).code == 0
    [job] = queue.jobs(name="crackdask")
    queue.command("scancel", str(job.number))


def test_what_slurm_refuses_is_told(queue: Slurm, tiny: Tiny, site: Path) -> None:
    site.write_text(SITE.replace("main", "night"))
    for name in ("run", "submit"):
        said = tiny.crackdask(name, tiny.recipe, "--store", tiny.store, "--cluster-config", site)
        assert said.code == 2
        assert "Slurm refused the job" in said.err
        assert "invalid partition specified: night" in said.err
    assert queue.jobs() == []


def test_jobs_that_end_before_their_worker_comes_are_no_endless_resubmission(
    queue: Slurm, tiny: Tiny, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write_text(SITE + 'python = "/no/such/python"\n')
    monkeypatch.setattr("crackdask.cluster.jobqueue_internals._ASK", 0.5)
    said = tiny.crackdask("run", tiny.recipe, "--store", tiny.store, "--cluster-config", site)
    assert said.code == 2
    assert "jobs ended before their worker came: see the last logs in" in said.err
    logs = list((tiny.store.with_name("out.zarr.work") / "logs").glob("crackdask-worker-*.err"))
    assert 3 <= len(logs) <= 8
    assert "/no/such/python" in logs[0].read_text()
