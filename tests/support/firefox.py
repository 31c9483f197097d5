"""A Firefox with a page in it, told what to do over WebDriver BiDi, which it speaks by itself on a websocket.

Without a screen Firefox draws nothing by WebGL: it gets one that nobody sees (Xvfb).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
#: WebGL by the processor, and nothing that Firefox asks the world for by itself.
_SETTINGS = {
    "webgl.force-enabled": True,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


def missing() -> str | None:
    """Return what is missing to drive Firefox, or None."""
    if FIREFOX is None:
        return "no Firefox is installed (Debian: apt-get install firefox-esr)"
    if shutil.which("Xvfb") is None:
        return "no Xvfb is installed, on which Firefox draws (Debian: apt-get install xvfb)"
    return None


@dataclass
class Page:
    """A page in Firefox.

    Attributes
    ----------
    wrong
        Warnings and errors of its console, and errors of its scripts.
    asked
        Addresses that it asked for.
    """

    loop: asyncio.AbstractEventLoop
    socket: WebSocketClientConnection
    context: str = ""
    count: int = 0
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def tell(self, method: str, **words: Any) -> Any:
        """Give a command, and return what comes of it."""
        return _done(self.loop, self._tell(method, words))

    async def _tell(self, method: str, words: dict[str, Any]) -> Any:
        self.count += 1
        await self.socket.write_message(json.dumps({"id": self.count, "method": method, "params": words}))
        while (message := await self.socket.read_message()) is not None:
            told = json.loads(message)
            if told.get("id") == self.count:
                assert told["type"] == "success", told
                return told["result"]
            about = told.get("params", {})
            if told.get("method") == "network.beforeRequestSent":
                self.asked.append(about["request"]["url"])
            elif told.get("method") == "log.entryAdded" and about["level"] in ("warn", "error"):
                self.wrong.append(about["text"])
        raise AssertionError("Firefox has ended")

    def value(self, script: str) -> Any:
        """Return what a script makes: words, a number, or true or false."""
        told = self.tell("script.evaluate", expression=script, target={"context": self.context}, awaitPromise=True)
        assert told["type"] == "success", told["exceptionDetails"]["text"]
        return told["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a script makes something true."""
        until = time.monotonic() + 30
        while not self.value(f"Boolean({condition})"):
            assert time.monotonic() < until, f"it did not come to {condition}"
            time.sleep(0.02)

    def shown(self, what: str, value: str) -> None:
        """Wait until an element says that it shows something."""
        self.wait(f"""document.querySelector('{what}[data-shown="{value}"]')""")

    def click(self, what: str, number: int = 0) -> None:
        """Click on one of the elements that a selector finds."""
        self.value(f"document.querySelectorAll({json.dumps(what)})[{number}].click()")


@contextmanager
def firefox(folder: Path) -> Iterator[Page]:
    """Start Firefox with a profile in a folder, which is to be empty."""
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _SETTINGS.items())
    (folder / "user.js").write_text("".join(lines))
    started: list[subprocess.Popen[str]] = []
    try:
        screen = ["Xvfb", "-displayfd", "1", "-screen", "0", "1400x1000x24", "-nolisten", "tcp"]
        started.append(subprocess.Popen(screen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        given = {**os.environ, "HOME": str(folder), "DISPLAY": f":{_line(started[0].stdout, '').strip()}"}
        command = [str(FIREFOX), "-headless", "-no-remote", "-profile", str(folder), "--remote-debugging-port", "0"]
        started.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=given)
        )
        socket = _line(started[1].stderr, "WebDriver BiDi listening on ").strip()
        with _loop() as loop:
            page = Page(loop, _done(loop, _connected(f"{socket}/session")))
            try:
                page.tell("session.new", capabilities={})
                page.tell("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
                page.context = page.tell("browsingContext.getTree")["contexts"][0]["context"]
                page.tell("browsingContext.setViewport", context=page.context, viewport={"width": 1280, "height": 900})
                yield page
            finally:
                _done(loop, _closed(page.socket))
    finally:
        for process in reversed(started):
            process.terminate()
            process.communicate(timeout=30)


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread: in that of the tests one may be at work already, Playwright's."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _done(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result(60)


async def _closed(socket: WebSocketClientConnection) -> None:
    socket.close()
    while await socket.read_message() is not None:
        pass


async def _connected(address: str) -> WebSocketClientConnection:
    return await websocket_connect(HTTPRequest(address), max_message_size=2**27)


def _line(stream: IO[str] | None, begins: str) -> str:
    """Return the rest of the first line that begins with some words."""
    assert stream is not None
    return next(line for line in stream if line.startswith(begins)).removeprefix(begins)
