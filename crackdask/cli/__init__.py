"""The commands, each in the module of its name; thin: they read arguments, call the package and say what happened.

Begin at `common`, the list of commands; `options` holds what several take, `endings` what becomes of mistakes and
signals, `console` what a terminal shows.

Exit 0 when everything is done, 1 when blocks failed, the disk is full or the cluster went away, 2 for a mistake of the
user's, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import atexit
import gc
from typing import Any

from crackdask.cli.common import app

__all__ = ["app", "main"]


def main() -> Any:
    """Run the command line."""
    # What ends with the process is not looked through for garbage first, which takes 0.4 s where numba is loaded.
    atexit.register(gc.freeze)
    return app()
