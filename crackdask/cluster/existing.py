"""A scheduler that somebody started already, by its address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from distributed import Client

from crackdask.cluster.errors import ClusterError
from crackdask.cluster.tls import Trust
from crackdask.cluster.worker_settings import cap_threads
from crackdask.engine.executors import Distributed, Say
from crackdask.recipe.site import Site

_PATIENCE = 600


def is_loopback(address: str) -> bool:
    """Tell whether an address stays on this machine.

    >>> is_loopback("tcp://127.0.0.1:8786"), is_loopback("tcp://[::1]:8786"), is_loopback("tcp://10.0.0.1:8786")
    (True, True, False)
    """
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def at_address(address: str, workers: int | None, site: Site, trust: Trust, say: Say) -> Iterator[Distributed]:
    """Hold a connection to a scheduler.

    Raises
    ------
    ClusterError
        If nothing answers there or it is not to be spoken to with these certificates, no worker is there, or anyone
        on the way could send it code.
    """
    if address.startswith("tcp://") and not is_loopback(address) and not trust.insecure:
        raise ClusterError(
            f"{address} is another machine's, and without TLS anyone on the way can run code on its workers and here: "
            "start the scheduler with certificates and use tls://, or say --insecure on a network that is yours alone"
        )
    security = trust.security(address) if address.startswith("tls://") else None
    try:
        client = Client(address, timeout="30s", security=security, set_as_default=False)
    except (OSError, ValueError) as error:
        if "certificate" in str(error):
            raise ClusterError(
                f"the scheduler at {address} and the certificates that were given are not of one authority: {error}"
            ) from error
        raise ClusterError(
            f"no scheduler answers at {address}: {error}; start one with `dask scheduler`, or use --cluster local"
        ) from error
    with client:
        present = sum(client.nthreads().values())
        if not present:
            raise ClusterError(f"the scheduler at {address} has no workers; start some with `dask worker {address}`")
        client.register_worker_callbacks(cap_threads)
        link = client.dashboard_link
        yield Distributed(client, workers or present, site.patience or _PATIENCE, say, str(link) if link else None)
