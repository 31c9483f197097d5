"""What graphs of passes need of dask beyond its documented arrays, in one place: task nodes, arrays in and out, keys.

dask has two kinds of arrays, those that carry a graph and, with ``DASK_ARRAY__QUERY_PLANNING=True``, those that carry
an expression. Both are collections (https://docs.dask.org/en/stable/custom-collections.html), and that protocol is all
that is used of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import Array as _GraphArray
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.tokenize import tokenize
from pydantic import BaseModel

try:
    from dask.task_spec import Alias, List, Task, TaskRef
except ImportError:  # the lowest supported dask has them, but under a private name
    from dask._task_spec import Alias, List, Task, TaskRef

__all__ = [
    "Alias",
    "ChunkedGraph",
    "List",
    "Task",
    "TaskRef",
    "array_of_table",
    "graphs_are_expressions",
    "layered",
    "token",
]


@dataclass(frozen=True)
class ChunkedGraph:
    """An array as graphs see it: chunks whose keys are (name, place along each axis), and what makes them.

    It is a dask collection, so that layers can depend on it.
    """

    name: str
    chunks: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]
    graph: HighLevelGraph

    @classmethod
    def of(cls, array: da.Array) -> ChunkedGraph:
        """Take apart an array of either kind; nothing is computed."""
        graph = array.__dask_graph__()
        name = next(flatten(array.__dask_keys__()))[0]
        if not isinstance(graph, HighLevelGraph):
            graph = HighLevelGraph.from_collections(name, dict(graph))
        return cls(name, array.chunks, array.dtype, graph)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(sum(sizes) for sizes in self.chunks)

    @property
    def chunksize(self) -> tuple[int, ...]:
        """The largest chunk along each axis."""
        return tuple(max(sizes) for sizes in self.chunks)

    @property
    def dask(self) -> HighLevelGraph:
        """The graph, under the name by which dask collects dependencies."""
        return self.graph

    def __dask_graph__(self) -> HighLevelGraph:
        """Return the graph: this is a dask collection."""
        return self.graph

    def __dask_layers__(self) -> tuple[str, ...]:
        """Return the layer that others depend on."""
        return (self.name,)

    def array(self) -> da.Array:
        """Return the dask array, of the kind that this process uses."""
        if not graphs_are_expressions():
            return da.Array(self.graph, self.name, self.chunks, dtype=self.dtype)
        # What rebuilds a persisted array also builds one of tasks.
        template = da.empty(self.shape, dtype=self.dtype, chunks=self.chunks)
        rebuild, (meta, chunks, _, _) = template.__dask_postpersist__()
        keys = [(self.name, *place) for place in product(*(range(len(sizes)) for sizes in self.chunks))]
        return rebuild(_NamedGraph(self.name, self.graph), meta, chunks, keys, self.name.rpartition("-")[0])


def graphs_are_expressions() -> bool:
    """Return whether this process makes arrays that carry an expression instead of a graph."""
    return not issubclass(da.Array, _GraphArray)


@dataclass(frozen=True)
class _NamedGraph(Mapping[Any, Any]):
    """A graph whose name says all: an expression would else hash every task, and every voxel held by one."""

    name: str
    graph: HighLevelGraph

    def __getitem__(self, key: Any) -> Any:
        return self.graph[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.graph)

    def __len__(self) -> int:
        return len(self.graph)

    def __dask_tokenize__(self) -> str:
        """Return the name, which is made of everything that decides the graph's result."""
        return self.name


def layered(name: str, layer: Mapping[Any, Any], parents: Sequence[Any]) -> HighLevelGraph:
    """Return a layer upon the graphs of its parents.

    Parents have a graph and name their layers; dask's types ask for all that a collection can do besides.
    """
    return HighLevelGraph.from_collections(name, layer, dependencies=parents)


def array_of_table(table: Delayed, shape: tuple[int, ...], dtype: np.dtype[Any]) -> da.Array:
    """Return a table that is still to be made as an array of one chunk (`from_delayed` knows no expressions)."""
    name = f"table-{token(table.key, shape, dtype)}"
    key: Any = (name, *(0 for _ in shape))
    graph = layered(name, {key: Alias(key, table.key)}, [table])
    return ChunkedGraph(name, tuple((n,) for n in shape), dtype, graph).array()


def token(*facts: Any) -> str:
    """Return a name for what some facts decide: equal facts give equal names, in every process.

    >>> token("median", 3) == token("median", 3) != token("median", 5)
    True
    """
    return str(tokenize(*(_plain(fact) for fact in facts), ensure_deterministic=True))


def _plain(fact: Any) -> Any:
    """Return a fact as dask names it the same in every process: parameters and calls as what they hold."""
    if isinstance(fact, BaseModel):
        deciding = getattr(fact, "deciding", fact.model_dump)
        return (type(fact).__qualname__, _plain(deciding()))
    if isinstance(fact, partial):
        return ("call", fact.func, _plain(fact.args), _plain(fact.keywords))
    if hasattr(fact, "__func__"):  # a bound method
        return ("method", fact.__func__, _plain(fact.__self__))
    if is_dataclass(fact) and not isinstance(fact, type):
        # Pairs, not a dict: an old dask sorts the keys of a dict by their hashes, which differ from process to process.
        held = [(each.name, _plain(getattr(fact, each.name))) for each in fields(fact)]
        return (type(fact).__qualname__, held)
    if isinstance(fact, Mapping):
        return [(_plain(key), _plain(value)) for key, value in fact.items()]
    if isinstance(fact, list | tuple):
        return [_plain(each) for each in fact]
    return fact
