"""What can be wrong with a cluster before a run begins."""

from __future__ import annotations


class ClusterError(ValueError):
    """No cluster could be had; the message says why and the way out."""
