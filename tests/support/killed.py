"""The command line in a process that the machine kills when it is about to change its n-th file below a folder."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from crackdask.cli import main

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.truncate"}


def kill_at(folder: str, number: int) -> None:
    """Count what changes files below a folder; the count is kept in a file for who asks."""
    seen = 0

    def heard(event: str, words: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not (writes or event in _CHANGES) or not os.fsdecode(words[0] if words[0] else "").startswith(folder):
            return
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def known(event: str, words: tuple[Any, ...]) -> None:
        if (event == "open" or event in _CHANGES) and isinstance(words[0], str | bytes | os.PathLike):
            heard(event, words)

    sys.addaudithook(known)


if __name__ == "__main__":
    kill_at(sys.argv.pop(1), int(sys.argv.pop(1)))
    main()
