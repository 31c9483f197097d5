"""Where the files of tests lie: in memory, if there is room for them.

The tests write thousands of small stores, and a run syncs every file of its store to the disk, which takes longer than
all else that a small run does. Whether a disk keeps what it was given no test can tell; that a run asks for it is the
same in memory. What needs a disk of its own makes one (`tests/faults/mounts.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = Path("/dev/shm")
#: What a whole suite leaves while it runs is a fifth of it.
ROOM = 4 << 30


def in_memory(place: Path = MEMORY, room: int = ROOM) -> bool:
    """Tell whether tests may keep their files there: programs are executed there, too."""
    try:
        found = os.statvfs(place)
    except (OSError, AttributeError):
        return False
    noexec = getattr(os, "ST_NOEXEC", 0)
    return found.f_bavail * found.f_frsize >= room and not found.f_flag & noexec and os.access(place, os.W_OK)


def use() -> None:
    """Have pytest keep the files of tests in memory, unless the user says where."""
    if not {"TMPDIR", "PYTEST_DEBUG_TEMPROOT"} & set(os.environ) and in_memory():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
