"""Kernels as numba knows them, for a process that others are copied from: each copy would load numba by itself.

To be imported last, after the modules whose kernels are meant.
"""

from __future__ import annotations

from crackdask.kernels.compiling import load

load()
