"""Groups of nodes that are joined pair by pair (union-find): every node points towards its group's representative.

Callers choose which of two representatives stays one, so that the answer does not depend on the order of the pairs.
"""

from __future__ import annotations

import numpy as np

from crackdask.arrays import Array
from crackdask.kernels.compiling import compiled


@compiled(error_model="numpy")
def root(parents: Array, node: int) -> int:
    """Return the representative of a node's group; the way there is halved for the next who asks."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled(error_model="numpy")
def roots(parents: Array) -> Array:
    """Return the representative of every node.

    >>> roots(np.array([0, 0, 1, 3])).tolist()
    [0, 0, 0, 3]
    """
    representatives = np.empty_like(parents)
    for node in range(parents.size):
        representatives[node] = root(parents, node)
    return representatives


def jump(parents: Array, nodes: Array) -> Array:
    """Follow the parents of some nodes until nothing changes, all at once; roots are their own parents.

    >>> jump(np.array([1, 2, 2, 0]), np.array([3, 2])).tolist()
    [2, 2]
    """
    while True:
        further = parents[nodes]
        if np.array_equal(further, nodes):
            return further
        nodes = further
