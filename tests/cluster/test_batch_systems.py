"""A batch system is one entry: with it the recipe, the commands and the jobs of workers know it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from crackdask.batch_systems import BATCH_SYSTEMS, BatchSystem, JobRequest, clock
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.job_checks import is_queued
from crackdask.recipe.site import ClusterParams, Site
from tests.support.tiny import Tiny


def asked(job: JobRequest) -> list[str | None]:
    return [f"-l nodes=1/core={job.cores}", job.walltime and f"-l walltime={job.walltime}", job.queue, None]


#: OAR, which dask-jobqueue knows and crackdask does not.
OAR = BatchSystem(
    name="oar", title="OAR", submit=("oarsub",), queue="oarstat -u", directive="#OAR", asked=asked, walltime=clock,
    taken=r"OAR_JOB_ID=(\d+)", asks=("oarstat", "-s", "-j"), over=("Terminated",), workers_class="OARCluster",
)  # fmt: skip


@pytest.fixture
def oar(monkeypatch: pytest.MonkeyPatch) -> BatchSystem:
    monkeypatch.setitem(BATCH_SYSTEMS, "oar", OAR)
    return OAR


def test_a_batch_system_is_one_entry(oar: BatchSystem, tiny: Tiny, tmp_path: Path) -> None:
    tiny.change("cluster", kind="oar", workers=2, walltime="2 h", queue="besteffort")
    assert "the recipe is valid" in tiny.crackdask("check", tiny.recipe).out
    said = tiny.crackdask("submit", tiny.recipe, "--store", tiny.store, "--dry-run")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[1:4] == ["#OAR -l nodes=1/core=2", "#OAR -l walltime=02:00:00", "#OAR besteffort"]
    for name in ("run", "submit"):
        assert "there is no `oarsub` here" in tiny.crackdask(name, tiny.recipe, "--store", tiny.store).err
    jobqueue = pytest.importorskip("crackdask.cluster.jobqueue", reason="no dask-jobqueue: pip install crackdask[hpc]")
    internals = pytest.importorskip("crackdask.cluster.jobqueue_internals")
    assert internals.lasting_cluster(oar).job_cls.submit_command == "oarsub"
    assert jobqueue.lifetime(7200)


@pytest.mark.parametrize("name", [None, "FluxCluster"])
def test_without_a_class_for_its_workers_a_run_goes_into_one_job(name: str | None) -> None:
    internals = pytest.importorskip("crackdask.cluster.jobqueue_internals", reason="no dask-jobqueue")
    with pytest.raises(ClusterError, match="has no jobs of OAR that hold workers: put the whole run into one job"):
        internals.lasting_cluster(replace(OAR, workers_class=name))


def test_without_its_entry_a_batch_system_is_unknown() -> None:
    with pytest.raises(ValueError, match="unknown cluster 'oar'; known: local, slurm, pbs, lsf, sge, kubernetes"):
        ClusterParams(kind="oar")


@pytest.mark.parametrize("name", BATCH_SYSTEMS)
def test_each_entry_is_whole(name: str) -> None:
    system = BATCH_SYSTEMS[name]
    request = JobRequest(2, 1024, system.walltime(5400), 60, "long", "nmc811", "/shared/logs")
    directives = [words for words in system.asked(request) if words]
    assert {
        word for word in ("long", "nmc811", "/shared/logs") if not any(word in each for each in directives)
    } == set()
    assert any("1:30" in each or "01:30" in each for each in directives)
    bare = [words for words in system.asked(JobRequest(1, 1024, None, 60, None, None, "/x")) if words]
    assert not any("None" in each for each in bare)
    assert len(bare) == len(directives) - 3


# What each answers when it takes a job, from its manual.
ANSWERS = {
    "slurm": ("Submitted batch job 4711", "4711"),
    "pbs": ("4711.server.beamline", "4711"),
    "lsf": ("Charged to 0042. Job <4711> is submitted to queue <long>.", "4711"),
    "sge": ('Your job 4711 ("crackdask") has been submitted', "4711"),
}


@pytest.mark.parametrize("name", BATCH_SYSTEMS)
def test_the_number_of_a_job(name: str) -> None:
    said, number = ANSWERS[name]
    assert BATCH_SYSTEMS[name].job_number(said) == number
    assert BATCH_SYSTEMS[name].job_number("who knows") == ""


@pytest.mark.parametrize(
    ("name", "answer", "status", "queued"),
    [
        ("slurm", "PENDING\n", 0, True), ("slurm", "", 0, False), ("slurm", "COMPLETING", 0, False),
        ("pbs", "7.host crackdask me 0 Q long\n", 0, True), ("pbs", "7.host crackdask me 00:01:00 F long", 0, False),
        ("lsf", "PEND", 0, True), ("lsf", "DONE", 0, False), ("lsf", "Job <7> is not found", 255, False),
        ("sge", "job_number: 7", 0, True), ("sge", "Following jobs do not exist: 7", 1, False),
    ],
)  # fmt: skip
def test_whether_a_job_waits_or_runs(
    name: str, answer: str, status: int, queued: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def ran(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(words)
        return subprocess.CompletedProcess(words, status, answer, "")

    monkeypatch.setattr(subprocess, "run", ran)
    assert is_queued(BATCH_SYSTEMS[name], "7") == queued
    assert calls == [[*BATCH_SYSTEMS[name].asks, "7"]]
    assert not is_queued(BATCH_SYSTEMS[name], "")
    assert len(calls) == 1, "a job without a number cannot be asked for"


def test_only_grid_engine_wants_a_parallel_environment() -> None:
    bare, named = Site(), Site.model_validate({"directives": ["-pe smp 4"]})
    complaints = {name for name, system in BATCH_SYSTEMS.items() if system.complaint(4, bare.directives)}
    assert complaints == {"sge"}
    assert BATCH_SYSTEMS["sge"].complaint(4, named.directives) is None
    assert BATCH_SYSTEMS["sge"].complaint(1, bare.directives) is None
