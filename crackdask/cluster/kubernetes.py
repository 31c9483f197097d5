"""Workers in the pods of a Kubernetes cluster, through the dask operator.

The operator's own `KubeCluster` speaks to its scheduler without TLS. So the resources are made here: a secret with a
run's own certificates and a DaskCluster that uses them, both gone when the run is over. The operator keeps a deployment
for each worker, which replaces a pod that is evicted; nothing is scaled while the run is at work.
"""

from __future__ import annotations

import base64
import getpass
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from distributed import Client

from crackdask.cluster import tls
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.worker_settings import COMPILING, cap_threads, in_environment
from crackdask.engine.executors import Distributed, Say, spoken
from crackdask.recipe.site import Site

try:
    from kr8s import APITimeoutError, NotFoundError, ServerError
    from kr8s.objects import Secret, Service, new_class
except ImportError as missing:
    raise ClusterError(
        'pods of Kubernetes need dask-kubernetes: pip install "crackdask[kubernetes]", or use --cluster local'
    ) from missing

DaskCluster = new_class("DaskCluster", "kubernetes.dask.org/v1")

_PATIENCE = 3600  # images are pulled, nodes are added
_PORT = 8786
_HEALTH = 8787
_CERTIFICATES = "/etc/crackdask/tls"
#: For the libraries of a worker beside what its blocks take: the pod's limit, above the one that dask keeps.
_BESIDE = 2**28
#: Credentials of object storage, where there are some (deploy/kubernetes says how).
_STORAGE = [{"secretRef": {"name": "crackdask-s3", "optional": True}}]


def resources(
    name: str, workers: int, memory: int, site: Site, files: Mapping[str, str], certificates: str = _CERTIFICATES
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the secret and the DaskCluster of a run.

    Parameters
    ----------
    name
        Of both.
    workers, memory
        How many workers, and bytes of each.
    site
        Image, namespace and claim.
    files
        Text of ca.pem, cert.pem and key.pem.
    certificates
        Folder in which pods see them.
    """
    labels = {"app.kubernetes.io/name": "crackdask", "app.kubernetes.io/instance": name}
    meta = {"name": name, "namespace": site.namespace or "default", "labels": labels}
    shown = {"ca": "--tls-ca-file", "cert": "--tls-cert", "key": "--tls-key"}
    proof = [word for stem, option in shown.items() for word in (option, f"{certificates}/{stem}.pem")]
    quiet = ["--no-dashboard", "--dashboard-address"]
    each = site.worker_bytes(max(memory, COMPILING))
    scheduler = ["dask", "scheduler", "--protocol", "tls", "--port", str(_PORT), *quiet, f"127.0.0.1:{_HEALTH}", *proof]
    worker = [
        "dask", "worker", f"tls://{name}-scheduler:{_PORT}", "--name", "$(DASK_WORKER_NAME)", "--protocol", "tls",
        "--nthreads", "1", "--memory-limit", str(each), "--death-timeout", "300", "--local-directory", "/tmp",
        *quiet, "127.0.0.1:0", *proof,
    ]  # fmt: skip
    cluster = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": meta,
        "spec": {
            "idleTimeout": 0,  # the operator would have to ask the scheduler without a certificate
            "scheduler": {
                "spec": _pod("scheduler", site, scheduler, 2 * COMPILING, name, _port_and_probe()),
                "service": {
                    "type": "ClusterIP",
                    "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
                    "ports": [{"name": "tcp-comm", "protocol": "TCP", "port": _PORT, "targetPort": "tcp-comm"}],
                },
            },
            "worker": {
                "replicas": workers,
                "spec": _pod("worker", site, worker, each + _BESIDE, name, {"envFrom": _STORAGE}, data=True),
            },
        },
    }
    encoded = {file: base64.b64encode(text.encode()).decode() for file, text in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": encoded}, cluster


def _port_and_probe() -> dict[str, Any]:
    """Return the scheduler's port and probe.

    The port has a name because the operator's definition takes no number where a service refers to it. The probe asks
    inside the pod: one from the node would come without a certificate, and each would be a warning in the log.
    """
    ask = f'import urllib.request; urllib.request.urlopen("http://127.0.0.1:{_HEALTH}/health", timeout=5)'
    return {
        "ports": [{"name": "tcp-comm", "containerPort": _PORT, "protocol": "TCP"}],
        "readinessProbe": {"exec": {"command": ["python", "-Ic", ask]}, "periodSeconds": 5, "timeoutSeconds": 10},
    }


def _pod(
    role: str, site: Site, words: list[str], memory: int, secret: str, more: Mapping[str, Any], data: bool = False
) -> dict[str, Any]:
    """Return a pod of one container that may do nothing but its work."""
    mounts = [{"name": "tls", "mountPath": _CERTIFICATES, "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}]
    volumes: list[dict[str, Any]] = [
        {"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if data and site.claim:
        mounts.append({"name": "data", "mountPath": site.mount or "/data"})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": site.claim}})
    amount = {"cpu": "1", "memory": str(memory)}
    container = {
        "name": role,
        "image": site.image,
        "args": words,
        "env": [{"name": key, "value": value} for key, value in in_environment().items()],
        "resources": {"requests": amount, "limits": amount},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
        **more,
    }
    person = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}
    return {
        "automountServiceAccountToken": False,
        "securityContext": person | {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": volumes,
    }


@contextmanager
def pods(workers: int, memory: int, site: Site, say: Say) -> Iterator[Distributed]:
    """Hold workers in pods until the run is over.

    Raises
    ------
    ClusterError
        If the image is not named, Kubernetes does not answer or refuses, or no worker comes within the patience.
    """
    if site.image is None:
        raise ClusterError(
            'pods need an image with crackdask: image = "registry/crackdask:tag" under [cluster] (deploy/ builds one)'
        )
    patience = site.patience or _PATIENCE
    person = re.sub(r"[^a-z0-9]+", "-", getpass.getuser().lower()).strip("-")[:20]
    name = f"crackdask-{person}-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory() as place, tls.in_files(Path(place)) as security, ExitStack() as held:
        folder = Path(security.tls_ca_file).parent
        wanted = resources(name, workers, memory, site, {path.name: path.read_text() for path in folder.glob("*.pem")})
        try:
            for kind, content in zip((Secret, DaskCluster), wanted, strict=True):
                resource = kind(content)
                resource.create()
                held.callback(resource.delete)
            namespace = wanted[0]["metadata"]["namespace"]
            say(f"asked Kubernetes for {workers} workers; `kubectl -n {namespace} get pods` shows {name}")
            until = time.monotonic() + patience
            address = held.enter_context(_reached(name, namespace, until))
        except (ServerError, APITimeoutError, NotFoundError, OSError, ValueError) as error:
            raise ClusterError(
                f"Kubernetes gave no cluster: {error}; is the dask operator installed, and may you make secrets and "
                "daskclusters in the namespace? (deploy/ has the commands)"
            ) from error
        client = held.enter_context(_greeted(address, security, until, patience))
        client.register_worker_callbacks(cap_threads)
        yield Distributed(client, workers, patience, say)


@contextmanager
def _reached(name: str, namespace: str, until: float) -> Iterator[str]:
    """Hold the way to the scheduler: by its name from inside the cluster, through kubectl's door from outside."""
    host = f"{name}-scheduler.{namespace}.svc"
    while time.monotonic() < until:
        try:
            service = Service.get(f"{name}-scheduler", namespace=namespace)
            break
        except NotFoundError:
            time.sleep(1)
    else:
        raise ClusterError("the operator made no scheduler; does it watch this namespace?")
    try:
        socket.getaddrinfo(host, _PORT)
    except socket.gaierror:
        while not service.ready():
            if time.monotonic() > until:
                raise ClusterError(f"the scheduler's pod did not start; `kubectl -n {namespace} get pods`") from None
            time.sleep(1)
        with service.portforward(_PORT, local_port="auto") as port:
            yield f"tls://127.0.0.1:{port}"
    else:
        yield f"tls://{host}:{_PORT}"


@contextmanager
def _greeted(address: str, security: Any, until: float, patience: float) -> Iterator[Client]:
    """Hold a client of the scheduler, from when it and a first worker are there."""
    while True:
        try:
            client = Client(address, security=security, timeout="10s", set_as_default=False)
            break
        except OSError as error:
            if time.monotonic() > until:
                raise ClusterError(f"the scheduler did not answer within {spoken(patience)}: {error}") from error
    with client:
        while not client.nthreads():
            if time.monotonic() > until:
                raise ClusterError(
                    f"no worker came within {spoken(patience)}; `kubectl describe pods` tells why (image, room, claim)"
                )
            time.sleep(1)
        yield client
