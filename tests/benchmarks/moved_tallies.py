"""What a pass leaves in any block of a field of equal blocks, from what it left in one of them (`repeated_tile`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crackdask.blocks.passes import Array, Pass, Tables, Tally
from crackdask.grid import Triple
from crackdask.kernels.basin_merging import fold
from crackdask.kernels.components import SIDES, inner_sides
from crackdask.kernels.tally import FAR

from .repeated_tile import MIDDLE, Field, TileBlock

_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@dataclass
class Unit:
    """The passes of a step on one tile, with what each left there.

    Attributes
    ----------
    name
        Of the unit, and of its basins.
    passes
        Of the step.
    tallies, tables
        What each pass left, and all tables among 3 x 3 x 3 blocks.
    """

    name: str
    passes: Sequence[Pass]
    tallies: dict[str, Tally] = field(default_factory=dict)
    tables: dict[str, Array] = field(default_factory=dict)

    def work(self, around: Field, volumes: dict[str, Array]) -> None:
        """Run the kernels on the tile, and the reductions on 3 x 3 x 3 times what they leave."""
        middle = around.grid.number(MIDDLE)
        for each in self.passes:
            result = each.kernel(TileBlock(around.grid, middle, volumes, self.tables, around))
            volumes.update(result.volumes)
            self.tallies[each.name] = result.tally
            if each.reduce is not None:
                tallies = [self.tally(each.name, around, self.tables, number) for number in range(len(around.grid))]
                self.tables |= each.reduce(around.grid, tallies, {name: self.tables[name] for name in each.tables})
            self.name_peaks(each, around, around)

    def name_peaks(self, pass_: Pass, around: Field, whole: Field) -> None:
        """Give numbers to the peaks that a pass found, and to its particles, in the whole field."""
        for table, what in (("peaks", self.name), ("highest", "label")):
            if table in pass_.makes:
                whole.name(what, around.names_of(self.tables[table]))

    def tally(self, pass_: str, whole: Field, tables: Tables, number: int) -> Tally:
        """Return what a pass leaves in a block of a field, whose tables are those of all passes before."""
        moved = _MOVED.get(pass_)
        tally = self.tallies[pass_]
        return tally if moved is None else moved(_Place(self, whole, tables, number), tally)


@dataclass(frozen=True)
class _Place:
    """One block of a field, for one unit."""

    unit: Unit
    whole: Field
    tables: Tables
    number: int

    @property
    def position(self) -> Triple:
        return self.whole.grid.position(self.number)

    def voxels(self, indices: Array) -> Array:
        return self.whole.voxels(indices, self.position)

    def labels(self, numbers: Array) -> Array:
        return self.whole.seen_from(self.position, "label")[numbers]

    def basins(self, numbers: Array) -> Array:
        return self.whole.seen_from(self.position, self.unit.name)[numbers]

    def nodes(self, numbers: Array) -> Array:
        """Return the nodes of a later state: basins, and the pieces of those that are cut, by their seeds."""
        before, after = self.unit.tables, self.tables
        starts = before["node_of_basin"]
        basins = np.searchsorted(starts[:-1], numbers, side="right") - 1
        rank = numbers - starts[basins]
        cut = starts[basins + 1] - starts[basins] > 1
        nodes = after["node_of_basin"][self.basins(basins)]
        rows = self.cutting(np.searchsorted(before["cutting"] >> _HALF, basins[cut].astype(np.uint64)) + rank[cut])
        first = np.searchsorted(after["cutting"] >> _HALF, after["cutting"][rows] >> _HALF)
        nodes[cut] += np.where(rows >= 0, rows - first, 0)
        return nodes

    def cutting(self, places: Array) -> Array:
        """Return the rows of the table of cut basins and their seeds that are meant by rows of the tile's.

        At the end of the field, where paths enter their own block again, a basin may be cut otherwise: -1 for those.
        """
        pairs = self.unit.tables["cutting"][places]
        basins, seeds = self.basins((pairs >> _HALF).astype(np.int64)), self.labels((pairs & _LOW).astype(np.int64))
        moved, there = basins.astype(np.uint64) << _HALF | seeds, self.tables["cutting"]
        rows = np.minimum(np.searchsorted(there, moved), there.size - 1)
        return np.where(there[rows] == moved, rows, -1)


def _ending(place: _Place, tally: Tally) -> Tally:
    """Leave out the sides behind which there is no block."""
    there = dict(zip(SIDES, inner_sides(place.whole.grid, place.number), strict=True))
    return {name: values for name, values in tally.items() if there.get(name, True)}


def _paths(place: _Place, tally: Tally) -> Tally:
    entered = place.voxels(tally["entered"])
    order = np.argsort(entered)
    moved = dict(tally) | {
        "ends": place.whole.voxels(tally["ends"], place.position, back=True),
        "entered": entered[order],
        "entered_codes": tally["entered_codes"][order],
    }
    if "pairs" in tally:  # of a code and a seed
        seeds = place.labels((tally["pairs"] & _LOW).astype(np.int64))
        pairs = tally["pairs"] >> _HALF << _HALF | seeds
        order = np.argsort(pairs)
        moved |= {"pairs": pairs[order], "voxels": tally["voxels"][order]}
    return moved


def _saddles(place: _Place, tally: Tally) -> Tally:
    called: Callable[[Array], Array] = place.nodes if "node_of_basin" in place.unit.tables else place.basins
    a, b = (called((tally["pairs"] >> _HALF).astype(np.int64)), called((tally["pairs"] & _LOW).astype(np.int64)))
    pairs = np.minimum(a, b).astype(np.uint64) << _HALF | np.maximum(a, b).astype(np.uint64)
    pairs, saddles = fold([(pairs, tally["saddles"])], how=np.maximum)
    return {"pairs": pairs, "saddles": saddles}


def _cuts(place: _Place, tally: Tally) -> Tally:
    rows = place.cutting(tally["places"])
    return {
        "places": rows[rows >= 0],
        "voxels": place.voxels(tally["voxels"])[rows >= 0],
        "lost_voxels": place.voxels(tally["lost_voxels"]),
        "lost_labels": place.labels(tally["lost_labels"]),
    }


def _relabelled(place: _Place, tally: Tally) -> Tally:
    labels = place.labels(tally["labels"])
    order = np.argsort(labels)
    return {"labels": labels[order], "max_depth": tally["max_depth"][order]}


def _measured(place: _Place, tally: Tally) -> Tally:
    by = place.whole.edge * (np.array(place.position) - MIDDLE)
    n, sums, products = tally["voxels"][:, None], tally["sums"], tally["products"]
    i, j = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]
    there = n > 0
    rows = dict(tally) | {
        "ids": place.labels(tally["ids"]),
        "sums": sums + n * by,
        "products": products + sums[:, i] * by[j] + sums[:, j] * by[i] + n * (by[i] * by[j]),
        "low": np.where(there, tally["low"] + by, FAR).astype(np.int32),
        "high": np.where(there, tally["high"] + by, 0).astype(np.int32),
    }
    a, b = (place.labels(tally[f"contact_{side}"]) for side in "ab")
    a, b = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((b, a))
    if "shift_ids" in tally:
        moved = _by_particle(place, {"ids": tally["shift_ids"], "sums": tally["shift_sums"]})
        rows |= {"shift_ids": moved["ids"], "shift_sums": moved["sums"]}
    rows |= {"contact_a": a[order], "contact_b": b[order], "contact_faces": tally["contact_faces"][order]}
    return _in_order(rows)


def _in_order(rows: dict[str, Array]) -> dict[str, Array]:
    """Return the rows of a tally by particle."""
    order = np.argsort(rows["ids"])
    if (np.diff(order) == 1).all():
        return rows
    sorted_rows = dict(rows)
    for name, values in rows.items():
        if len(values) == order.size and not name.startswith(("contact_", "grey_", "shell_", "shift_")):
            sorted_rows[name] = values[order]
    for kind in ("grey", "shell"):
        start = rows[f"{kind}_start"]
        entries = np.concatenate([np.arange(start[k], start[k + 1]) for k in order])
        sorted_rows |= {n: v[entries] for n, v in rows.items() if n.startswith(f"{kind}_") and n != f"{kind}_start"}
        sorted_rows[f"{kind}_start"] = np.concatenate([[0], np.cumsum(np.diff(start)[order])])
    return sorted_rows


def _by_particle(place: _Place, tally: Tally) -> Tally:
    ids = place.labels(tally["ids"])
    order = np.argsort(ids)
    return {name: (ids if name == "ids" else values)[order] for name, values in tally.items()}


#: By the name of the pass; the tallies of others are the same everywhere.
_MOVED: dict[str, Callable[[_Place, Any], Tally]] = {
    "threshold": _ending,
    "islands": _ending,
    "ascent": _paths,
    "cuts": _cuts,
    "saddles": _saddles,
    "relabel": _relabelled,
    "particle_sums": _measured,
    "shifts_2": _by_particle,
    "shifts_3": _by_particle,
    "shifts_4": _by_particle,
}
