"""Labelled arrays as rows: one row for each place along the dimensions, made a bounded number at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import pyarrow as pa
import xarray as xr

#: Rows that are held at once; also those of a Parquet row group.
ROWS = 2**19
_STATE = ("voltage", "step", "cycle")


@dataclass(frozen=True)
class Column:
    """What a column of a table is.

    Attributes
    ----------
    name, dtype, units, long_name
        As in the store; text is of dtype "string".
    """

    name: str
    dtype: str
    units: str
    long_name: str


@dataclass(frozen=True)
class Frame:
    """A table with a row for each place along the dimensions of a Dataset, the last one fastest.

    Attributes
    ----------
    name
        Of the table.
    title
        What a row is.
    values
        The columns, lazy; what lacks a dimension is repeated along it.
    dims
        Dimensions of the rows.
    """

    name: str
    title: str
    values: xr.Dataset
    dims: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return prod(self.values.sizes[dim] for dim in self.dims)

    @property
    def columns(self) -> list[Column]:
        """The columns in order: coordinates of the first dimension, of the second, ..., then what was measured."""
        return [
            Column(name, _dtype(self.values[name]), *(str(self.values[name].attrs.get(k, "")) for k in _SAID))
            for name in self._names()
        ]

    @property
    def schema(self) -> pa.Schema:
        """Names, types, units and meanings as Arrow and Parquet keep them."""
        fields = [
            pa.field(c.name, pa.type_for_alias(c.dtype), metadata={"units": c.units, "long_name": c.long_name})
            for c in self.columns
        ]
        kept = {k: v for k, v in self.values.attrs.items() if isinstance(v, str | int | float)}
        return pa.schema(fields, metadata={"crackdask": json.dumps({"table": self.name, "title": self.title, **kept})})

    def batches(self, most: int = ROWS) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, a bounded number at a time; what is not a number is null."""
        schema = self.schema
        for place in pieces([self.values.sizes[dim] for dim in self.dims], most):
            cut = self.values.isel(dict(zip(self.dims, place, strict=True))).load()
            sizes = {dim: cut.sizes[dim] for dim in self.dims}
            columns = [_repeated(cut[field.name], sizes, field.type) for field in schema]
            yield pa.record_batch(columns, schema=schema)

    def _names(self) -> list[str]:
        keys: list[str] = []
        for dim in self.dims:
            along = [str(name) for name in self.values.coords if self.values[name].dims == (dim,)]
            known = [name for name in (dim, *_STATE) if name in along]
            keys += known + [name for name in along if name not in known]
        return keys + [str(name) for name in self.values.data_vars if self.values[name].dims]


_SAID = ("units", "long_name")


def pieces(sizes: Sequence[int], most: int) -> Iterator[tuple[slice, ...]]:
    """Cut an array into runs in the order of its rows, each of at most `most` places.

    >>> list(pieces((2, 5), 3))[:2]
    [(slice(0, 1, None), slice(0, 3, None)), (slice(0, 1, None), slice(3, 5, None))]
    """
    axis, inner = len(sizes), 1
    while axis and inner * sizes[axis - 1] <= most:
        axis -= 1
        inner *= sizes[axis]
    whole = tuple(slice(0, n) for n in sizes[axis:])
    if not axis:
        yield whole
        return
    *lead, n = sizes[:axis]
    step = max(1, most // inner)
    for before in product(*(range(k) for k in lead)):
        for first in range(0, n, step):
            yield (*(slice(k, k + 1) for k in before), slice(first, min(first + step, n)), *whole)


def _dtype(values: xr.DataArray) -> str:
    return "string" if values.dtype.kind in "OTU" else "double" if values.dtype == float else str(values.dtype)


def _repeated(values: xr.DataArray, sizes: Mapping[str, int], kind: pa.DataType) -> pa.Array:
    """Return a column of rows; one that lacks a dimension is repeated along it."""
    values = values.transpose(*(dim for dim in sizes if dim in values.dims))
    flat = values.values.ravel()
    if pa.types.is_string(kind):
        column = pa.array([None if v is None or v != v else str(v) for v in flat.tolist()], kind)
    else:
        column = pa.array(flat, kind, from_pandas=True)
    if values.ndim == len(sizes):
        return column
    shape = [n if dim in values.dims else 1 for dim, n in sizes.items()]
    rows = np.arange(flat.size).reshape(shape)
    return column.take(pa.array(np.broadcast_to(rows, tuple(sizes.values())).ravel()))
