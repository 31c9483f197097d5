"""Projections and their tomograms in object storage and on clusters whose processes are killed: the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

import crackdask
from crackdask.cluster.launch import connect
from crackdask.engine.checkpoints import Work
from crackdask.engine.progress import BlockReport
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.phantom.projected_scans import write_projections
from crackdask.recipe.recipe import check
from crackdask.schema import UnitKey
from crackdask.storage.bucket import Prefix
from crackdask.storage.locations import Place
from tests.support.bucket import Server, files, upload
from tests.support.projected import PROJECTED, content, raw_attenuation, run
from tests.support.silence import Silent
from tests.support.tiny import as_toml

CHILD = Path(__file__).parents[1] / "support" / "child.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projected")
    write_projections(PROJECTED, folder)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store on the disk that nothing disturbed."""
    store = tmp_path_factory.mktemp("undisturbed") / "store.zarr"
    assert not run(folder, store, until="grey").failures
    return store


def assert_alike(found: Place, wanted: Path) -> None:
    """Assert that grey levels are the same bytes, and so is all that was found by reconstruction."""
    mine, theirs = ({k: v for k, v in files(each).items() if k.startswith("volumes/")} for each in (found, wanted))
    assert [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)] == []
    assert sum(map(len, mine.values())) > 10_000
    for state in range(2):
        key = UnitKey("reconstruct", state)
        (_, ours), (_, others) = (Work.beside(each).result(key) or ("", {}) for each in (found, wanted))
        assert sorted(ours) == sorted(others)
        for name, values in ours.items():
            np.testing.assert_array_equal(values, others[name], err_msg=name)


# ---------------------------------------------------------------- object storage


@pytest.fixture(scope="module")
def bucket(server: Server) -> Prefix:
    return server.bucket("projections")


def in_bucket(folder: Path, bucket: Prefix) -> dict[str, Any]:
    """Return the recipe with its scans in a bucket."""
    recipe = content(folder, reconstruct={"keep": "float16"})
    for state in recipe["states"]:
        there = bucket / "scans" / Path(state["source"]).name
        state["source"] = str(upload(folder / state["source"], there))
    return recipe


def test_projections_in_a_bucket_make_the_tomograms_of_those_on_a_disk(
    folder: Path, store: Path, bucket: Prefix
) -> None:
    scans = Scans.of(check(in_bucket(folder, bucket)), folder)
    assert all(scans.projections(state) for state in range(2))
    remote = bucket / "runs" / "store.zarr"
    with connect("synchronous", None, scans.recipe.compute.memory) as executor:
        assert not Run(scans, remote, executor, Silent())("grey").failures
    assert_alike(remote, store)
    left = [p for p in remote.parent.files() if "volumes/tomogram" in str(p) or "sinograms" in str(p)]
    assert left == []
    attenuation = raw_attenuation(store).astype("float16")
    np.testing.assert_array_equal(crackdask.open(remote)["tomograms"].attenuation[0], attenuation)


# ---------------------------------------------------------------- kills


@dataclass
class KillsAWorker(Silent):
    """Progress that kills a worker of a cluster when some blocks of a reconstruction are done."""

    address: str = ""
    killed: list[tuple[str, int]] = field(default_factory=list)

    def advance(self, unit: UnitKey, report: BlockReport) -> None:
        super().advance(unit, report)
        if unit.step == "reconstruct" and len(self.reports) in (2, 8):
            with Client(self.address, set_as_default=False) as client:
                pid = min(client.run(os.getpid).values())
            os.kill(pid, signal.SIGKILL)
            self.killed.append((unit.step, pid))


def test_a_reconstruction_outlives_its_workers(folder: Path, store: Path, tmp_path: Path) -> None:
    scans = Scans.of(check(content(folder)), folder)
    options: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "memory_limit": "2 GiB"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        progress = KillsAWorker(address=cluster.scheduler_address)
        with connect(cluster.scheduler_address, None, scans.recipe.compute.memory) as executor:
            assert not Run(scans, tmp_path / "s.zarr", executor, progress)("grey").failures
    assert len(set(progress.killed)) == 2
    assert_alike(tmp_path / "s.zarr", store)


def test_a_local_cluster_killed_twice_gives_the_same_bits(folder: Path, store: Path, tmp_path: Path) -> None:
    """All processes are killed at once, as frames are sorted and as slices are made."""
    recipe, log, said = tmp_path / "recipe.toml", tmp_path / "log", tmp_path / "said"
    values = content(folder)
    for state in values["states"]:
        state["source"] = str(folder / state["source"])
    recipe.write_text(as_toml(values))
    command: list[str | Path] = [
        sys.executable,
        CHILD,
        log,
        "run",
        recipe,
        "--store",
        tmp_path / "s.zarr",
        "--until",
        "grey",
    ]
    command += ["--cluster", "local", "--workers", "2"]

    def start() -> subprocess.Popen[bytes]:
        with said.open("ab") as out:
            return subprocess.Popen(command, start_new_session=True, stdout=out, stderr=out)

    def begun(pass_: str) -> bool:
        return log.exists() and f"begin reconstruct-0 {pass_} " in log.read_text()

    for pass_ in ("sort", "slices"):
        with start() as process:
            deadline = time.monotonic() + 120
            while not begun(pass_):
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
    with start() as process:
        assert process.wait(300) == 0, said.read_text()
    assert_alike(tmp_path / "s.zarr", store)
