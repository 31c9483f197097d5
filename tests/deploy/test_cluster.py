"""The Kubernetes manifests at work: what the dask operator makes of them runs, with TLS, and gives the same store."""

from __future__ import annotations

import asyncio
import copy
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client
from distributed.security import Security

from crackdask.store.root import attributes
from tests.support.fake_kubernetes import Machine, free_port, made_of
from tests.support.manifests import DEPLOY, errors, named
from tests.support.tiny import Tiny
from tests.support.waiting import until

README = (DEPLOY / "kubernetes" / "README.md").read_text()


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the certificate that the README's command makes, named as the README's secret names it."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl; on Debian: apt-get install openssl")
    made, folder = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("tls")
    (command,) = re.findall(r"^    (openssl req (?:.*\\\n)*.*)$", README, re.MULTILINE)
    subprocess.run(["bash", "-euc", command], cwd=made, check=True, capture_output=True)
    for name, file in re.findall(r"--from-file=([\w.]+)=([\w.]+)", README):
        shutil.copy(made / file, folder / name)
    assert {path.name for path in folder.iterdir()} == {"ca.crt", "tls.crt", "tls.key"}
    return folder


@pytest.fixture(scope="module")
def machine(tls: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a machine on which what the operator makes of our job runs, with two workers."""
    folder = tmp_path_factory.mktemp("machine")
    for name in ("dask", "data", "tmp"):
        (folder / name).mkdir()
    asked = copy.deepcopy(named("job.yaml", "DaskJob"))
    asked["spec"]["cluster"]["spec"]["worker"]["replicas"] = 2
    made = asyncio.run(made_of(asked, folder, {"daskclusters": 1, "deployments": 3, "services": 1, "pods": 1}))
    assert [complaint for kind in made.values() for found in kind.values() for complaint in errors(found)] == []
    assert (list(made["services"]), list(made["pods"])) == (["crackdask-scheduler"], ["crackdask-runner"])
    runner = made["pods"]["crackdask-runner"]["spec"]

    ports = {str(number): str(free_port()) for number in (8786, 8787)}
    names = {"crackdask-scheduler:8786": f"127.0.0.1:{ports['8786']}", "127.0.0.1:8787": f"127.0.0.1:{ports['8787']}"}
    names |= {f"--port={old}": f"--port={new}" for old, new in ports.items()}
    names |= {"--worker-port=8788": "--worker-port=0", "--nanny-port=8789": "--nanny-port=0"}  # two share a machine
    mounts = {"/etc/dask": folder / "dask", "/data": folder / "data", "/tmp": folder / "tmp"}
    (run,) = runner["containers"]
    host = Machine(folder, mounts, names, run)
    settings = named("settings.yaml", "ConfigMap", "crackdask-dask")["data"]["crackdask.yaml"]
    (folder / "dask" / "crackdask.yaml").write_text(settings.replace("/etc/crackdask/tls", str(tls)))
    try:
        for name, deployment in made["deployments"].items():
            host.start(name, container(deployment), "--host=127.0.0.1")
        waiting = host.run(runner["initContainers"][0])
        assert waiting.returncode == 0, waiting.stderr + host.logs()
        yield host
    finally:
        host.stop()


def address(host: Machine) -> str:
    return "tls://" + host.names["crackdask-scheduler:8786"]


def test_a_run_on_it_gives_the_store_of_a_local_run(machine: Machine, finished: Tiny) -> None:
    data = machine.mounts["/data"]
    shutil.copytree(finished.folder / "scans", data / "scans")
    shutil.copy(finished.recipe, data / "recipe.toml")
    said = machine.run(machine.runner)
    assert said.returncode == 0, said.stdout + said.stderr + machine.logs()
    finished.assert_same_store(data / "result.zarr", finished.store)


def test_a_run_on_it_that_waits_for_scans_gives_that_store_too(machine: Machine, finished: Tiny) -> None:
    data = machine.mounts["/data"]
    shutil.copytree(finished.folder / "scans" / "a", data / "watched" / "a")
    (data / "watched.toml").write_text(finished.recipe.read_text().replace("scans/", "watched/"))
    (pod,) = named("watch.yaml", "Job", "crackdask-watch")["spec"]["template"]["spec"]["containers"]
    asked = {"recipe.toml": "watched.toml", "result.zarr": "watched.zarr", "--settle=90": "--settle=1"}
    words = [next((word.replace(a, b) for a, b in asked.items() if a in word), word) for word in pod["args"]]
    assert len(set(words) - set(pod["args"])) == len(asked)
    machine.start("watch", {**pod, "args": words})
    process, log = machine.processes.pop("watch"), machine.folder / "watch.log"
    try:
        until(lambda: "watched-report/report.html" in log.read_text() or process.poll() is not None, 240, log.read_text)
        assert attributes(data / "watched.zarr")["identity"]["states"] == ["pristine"]
        shutil.copytree(finished.folder / "scans" / "b", data / "watched" / "b")
        assert process.wait(240) == 0, log.read_text() + machine.logs()
    finally:
        process.kill()
    finished.assert_same_store(data / "watched.zarr", finished.store)


def test_the_workers_are_those_of_the_deployments(machine: Machine, tls: Path) -> None:
    cert = {f"tls_client_{what}": str(tls / name) for what, name in (("cert", "tls.crt"), ("key", "tls.key"))}
    security = Security(tls_ca_file=str(tls / "ca.crt"), require_encryption=True, **cert)
    with Client(address(machine), security=security, timeout="10s", set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert {worker["name"] for worker in workers} == {name for name in machine.processes if "worker" in name}
        assert {worker["nthreads"] for worker in workers} == {1}
        assert {worker["memory_limit"] for worker in workers} == {3 * 2**30}


def test_nobody_comes_in_without_the_certificate(machine: Machine, tls: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"(?i)timed out|reset|closed|tls|ssl|certificate"):
        Client(address(machine).replace("tls://", "tcp://"), timeout="3s", set_as_default=False)
    other = Security.temporary()
    with pytest.raises(OSError, match=r"(?i)timed out|reset|closed|tls|ssl|certificate"):
        Client(address(machine), security=other, timeout="3s", set_as_default=False)
    context = ssl.create_default_context(cafile=tls / "ca.crt")
    context.check_hostname = False
    assert _heard(address(machine), context) == b""  # our authority, but nothing to show
    context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
    assert _heard(address(machine), context)


def _heard(where: str, context: ssl.SSLContext) -> bytes:
    """Return the first byte that a scheduler says; none if it hangs up, however it does."""
    host, port = where.removeprefix("tls://").split(":")
    with socket.create_connection((host, int(port)), 5) as plain:
        try:
            with context.wrap_socket(plain) as secure:
                return secure.recv(1)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_the_probe_tells_a_scheduler_that_lives(machine: Machine) -> None:
    (scheduler,) = named("cluster.yaml", "DaskCluster")["spec"]["scheduler"]["spec"]["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        command = scheduler[probe]["exec"]["command"]
        assert machine.run({"command": command}).returncode == 0
        elsewhere = [word.replace("127.0.0.1:8787", f"127.0.0.1:{free_port()}") for word in command]
        assert machine.run({"command": elsewhere}).returncode != 0


def test_the_secret_holds_what_the_settings_name() -> None:
    settings = yaml.safe_load(named("settings.yaml", "ConfigMap", "crackdask-dask")["data"]["crackdask.yaml"])
    wanted = settings["distributed"]["comm"]["tls"]["ca-file"].rpartition("/")[2]
    assert f"--from-file={wanted}=" in README
