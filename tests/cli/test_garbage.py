"""Garbage of a command: it is looked for while the command works, and neither before nor after."""

from __future__ import annotations

import subprocess
import sys

WATCHED = """
import atexit, gc, sys
from crackdask.cli import main

looked = {True: 0, False: 0}

def look(phase, _):
    module = sys.modules.get("crackdask.cli.run")
    looked[module is not None and module.__spec__._initializing] += 1

def tell():
    enabled, frozen = gc.isenabled(), gc.get_freeze_count()
    gc.collect()
    print("while it loads:", looked[True], "later:", looked[False] > 0, "enabled:", enabled, "kept:", frozen > 50_000)

gc.callbacks.append(look)
atexit.register(tell)
sys.argv = ["crackdask", "run", "--help"]
main()
"""


def test_garbage_is_looked_for_neither_while_a_command_is_loaded_nor_when_it_ends() -> None:
    """It takes as long to look through what a command loaded as it takes to load half of it."""
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "while it loads: 0 later: True enabled: True kept: True"
