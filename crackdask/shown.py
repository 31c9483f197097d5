"""A value that the user gave, as a message shows it."""

from __future__ import annotations

from typing import Any

_LONGEST = 60


def shown(value: Any) -> str:
    """Return a value as the recipe has it, cut where it is long.

    >>> shown((1, 2)), shown("x" * 90)[-6:]
    ('[1, 2]', 'xxx...')
    """
    words = repr(list(value) if isinstance(value, tuple) else value)
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
