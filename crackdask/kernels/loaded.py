"""Kernels as numba knows them, for a process that others are copied from: each copy would load numba by itself.

To be imported last, after the modules whose kernels are meant.
"""

from __future__ import annotations

import gc

from numba.core.registry import cpu_target

from crackdask.kernels.compiling import load

load()
# What numba does before its first kernel, compiled or from the cache: 0.24 s.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
# What is there now stays: no copy needs to look at it whenever it collects garbage, nor have pages of its own for that.
gc.freeze()
