"""Processes that are forked from one that has loaded what runs, schedulers and workers load.

The tests start hundreds of processes, each of which would spend two seconds on imports and one on fetching compiled
kernels before it does anything. Here a process of its own (the origin; it has one thread and runs nothing) loads it all
once and forks for every start. What is
started is a process like another: in a session of its own, with its own environment, ended by any signal.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

#: What the origin loads, for what is started from it.
LOADED = (
    "numba", "scipy.ndimage", "SimpleITK", "distributed.cli.dask_scheduler", "distributed.cli.dask_worker",
    "distributed.nanny", "crackdask.cli.run", "crackdask.engine.run", "crackdask.cluster.launch",
)  # fmt: skip
#: Settings that are read when a module is loaded.
ENVIRONMENT = {"COLUMNS": "120"}
_LONGEST = 2**18
_LOOK = 0.01


@dataclass
class Forked:
    """A process started from the origin, with as much of `subprocess.Popen` as tests need."""

    pid: int
    channel: socket.socket
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal that ended it; None while it is there."""
        return self._read(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def _read(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self.channel], [], [], timeout)[0]:
            said = self.channel.recv(_LONGEST)
            self.returncode = int(said) if said else -signal.SIGKILL  # the origin itself is gone
            self.channel.close()
        return self.returncode


@dataclass
class Origin:
    """The process that forks."""

    process: subprocess.Popen[bytes] | None = None
    control: socket.socket | None = None

    def start(self, words: Sequence[str], said: IO[bytes], env: Mapping[str, str]) -> Forked:
        """Start what ``python WORDS`` would, with all it says in a file."""
        if self.process is None or self.process.poll() is not None:
            self._begin()
        assert self.control is not None
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order = json.dumps({"words": list(words), "env": dict(env), "cwd": str(Path.cwd())}).encode()
        socket.send_fds(self.control, [order], [said.fileno(), its.fileno()])
        its.close()
        return Forked(int(mine.recv(_LONGEST)), mine)

    def end(self) -> None:
        """End the origin; what was started from it goes on."""
        if self.process is not None and self.control is not None:
            self.control.close()
            self.process.wait(20)
            self.process = self.control = None

    def _begin(self) -> None:
        self.end()
        self.control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(its.fileno())], pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT}, start_new_session=True,
        )  # fmt: skip
        its.close()


Process = Forked | subprocess.Popen[bytes]
ORIGIN = Origin()
atexit.register(ORIGIN.end)


def start(words: Sequence[str], said: IO[bytes], env: Mapping[str, str]) -> Process:
    """Start a process in a session of its own, with all it says in a file; Python is forked, all else is executed."""
    if words[0] == sys.executable:
        return ORIGIN.start(words[1:], said, env)
    return subprocess.Popen(
        list(words), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        env=dict(env),
    )  # fmt: skip


# ---------------------------------------------------------------- what the origin does


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each order; return it in the child, and None in the origin when the tests are over."""
    children: dict[int, socket.socket] = {}
    while True:
        if select.select([control], [], [], _LOOK if children else None)[0]:
            order, handles, _, _ = socket.recv_fds(control, _LONGEST, 2)
            if not order:
                return None
            said, told = handles
            pid = os.fork()
            if not pid:
                for other in (control, *children.values()):
                    other.close()
                _settle(said, told)
                content: dict[str, Any] = json.loads(order)
                return content
            os.close(said)
            children[pid] = socket.socket(fileno=told)
        _tell_of_the_ended(children)


def load_kernels() -> None:
    """Load all machine code of the package's kernels that was compiled before."""
    from numba.core.dispatcher import Dispatcher

    from crackdask.kernels import compiling

    compiling.load()
    modules = [module for name, module in sys.modules.items() if name.startswith("crackdask.")]
    kernels = {id(value): value for m in modules for value in vars(m).values() if isinstance(value, Dispatcher)}
    for kernel in kernels.values():
        cache: Any = getattr(kernel, "_cache", None)  # of which numba's types do not tell
        if (cached := getattr(cache, "_cache_file", None)) is not None:
            for types_, *_ in cached._load_index():
                kernel.compile(types_)


def _tell_of_the_ended(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as channel, suppress(OSError):  # the test did not wait for it
                channel.send(str(os.waitstatus_to_exitcode(status)).encode())


def _settle(said: int, told: int) -> None:
    """Leave the origin: a session and output of its own; tell the number of the process only then."""
    os.setsid()
    for handle in (1, 2):
        os.dup2(said, handle)
    os.close(said)
    with socket.socket(fileno=told) as channel:
        channel.send(str(os.getpid()).encode())


def run(order: Mapping[str, Any]) -> None:
    """Do what Python does with such words on its command line."""
    import dask

    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began the tests in the background
    dask.config.refresh()  # which reads the environment
    first, *rest = order["words"]
    if first == "-m":
        sys.argv = rest
        sys.modules.pop(rest[0], None)  # it is loaded, and runs as the main module now
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    gc.disable()
    for name in LOADED:
        import_module(name)
    load_kernels()
    gc.freeze()  # who looks through it for garbage would first copy all of it
    gc.enable()
    atexit.register(gc.freeze)
    if (order := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        run(order)
