"""A real S3 server on loopback, in a process of its own, and what tests do with it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest

from crackdask.storage.bucket import Prefix
from crackdask.storage.locations import Place
from crackdask.storage.service import client
from tests.support.tiny import Tiny

SECRET = "never-to-be-written-anywhere"


@dataclass(frozen=True)
class Server:
    """A running server: its address, its process, and what it writes down of requests."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    @contextmanager
    def pointed_to(self) -> Iterator[None]:
        """Point the environment to this server."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT"):
                patch.delenv(name, raising=False)
            patch.setenv("AWS_ENDPOINT_URL", self.address)
            patch.setenv("AWS_ACCESS_KEY_ID", "crackdask")
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            patch.setenv("AWS_REGION", "us-east-1")
            yield

    def requests(self) -> int:
        """Return how many requests it has answered."""
        return self.log.read_text(errors="replace").count(' HTTP/1.1" ')

    def bucket(self, name: str) -> Prefix:
        """Make a bucket."""
        self.ask("PUT", name)
        return Prefix.of(f"s3://{name}")

    def ask(self, method: str, what: str, body: bytes | None = None) -> None:
        """Send a request as the owner of everything."""
        kind = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.address}/{what}", body, kind, method=method)):
            pass

    def deny(self, bucket: str, *actions: str) -> None:
        """Give a bucket a policy that denies some actions to everybody."""
        rule = {"Effect": "Deny", "Principal": "*", "Action": list(actions), "Resource": f"arn:aws:s3:::{bucket}/*"}
        self.ask("PUT", f"{bucket}?policy", json.dumps({"Version": "2012-10-17", "Statement": [rule]}).encode())


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    """Run a server until the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, path = f"http://127.0.0.1:{port}", folder / "server.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{address}/moto-api/", timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, path.read_text()
                    time.sleep(0.1)
            yield Server(address, process, path)
        finally:
            process.kill()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run a server until the end, and point the environment to it."""
    with started(folder) as server, server.pointed_to():
        yield server


def upload(path: Path, to: Prefix) -> Prefix:
    """Copy a file, or all files of a folder, into a bucket."""
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        below = file.relative_to(path).as_posix()
        (to if path.is_file() else to / below).write_bytes(file.read_bytes())
    return to


def copied_within(store: Prefix, to: Prefix) -> Prefix:
    """Copy a store and its work folder to another name in its bucket, as its server does that."""
    held = client(store.bucket)
    for there, here in ((store, to), (store.with_name(f"{store.name}.work"), to.with_name(f"{to.name}.work"))):
        for found in there.files():
            obstore.copy(held, found.key, f"{here.key}/{found.relative_to(there)}")
    return to


def files(store: Place) -> dict[str, bytes]:
    """Return every file or object of a store by name, without what its steps cost."""
    # By links too: what a link leads to is in a bucket as often as it has names.
    walked = [] if isinstance(store, Prefix) else os.walk(store, followlinks=True)
    below = (Path(folder) / name for folder, _, names in walked for name in names)
    there = store.files() if isinstance(store, Prefix) else below
    found = {path.relative_to(store).as_posix(): path.read_bytes() for path in there}  # type: ignore[arg-type]
    root = json.loads(found["zarr.json"])
    root["attributes"]["steps"] = {name: facts["fingerprint"] for name, facts in root["attributes"]["steps"].items()}
    return found | {"zarr.json": json.dumps(root, sort_keys=True).encode()}


def assert_alike(found: Place, wanted: Place) -> None:
    """Assert that two stores hold the same files, byte for byte."""
    mine, theirs = files(found), files(wanted)
    assert sorted(mine) == sorted(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []


def run_into(tiny: Tiny, store: Place, *words: str) -> Any:
    """Run an experiment into a store wherever it is."""
    return tiny.crackdask("run", tiny.recipe, "--store", str(store), "--cluster", "synchronous", *words)
