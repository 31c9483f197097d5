"""Which tests run beside others when several processes test at once.

A test marked `alone` measures memory or a clock: it waits until the tests of the other processes have ended, and none
begins before it has.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock that the system takes from a process that dies."""
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Wait for the turn of a test, and hold it."""
    room, door = folder / "room", folder / "door"
    with ExitStack() as held, ExitStack() as at_the_door:
        # Who waits to be alone stands in the door, or others would come in for ever.
        at_the_door.enter_context(locked(door, fcntl.LOCK_EX))
        held.enter_context(locked(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        at_the_door.close()
        yield
