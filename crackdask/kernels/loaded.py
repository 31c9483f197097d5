"""Kernels as numba knows them, for a process that others are copied from: each copy would load numba by itself.

To be imported last, after the modules whose kernels are meant.
"""

from __future__ import annotations

import atexit
import gc

from numba.core.registry import cpu_target

from crackdask.kernels.compiling import load
from crackdask.lazy_import import uncollected

with uncollected():
    load()
    # What numba does before its first kernel, compiled or from the cache: 0.24 s.
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
# Who looks for garbage writes to all that it looks at, and what is written to is no longer shared with the copies.
gc.freeze()
atexit.register(gc.freeze)
