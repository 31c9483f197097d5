"""A pretended Kubernetes: an API server in memory, the real dask operator, and containers as processes of this machine.

What is real: the operator, the objects it makes, the commands, arguments and environment of the containers, dask with
mutual TLS between its processes. What is not: admission, accounts and roles, scheduling on nodes, images, volumes,
the name service, network policies. Everything listens on loopback.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib.resources
import itertools
import os
import re
import socket
import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kmock
import yaml

Object = dict[str, Any]
_BIN = Path(sys.executable).parent


class ApiServer(kmock.KubernetesEmulator):
    """Objects in memory, with what the API server adds to them and the operator asks for."""

    versions = itertools.count(1)

    async def _handle(self, request: Any) -> Any:
        if request.action in (kmock.action.CREATE, kmock.action.UPDATE) and isinstance(request.data, dict):
            metadata = request.data.setdefault("metadata", {})
            metadata["resourceVersion"] = str(next(self.versions))
            if request.action == kmock.action.CREATE:
                if "generateName" in metadata:
                    metadata.setdefault("name", metadata["generateName"] + uuid.uuid4().hex[:5])
                if request.namespace:
                    metadata.setdefault("namespace", request.namespace)
                metadata.setdefault("uid", str(uuid.uuid4()))
                metadata.setdefault("creationTimestamp", f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}")
                if request.resource and request.resource.plural == "services":
                    request.data.setdefault("status", {"loadBalancer": {}})
        return await super()._handle(request)

    async def _serve_list(self, request: Any) -> Any:
        found: Any = await super()._serve_list(request)
        wanted = dict(word.split("=", 1) for word in (request.params.get("labelSelector") or "").split(",") if word)
        found["items"] = [
            made for made in found["items"] if wanted.items() <= made["metadata"].get("labels", {}).items()
        ]
        found["metadata"] = {"resourceVersion": str(next(self.versions))}
        return found

    def know_dask(self) -> None:
        """Serve the operator's kinds too."""
        folder = importlib.resources.files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
        for crd in itertools.chain.from_iterable(yaml.safe_load_all(file.read_text()) for file in folder.iterdir()):
            if crd:
                names, version = crd["spec"]["names"], crd["spec"]["versions"][0]["name"]
                self.resources[f"{crd['spec']['group']}/{version}/{names['plural']}"] = {
                    "kind": names["kind"],
                    "singular": names.get("singular"),
                    "namespaced": True,
                    "verbs": {"create", "delete", "get", "list", "patch", "update", "watch"},
                    "shortnames": set(names.get("shortNames", [])),
                    "categories": set(),
                    "subresources": {"status"},
                }

    def living(self, plural: str) -> dict[str, Object]:
        """Return the objects of a kind by name."""
        return {
            name: made.raw
            for (kind, _, name), made in self.objects.items()
            if kind.plural == plural and not made.deleted
        }


@dataclass
class Machine:
    """Runs containers as processes: volumes become folders, service names and ports become loopback and free ports."""

    folder: Path
    mounts: Mapping[str, Path]
    names: Mapping[str, str]
    runner: Object
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """Return a word of a container with its paths and addresses as they are on this machine."""
        for name, real in self.names.items():
            text = text.replace(name, real)
        mounts = "|".join(map(re.escape, self.mounts))
        return re.sub(rf"(^|=)({mounts})(?=/|$)", lambda found: f"{found[1]}{self.mounts[found[2]]}", text)

    def environment(self, container: Object) -> dict[str, str]:
        """Return a container's environment; dask reads its settings from where the map of settings lies."""
        set_here = {entry["name"]: self.here(entry["value"]) for entry in container.get("env", [])}
        return {**os.environ, "DASK_ROOT_CONFIG": str(self.mounts["/etc/dask"]), **set_here}

    def words(self, container: Object) -> list[str]:
        """Return a container's command, with $(NAME) filled in and its program from this environment."""
        environment = self.environment(container)
        words = [*container.get("command", []), *container.get("args", [])]
        words = [re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], word) for word in words]
        return [str(_BIN / words[0]), *map(self.here, words[1:])]

    def start(self, name: str, container: Object, *more: str) -> None:
        """Start a container that stays."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*self.words(container), *more],
                env=self.environment(container),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def run(self, container: Object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        return subprocess.run(
            self.words(container),
            env=self.environment(container),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def logs(self) -> str:
        """Return the ends of what the containers wrote."""
        return "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        end(*reversed(self.processes.values()))


def end(*processes: subprocess.Popen[bytes]) -> None:
    """End processes, gently first."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def operator(folder: Path, port: int) -> Iterator[None]:
    """Run the dask operator on an API server of this machine."""
    access = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "users": [{"name": "fake", "user": {}}],
        "current-context": "fake",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(access))
    command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone"]
    with (folder / "operator.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-m", "dask_kubernetes.operator.controller"],
            env={**os.environ, "KUBECONFIG": str(folder / "kubeconfig")},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        end(process)


async def made_of(
    asked: Object, folder: Path, wanted: Mapping[str, int], timeout: float = 180
) -> dict[str, dict[str, Object]]:
    """Give an object to an API server on which the operator works, and return the objects that come of it.

    Parameters
    ----------
    asked
        The object.
    folder
        Where logs go.
    wanted
        How many objects of which kinds (in the plural) to wait for.
    timeout
        Seconds to wait.

    Returns
    -------
        Objects of these kinds, by kind and name.
    """
    async with ApiServer() as server, kmock.Server(server) as served:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of importlib, in kmock
            server.resources.load_bundled()
        server.know_dask()
        server["get", re.compile(r"/version/*")] << {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
        with operator(folder, served.port):
            await _create(asked, served.port)
            for _ in range(int(timeout / 0.2)):
                made = {plural: server.living(plural) for plural in wanted}
                if all(len(made[plural]) == count for plural, count in wanted.items()):
                    return made
                await asyncio.sleep(0.2)
    found = {plural: sorted(names) for plural, names in made.items()}
    raise AssertionError(f"{found}, not {dict(wanted)}: {(folder / 'operator.log').read_text()[-4000:]}")


async def _create(made: Object, port: int) -> None:
    import aiohttp

    where = f"http://127.0.0.1:{port}/apis/{made['apiVersion']}/namespaces/crackdask/{made['kind'].lower()}s"
    async with aiohttp.ClientSession() as session, session.post(where, json=made) as answer:
        assert answer.status < 300, await answer.text()
