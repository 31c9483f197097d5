"""Waiting until something holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(ready: Callable[[], Any], seconds: float = 60, why: Callable[[], str] = str) -> Any:
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, f"not so after {seconds:g} s: {why()}"
        time.sleep(0.005)
    return found
