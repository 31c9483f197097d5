"""What a console says, without the frames and line breaks that a terminal puts into it."""

from __future__ import annotations

import re


def words(text: str) -> str:
    """Return text without frames and line ends."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)
