"""What there is one of along each axis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def three(values: Iterable[T]) -> tuple[T, T, T]:
    """Return values along z, y and x as a tuple whose length its type tells."""
    z, y, x = values
    return z, y, x
