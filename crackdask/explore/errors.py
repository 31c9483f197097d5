"""What the explorer refuses."""

from __future__ import annotations


class ExploreError(ValueError):
    """The explorer cannot be served as asked; the message says why and the way out."""
