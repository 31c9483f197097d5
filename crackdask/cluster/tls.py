"""Certificates, so that nobody but a run's own processes can speak to its scheduler.

A dask scheduler runs any code for anyone who can open its port. With mutual TLS both ends of every connection must show
a certificate that the cluster's own authority signed. Those made here are their own authority, live for one
run, and whoever can read the key belongs to the cluster: it lies in a folder that only its owner can enter.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed.security import Security
from filelock import FileLock, Timeout

from crackdask.cluster.errors import ClusterError


@dataclass(frozen=True)
class Trust:
    """How to speak to a scheduler which somebody else started.

    Attributes
    ----------
    ca, cert, key
        Files in PEM format: its authority, our own certificate, and the key of that.
    insecure
        Whether one on another machine may do without TLS.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False

    def security(self, address: str) -> Security:
        """Return how to speak to a scheduler; what is not given is taken from dask's own configuration.

        Raises
        ------
        ClusterError
            If there are no certificates, or one is not there or is none.
        """
        given = {"tls_ca_file": self.ca, "tls_client_cert": self.cert, "tls_client_key": self.key}
        for option, path in zip(("--tls-ca", "--tls-cert", "--tls-key"), given.values(), strict=True):
            if path is not None and not path.is_file():
                raise ClusterError(f"{option}: there is no file {path}")
        security = Security(
            require_encryption=True, **{name: str(path) for name, path in given.items() if path is not None}
        )
        if not (security.tls_ca_file and security.tls_client_cert):
            raise ClusterError(
                f"{address} speaks TLS and wants to see a certificate: give --tls-ca, --tls-cert and --tls-key, or set "
                "distributed.comm.tls in dask's configuration"
            )
        try:
            security.get_connection_args("client")
        except OSError as error:
            raise ClusterError(
                f"--tls-ca, --tls-cert and --tls-key cannot be used: {error}; give three files in PEM format, of which "
                "the last is the key of the second"
            ) from error
        return security


def temporary() -> Security:
    """Return new certificates that exist in memory only."""
    return Security.temporary()


@contextmanager
def in_files(folder: Path) -> Iterator[Security]:
    """Hold new certificates as files that other machines can read as this user, and nobody else can.

    Parameters
    ----------
    folder
        Where a folder for them is made; it is removed at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    private = Path(tempfile.mkdtemp(prefix="tls-", dir=folder))  # made with 0700
    held = FileLock(private / "lock")
    held.acquire()
    try:
        fresh = temporary()
        paths = {}
        for name, text in (("ca", fresh.tls_ca_file), ("cert", fresh.tls_worker_cert), ("key", fresh.tls_worker_key)):
            paths[name] = private / f"{name}.pem"
            paths[name].touch(mode=0o600)
            paths[name].write_text(text)
        files = {"tls_ca_file": str(paths["ca"])}
        for role in ("client", "scheduler", "worker"):
            files |= {f"tls_{role}_cert": str(paths["cert"]), f"tls_{role}_key": str(paths["key"])}
        yield Security(require_encryption=True, **files)
    finally:
        held.release()
        shutil.rmtree(private, ignore_errors=True)


def _clear(folder: Path) -> None:
    """Remove what runs left that were killed: nobody holds it any more."""
    for left in folder.glob("tls-*"):
        lock = FileLock(left / "lock", timeout=0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            continue
        lock.release()
        shutil.rmtree(left, ignore_errors=True)
