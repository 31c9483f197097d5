"""Groups of nodes against the connected components of a graph."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crackdask.kernels.union_find import jump, root, roots

NODES = 30


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=60))
def test_groups_are_the_components_of_the_graph_and_both_ways_of_following_agree(pairs):
    parents = np.arange(NODES)
    for one, other in pairs:
        low, high = sorted((root(parents, one), root(parents, other)))
        parents[high] = low
    ends = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    _, groups = connected_components(coo_array((np.ones(len(pairs)), ends), shape=(NODES, NODES)), directed=False)
    smallest = np.array([np.flatnonzero(groups == group)[0] for group in groups])
    np.testing.assert_array_equal(jump(parents, np.arange(NODES)), smallest)
    np.testing.assert_array_equal(roots(parents), smallest)
