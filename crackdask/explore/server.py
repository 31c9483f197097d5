"""The server: where it listens, what answers which address, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tornado import web
from tornado.httpserver import HTTPServer

from crackdask.explore.access import Access, Guarded, is_loopback
from crackdask.explore.asked import Pools
from crackdask.explore.errors import ExploreError
from crackdask.explore.explored import Explored
from crackdask.explore.files import page_files
from crackdask.explore.handlers import ANSWERS, PageFile
from crackdask.explore.report_files import ReportFile, WrittenReport
from crackdask.storage.locations import Place

#: Where it listens by itself, and how many ports are tried from there.
PORT, _TRIES = 8470, 50
_THREADS = 4


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, files in PEM format; the key may stand in the certificate's file."""

    certfile: Path
    keyfile: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what speaks TLS with it.

        Raises
        ------
        ExploreError
            If a file is not there, or is no certificate or its key.
        """
        for option, path in (("--certfile", self.certfile), ("--keyfile", self.keyfile)):
            if path is not None and not path.is_file():
                raise ExploreError(f"{option}: there is no file {path}")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certfile, self.keyfile)
        except (ssl.SSLError, OSError) as error:
            raise ExploreError(
                f"--certfile and --keyfile cannot be used: {error}; give two files in PEM format, of which the second "
                "is the key of the first"
            ) from error
        return context


class Served:
    """A store that is served; `async with` it.

    Attributes
    ----------
    port
        Where it listens.
    link
        What opens the page; it carries the token.
    """

    def __init__(
        self,
        store: Place,
        report: Path,
        host: str = "127.0.0.1",
        port: int = PORT,
        certificate: Certificate | None = None,
    ) -> None:
        """Open the store and listen; `report` is the folder of its report, once there is one.

        Raises
        ------
        ExploreError
            If others could listen in, or no port is free.
        StoreError
            If there is no store.
        """
        if certificate is None and not is_loopback(host):
            raise ExploreError(
                f"--host {host} is not this machine alone: whoever is on the way could read pictures and token. Give "
                "--certfile and --keyfile, or stay on 127.0.0.1 and come by `ssh -L "
                f"{port}:127.0.0.1:{port} THIS-MACHINE`"
            )
        context = certificate.context() if certificate else None
        self.access = Access.of(host, secure=context is not None)
        self._pools = (ThreadPoolExecutor(_THREADS), ThreadPoolExecutor(_THREADS))
        self._explored = Explored(store, WrittenReport(report))
        listening = _listening(host, port)
        self.port = int(listening.getsockname()[1])
        name = "127.0.0.1" if is_loopback(host) and host != "::1" else host
        if host in ("0.0.0.0", "::"):
            name = socket.gethostname()
        shown = f"[{name}]" if ":" in name else name
        self.address = f"{'https' if context else 'http'}://{shown}:{self.port}/"
        self.link = f"{self.address}?token={self.access.token}"
        self._server = HTTPServer(
            application(self._explored, self.access, self._pools, self.port), ssl_options=context, max_body_size=0
        )
        self._server.add_socket(listening)
        if self._explored.view.planes.complete:
            self._pools[0].submit(self._explored.view.planes.warm)  # what goes wrong is told to who asks for it

    async def close(self) -> None:
        """Answer nobody any more."""
        self._server.stop()
        await self._server.close_all_connections()
        self._explored.close()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)


def application(explored: Explored, access: Access, pools: Pools, port: int) -> web.Application:
    """Return what answers requests."""
    given = {"access": access}
    asked = {**given, "explored": explored, "pools": pools}
    return web.Application(
        [
            *((f"/api/{name}", answer, asked) for name, answer in ANSWERS.items()),
            (r"/report/([\w./-]*)", ReportFile, {**given, "report": explored.report}),
            (r"/([a-z_./-]*)", PageFile, {**given, "files": page_files()}),
        ],
        default_handler_class=_Nothing,
        default_handler_args=given,
        log_function=_keep_quiet,
        port=port,
        autoreload=False,
    )


class _Nothing(Guarded):
    """There is nothing at that address; who may not ask does not even learn that."""

    def get(self) -> None:
        """Say so."""
        raise web.HTTPError(404, reason="there is no such page")


def _keep_quiet(_: web.RequestHandler) -> None:
    """Log no request: the first of a browser carries the token."""


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket at a port, or at the next one that is free."""
    name = "127.0.0.1" if host.lower() == "localhost" else host
    for tried in range(port, min(port + _TRIES, 65_536)):
        try:
            family, _, _, _, address = socket.getaddrinfo(name, tried, type=socket.SOCK_STREAM)[0]
            listening = socket.create_server(address[:2], family=family, backlog=128)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ExploreError(
                    f"--host {host}: {error.strerror or error}; give an address of this machine"
                ) from None
        else:
            listening.setblocking(False)
            return listening
    raise ExploreError(f"no port from {port} to {min(port + _TRIES, 65_536) - 1} is free; choose another --port")


def serve(served: Callable[[], Served], ready: Callable[[Served], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `ready` is told when requests are answered."""

    async def until_asked_to_stop() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt
                loop.add_signal_handler(number, stop.set)
        held = served()
        try:
            ready(held)
            await stop.wait()
        finally:
            await held.close()

    with suppress(KeyboardInterrupt):
        asyncio.run(until_asked_to_stop())
