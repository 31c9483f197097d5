"""Large libraries that only notebooks and reports need, loaded when they are first used.

xarray (with pandas and Arrow) and dask's arrays take longer to load than everything else that a run needs, and every
command and every worker would wait for them: a step's parameters and kernels stand in one file with its lazy function.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Later:
    """A module that is loaded when something of it is asked for.

    >>> Later("math").floor(1.5)
    1
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
