"""Large libraries, loaded when something of them is first used; and garbage, which is not looked for meanwhile.

scipy's FFTs, xarray (with pandas and Arrow) and dask's arrays take longer to load than everything else that most
commands need, and every command and every worker would wait for them.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage: who loads or compiles makes objects by the million and lets go of few.

    To look at them again and again would be a fifth of the time that it takes to load what a command needs.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
