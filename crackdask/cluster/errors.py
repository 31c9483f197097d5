"""What can be wrong with a cluster."""

from __future__ import annotations


class ClusterError(ValueError):
    """No cluster could be had; the message says why and the way out."""


class WorkersLostError(RuntimeError):
    """A block took several workers with it, one after the other."""


class ClusterLostError(RuntimeError):
    """The cluster went away while the run was at work; the message says how to continue."""
