"""From the merged integers of all blocks to the columns of particles: lengths, areas, percentiles (paper, 4.6).

Each is computed once, and a particle's row does not depend on the other rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import pi

import numpy as np

from crackdask.blocks.passes import Array, Tally
from crackdask.grid import Edges
from crackdask.kernels.depth_in_mask import square_weights
from crackdask.kernels.surface import cell_areas
from crackdask.kernels.tally import FAR
from crackdask.kernels.tally_sums import Pairs, Totals, among
from crackdask.schema import GREY_LEVELS, PARTICLES, SHELLS

Groups = dict[str, dict[str, Array]]

MEASURED = tuple(name for name in PARTICLES if name not in (
    "tracked", "lost", "neighbour_lost", "on_border", "on_invalid",
    "displacement_z_um", "displacement_y_um", "displacement_x_um", "volumetric_strain", "volumetric_strain_error",
))  # fmt: skip
#: Columns of :func:`contacts`.
CONTACTS = ("particle_a", "particle_b", "faces", "area_um2")
_ROWS = 8192  # particles whose histograms are worked on at once
_PRODUCTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def deepest_shell(tallies: Iterable[Tally]) -> int:
    """Return the largest shell number of any particle."""
    return max((int(np.diff(t["shell_start"]).max(initial=0)) for t in tallies), default=0)


@dataclass(frozen=True)
class Survey:
    """What is needed before ranges of particles are worked on, or their places looked up.

    Attributes
    ----------
    shells
        The deepest shell.
    contacts
        The columns of :func:`contacts`.
    named_in
        For each range the numbers of the tallies that name one of its particles, be it only as one side of a contact.
        All others have nothing to add to its tables.
    corners
        (label - 1, end, axis): the first voxel of each particle, and the one behind its last, int32; of one without a
        voxel the first lies beyond the last.
    """

    shells: int
    contacts: dict[str, Array]
    named_in: list[list[int]]
    corners: Array


def survey(tallies: Iterable[Tally], ranges: Sequence[range], voxel_um: Edges) -> Survey:
    """Look over all tallies once; `ranges` hold all labels, from 1 on."""
    starts, stops = (np.array([getattr(ids, end) for ids in ranges], np.int64) for end in ("start", "stop"))
    shells, pairs = 0, Pairs()
    corners = np.zeros((int(stops.max(initial=1)) - 1, 2, 3), np.int32)
    corners[:, 0] = FAR
    named_in: list[list[int]] = [[] for _ in ranges]
    for number, tally in enumerate(tallies):
        shells = max(shells, deepest_shell([tally]))
        pairs.add(tally)
        rows = tally["ids"].astype(np.int64) - 1  # each once
        corners[rows, 0] = np.minimum(corners[rows, 0], tally["low"])
        corners[rows, 1] = np.maximum(corners[rows, 1], tally["high"])
        named = np.concatenate([tally[name].astype(np.int64) for name in ("ids", "contact_a", "contact_b")])
        named.sort()
        for at in np.flatnonzero(np.searchsorted(named, starts) < np.searchsorted(named, stops)).tolist():
            named_in[at].append(number)
    return Survey(shells, _contact_columns(pairs, voxel_um), named_in, corners)


def finalise(tallies: Iterable[Tally], ids: Array | range, voxel_um: Edges, shells: int | None = None) -> Groups:
    """Merge tallies and compute the tables for some particles.

    Parameters
    ----------
    tallies
        One of each block that names one of the particles, each loaded when it is its turn; one at a time is held.
    ids
        Sorted labels; a range of them bounds the memory.
    voxel_um
        Voxel edges (z, y, x).
    shells
        Width of the shell tables; the deepest shell of these particles where not given.

    Returns
    -------
    dict
        The columns of the groups `particles`, `shells` and `histograms`. A particle without a voxel
        has counts of 0 and NaN for everything else. Percentiles interpolate linearly, as numpy
        does.
    """
    merging = Merging(ids, voxel_um, shells)
    for each in tallies:
        merging.add(each)
    return merging.groups()


class Merging:
    """What :func:`finalise` does, for who has tallies one after the other and several ranges that they add to."""

    def __init__(self, ids: Array | range, voxel_um: Edges, shells: int | None = None) -> None:
        self._labels, self._voxel_um = np.asarray(ids, np.int64), voxel_um
        if (np.diff(self._labels) <= 0).any():
            raise ValueError("ids must be sorted, each given once")
        self._totals = Totals(self._labels, shells)

    def add(self, tally: Tally) -> None:
        """Merge a tally."""
        self._totals.add(tally)

    def groups(self) -> Groups:
        """Return the tables."""
        return _columns(self._totals.rows(), self._labels, self._voxel_um)


def _columns(merged: dict[str, Array], labels: Array, voxel_um: Edges) -> Groups:
    voxels, levels = merged["voxels"], merged["levels"]
    columns = {"voxels": voxels, **_touching(merged, labels, voxel_um)}
    with np.errstate(divide="ignore", invalid="ignore"):
        columns |= _shape(merged, voxel_um)
        columns |= _grey(voxels, levels)
    columns |= {f"touches_{what}": merged[what] for what in ("border", "invalid")}
    absent = voxels == 0
    for name, column in columns.items():
        if column.dtype.kind == "f":
            column[absent] = np.nan
        columns[name] = column.astype(PARTICLES[name].dtype)
    rings = merged["rings"]
    return {
        "particles": {name: columns[name] for name in MEASURED},
        "shells": {n: rings[..., i].astype(v.dtype) for i, (n, v) in enumerate(SHELLS.items())},
        "histograms": {"voxels": levels},
    }


def contacts(tallies: Iterable[Tally], voxel_um: Edges) -> dict[str, Array]:
    """Return the pairs of particles that share faces, sorted.

    The area is the length of the vector of the three projected areas (faces normal to an axis times
    the area of such a face): exact for a plane in any orientation, where the sum of the faces is up
    to 1.7 times too high.
    """
    pairs = Pairs()
    for each in tallies:
        pairs.add(each)
    return _contact_columns(pairs, voxel_um)


def _contact_columns(pairs: Pairs, voxel_um: Edges) -> dict[str, Array]:
    first, second, faces = pairs.total()
    return {
        "particle_a": first,
        "particle_b": second,
        "faces": faces.sum(axis=1).astype(np.uint32),
        "area_um2": _contact_areas(faces, voxel_um),
    }


def _contact_areas(faces: Array, voxel_um: Edges) -> Array:
    z, y, x = voxel_um
    projected = faces * np.array([y * x, z * x, z * y])
    areas: Array = np.sqrt((projected * projected).sum(axis=1))
    return areas


def _touching(merged: dict[str, Array], labels: Array, voxel_um: Edges) -> dict[str, Array]:
    count, area = np.zeros(labels.size, np.int64), np.zeros(labels.size)
    areas = _contact_areas(merged["pair_faces"], voxel_um)
    for side in (merged["pair_a"], merged["pair_b"]):
        here = among(labels, side)
        rows = np.searchsorted(labels, side[here])
        count += np.bincount(rows, minlength=labels.size)
        area += np.bincount(rows, weights=areas[here], minlength=labels.size)
    return {"n_contacts": count, "contact_area_um2": area}


def _shape(merged: dict[str, Array], voxel_um: Edges) -> dict[str, Array]:
    n, edges = merged["voxels"], np.array(voxel_um)
    volume = n * float(edges.prod())
    cells = merged["cells"]
    area = np.zeros(n.size)
    for i, one in enumerate(cell_areas(voxel_um)):  # in one order for any number of rows
        area += cells[:, i] * one
    columns = {
        "volume_um3": volume,
        "equivalent_diameter_um": np.cbrt(6 / pi * volume),
        "surface_area_um2": area,
        "sphericity": np.cbrt(36 * pi * volume * volume) / area,
        "max_depth_um": np.sqrt(merged["depth"] / square_weights(voxel_um)[1]) * min(voxel_um),
    }
    centre = (merged["sums"] / n[:, None] + 0.5) * edges
    for i, axis in enumerate("zyx"):
        columns[f"centroid_{axis}_um"] = centre[:, i]
        columns[f"bbox_{axis}0"] = np.where(n > 0, merged["low"][:, i], 0)
        columns[f"bbox_{axis}1"] = merged["high"][:, i]
    return columns | _axes(merged, edges)


def _axes(merged: dict[str, Array], edges: Array) -> dict[str, Array]:
    """Return the axes of the ellipsoid with the same second moments; voxels are solid cuboids."""
    n, sums = merged["voxels"], merged["sums"]
    near = sums // np.maximum(n, 1)[:, None]  # whole voxels, so that moving the origin there is exact
    rest = sums - n[:, None] * near
    spread = np.empty((n.size, 3, 3))
    for place, (i, j) in enumerate(_PRODUCTS):
        about = merged["products"][:, place] - sums[:, i] * near[:, j] - rest[:, j] * near[:, i]
        moment = about / n - (rest[:, i] / n) * (rest[:, j] / n) + (i == j) / 12
        spread[:, i, j] = spread[:, j, i] = np.where(n > 0, moment, 0.0) * edges[i] * edges[j]
    variance = np.maximum(np.linalg.eigvalsh(spread)[:, ::-1], 0.0)
    length = 2 * np.sqrt(5 * variance)
    return {
        **{f"axis_{i + 1}_um": length[:, i].copy() for i in range(3)},
        "elongation": length[:, 1] / length[:, 0],
        "flatness": length[:, 2] / length[:, 1],
    }


def _grey(n: Array, levels: Array) -> dict[str, Array]:
    parts = [
        _grey_of_some(n[i : i + _ROWS], levels[i : i + _ROWS].astype(np.int64)) for i in range(0, max(n.size, 1), _ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _grey_of_some(n: Array, levels: Array) -> dict[str, Array]:
    grey = np.arange(GREY_LEVELS)
    sums = levels @ grey
    near = sums // np.maximum(n, 1)
    rest = sums - n * near
    offset = grey - near[:, None]
    variance = (levels * offset * offset).sum(axis=1) / n - (rest / n) ** 2
    below = np.cumsum(levels, axis=1)
    columns = {
        "grey_mean": sums / n,
        "grey_std": np.sqrt(np.maximum(variance, 0.0)),
        "grey_min": (levels > 0).argmax(axis=1),
        "grey_max": np.where(n > 0, GREY_LEVELS - 1 - (levels[:, ::-1] > 0).argmax(axis=1), 0),
    }
    for percent in (5, 50, 95):
        place = (n - 1) * (percent / 100)
        low = np.floor(place)
        a, b = (_order(below, np.minimum(rank, n - 1)) for rank in (low, low + 1))
        columns[f"grey_p{percent:02}"] = a + (b - a) * (place - low)
    return columns


def _order(below: Array, rank: Array) -> Array:
    """Return the grey level of the voxel of each rank, from 0."""
    levels: Array = (below <= rank[:, None]).sum(axis=1).astype(np.float64)
    return levels
