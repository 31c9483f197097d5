"""A store that is served in a thread of this process, and what asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import numpy as np
from tornado.httpclient import HTTPClient, HTTPRequest, HTTPResponse

from crackdask.arrays import Array
from crackdask.explore.server import Served
from crackdask.storage.locations import Place


@contextmanager
def served(store: Place, **options: Any) -> Iterator[Served]:
    """Serve a store at a free port of this machine."""
    begun: Queue[Any] = Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        try:
            held = Served(store, **{"report": Path("no report"), "port": 0, **options})
        except Exception as error:
            begun.put(error)
            return
        begun.put((held, asyncio.get_running_loop(), stop))
        await stop.wait()
        await held.close()

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    found = begun.get(timeout=60)
    if isinstance(found, Exception):
        thread.join()
        raise found
    held, loop, stop = found
    try:
        yield held
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=60)
        assert not thread.is_alive()


class Asker:
    """Asks a server, with the token's cookie if there is a token."""

    def __init__(self, held: Served, *, token: str | None = None) -> None:
        self.served = held
        self.cookie = f"crackdask-explore-{held.port}={held.access.token if token is None else token}"

    def __call__(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", **words: Any
    ) -> HTTPResponse:
        """Return the answer, whatever its status; redirections are not followed."""
        told = {name: json.dumps(value) if isinstance(value, list) else value for name, value in words.items()}
        url = f"http://127.0.0.1:{self.served.port}/{path}" + (f"?{urlencode(told)}" if told else "")
        request = HTTPRequest(
            url, method, {"Cookie": self.cookie} | (headers or {}), allow_nonstandard_methods=True,
            follow_redirects=False, request_timeout=60, decompress_response=True,
        )  # fmt: skip
        with ThreadPoolExecutor(1) as elsewhere:  # in this thread a browser's loop may run
            return elsewhere.submit(_fetched, request).result()

    def json(self, path: str, **words: Any) -> Any:
        """Return an answer in JSON."""
        answer = self(path, **words)
        assert answer.code == 200, answer.body
        return json.loads(answer.body)

    def array(self, path: str, dtype: str, **words: Any) -> Array:
        """Return an answer in bytes, as an array."""
        answer = self(path, **words)
        assert answer.code == 200, answer.body
        shape = tuple(int(n) for n in answer.headers["X-Shape"].split(","))
        return np.frombuffer(answer.body, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _fetched(request: HTTPRequest) -> HTTPResponse:
    client = HTTPClient()
    try:
        return client.fetch(request, raise_error=False)
    finally:
        client.close()
