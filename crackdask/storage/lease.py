"""A lock on object storage: an object that says who holds it, renewed while its holder lives.

There, nothing lets go of a lock for a process that was killed. The lock object is made by a PUT that succeeds only
where there is none (``If-None-Match: *``), and changed only by one that names the version it replaces (``If-Match``),
so of two runs that try, one succeeds. Its holder renews it every `BEAT` seconds; one that did not change for `SECONDS`,
as watched by the newcomer on its own clock, is taken over. A holder that could not renew it for almost as long, or
finds it taken, stops. Where the newcomer sees that the holder was a process of its own machine and is gone, it does
not wait.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from crackdask.storage.bucket import Prefix
from crackdask.storage.service import FIRST_PATIENCE, PlaceError, UnreachableError, client, speaking, told

BEAT = 15.0
SECONDS = 90.0


class HeldError(Exception):
    """Another run holds the lock; the message says which."""


@contextmanager
def leased(lock: Prefix, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock object while the work inside goes on.

    Raises
    ------
    HeldError
        If another run holds it, or took it over while this one was not heard of.
    """
    lease = _Lease(lock, say)
    lease.take()
    beats = threading.Thread(target=lease.renew, name="lease", daemon=True)
    beats.start()
    try:
        with _interruptible(lease):
            yield
    except KeyboardInterrupt:
        if not lease.lost:
            raise
        raise HeldError(
            f"{holder(lock) or 'the object storage was out of reach, so that another run may have begun'}; "
            f"this run was not heard of for {SECONDS:.0f} seconds and stopped"
        ) from None
    finally:
        lease.over.set()
        beats.join()
        lease.release()


@contextmanager
def _interruptible(lease: _Lease) -> Iterator[None]:
    """Let the loss of a lock interrupt this process where Ctrl-C may not, as for what a script put into the background.

    Shells have such processes ignore SIGINT.
    """

    def interrupt(*_: object) -> None:
        if lease.lost:
            raise KeyboardInterrupt

    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread()
    if deaf:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if deaf:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def holder(lock: Prefix) -> str | None:
    """Return who holds a lock, or None: a holder that is gone, or silent for too long, holds nothing."""
    held = _read(lock)
    if held is None or _is_gone(held[1]):
        return None
    try:
        silent = (datetime.now(UTC) - lock.modified()).total_seconds()
    except FileNotFoundError:
        return None
    if silent > SECONDS:
        return None
    return f"{_who(held[1])}, last heard of {max(0, round(silent))} s ago"


@dataclass
class _Lease:
    lock: Prefix
    say: Callable[[str], None]
    token: str = field(default_factory=lambda: uuid4().hex)
    version: str = ""
    beats: int = 0
    lost: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def take(self) -> None:
        """Make the lock object, or take it over from a run that is gone."""
        for _ in range(3):
            if self._put("create"):
                break
            held = _read(self.lock)
            if held is None:  # let go of meanwhile
                continue
            version, facts = held
            if facts.get("token") != self.token and not _is_gone(facts):
                self._wait(version, facts)
            if self._put({"e_tag": version}):
                break
        else:
            raise HeldError("several runs are starting at once")
        if self._put("create"):
            raise PlaceError(
                f"{self.lock}: the object storage overwrites what it was told not to (it ignores If-None-Match), so "
                "two runs could write one store; use a service with conditional writes, or a store on a disk"
            )

    def _wait(self, version: str, facts: dict[str, Any]) -> None:
        """Watch whether the holder lives; return when it was silent for too long."""
        until = _now() + SECONDS
        self.say(f"the store is held by {_who(facts)}; looking for up to {SECONDS:.0f} s whether that run lives")
        while _now() < until:
            time.sleep(BEAT / 4)
            held = _read(self.lock)
            if held is None:
                return
            if held[0] != version:
                raise HeldError(_who(held[1]))

    def renew(self) -> None:
        """Renew the lock until the work is over; stop the run when it is lost."""
        heard = _now()
        while not self.over.wait(BEAT):
            try:
                if self._put({"e_tag": self.version}):
                    heard = _now()
                    continue
                held = _read(self.lock)
                if held is not None and held[1].get("token") == self.token:
                    self.version = held[0]  # a PUT that succeeded, and whose answer was lost
                    heard = _now()
                    continue
                self.lost = True
            except (PlaceError, UnreachableError):
                self.lost = _now() - heard > SECONDS - 2 * BEAT  # well before another may take over
            if self.lost and not self.over.is_set():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    def release(self) -> None:
        """Remove the lock object, if it is this run's; one that cannot be removed is taken over later."""
        try:
            held = _read(self.lock)
            if held is not None and held[1].get("token") == self.token:
                self.lock.unlink()
        except (PlaceError, UnreachableError):
            return

    def _put(self, mode: Any) -> bool:
        """Write the lock object where the service finds it as it should be, and tell whether it did."""
        obstore = speaking(self.lock)
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        self.beats += 1
        facts = {"token": self.token, "beats": self.beats, **_self()}
        try:
            with told(self.lock):
                put = obstore.put(_client(self.lock), self.lock.key, json.dumps(facts).encode(), mode=mode)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            return False
        self.version = str(put["e_tag"])
        return True


def _read(lock: Prefix) -> tuple[str, dict[str, Any]] | None:
    """Return version and content of a lock object, or None."""
    obstore = speaking(lock)
    try:
        with told(lock):
            answer = obstore.get(_client(lock), lock.key)
            return str(answer.meta["e_tag"]), json.loads(bytes(answer.bytes()))
    except FileNotFoundError:
        return None


def _client(lock: Prefix) -> Any:
    return client(lock.bucket, patience=FIRST_PATIENCE)  # a beat that comes late is worth nothing


def _self() -> dict[str, Any]:
    """Return what tells this process from every other, on every machine."""
    return {"process": os.getpid(), "host": socket.gethostname(), "machine": _machine(), "begun": _begun(os.getpid())}


def _machine() -> str:
    """Return what is the same for all processes that see each other, and for no others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - no file, a name
    except OSError:
        return ""


def _begun(process: int) -> str:
    """Return when a process of this machine began, in the kernel's ticks; nothing if it is not there."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _is_gone(facts: dict[str, Any]) -> bool:
    """Tell whether the holder was a process of this machine that ended."""
    here = _machine()
    return bool(here) and facts.get("machine") == here and _begun(int(facts["process"])) != facts.get("begun")


def _who(facts: dict[str, Any]) -> str:
    return f"process {facts.get('process')} on {facts.get('host')}"


def _now() -> float:
    """Return seconds that go on while the machine sleeps."""
    if not hasattr(time, "clock_gettime"):
        return time.monotonic()  # Windows, where it goes on
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
