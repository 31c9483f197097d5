"""Size, shape, grey level, shells and contacts of every particle (paper, 4.6).

The result does not depend on the blocks. Every block counts its own voxels, faces and 2x2x2 cells,
in integers, and integers add up to the same sums in any order; each voxel, face and cell has
exactly one owner. A voxel's depth is exact, because the halo is as wide as the deepest particle is
deep; and what grey levels are blurred by, where states differ in sharpness, is one number for a
state, applied in whole numbers with a halo as wide as the blur. Lengths, areas and percentiles are
computed once, from the merged integers, and a particle's row does not depend on the other rows.
`measure.md` says what equals GRAPES, the published toolkit, and what does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil, pi

import numpy as np
from pydantic import BaseModel, ConfigDict

from crackdask.blocks.passes import Array, Block, Pass, Result, Tables, Tally, core, inner, padded, window
from crackdask.grid import Grid
from crackdask.kernels.depth import squared_depth
from crackdask.kernels.distance import square_weights
from crackdask.kernels.gaussian import gaussian, radius
from crackdask.kernels.surface import cell_areas
from crackdask.kernels.tally import tally
from crackdask.kernels.tally_sums import Pairs, among, total
from crackdask.schema import GREY_LEVELS, OUTSIDE, PARTICLES, SHELLS
from crackdask.steps.declaration import LABELLING, Of, Setting, Stage, Step, Volume
from crackdask.steps.particle_motion import passes as shift_passes
from crackdask.steps.particle_motion import passes_again

Edges = tuple[float, float, float]
Groups = dict[str, dict[str, Array]]

MEASURED = tuple(name for name in PARTICLES if name not in (
    "tracked", "lost", "neighbour_lost", "on_border", "on_invalid",
    "displacement_z_um", "displacement_y_um", "displacement_x_um", "volumetric_strain", "volumetric_strain_error",
))  # fmt: skip
#: Columns of :func:`contacts`.
CONTACTS = ("particle_a", "particle_b", "faces", "area_um2")
#: The strongest blur that a run may measure with, in voxels, for which memory is planned.
MOST_BLUR = 2.0
_ROWS = 8192  # particles whose histograms are worked on at once
_PRODUCTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


class TooDeepError(ValueError):
    """A particle is deeper than was planned for; nothing is counted, for its shells would be wrong.

    Attributes
    ----------
    particle, deepest
        The particle, and the depth in voxels that was planned for.
    """

    def __init__(self, particle: int, deepest: int) -> None:
        super().__init__(particle, deepest)
        self.particle, self.deepest = particle, deepest

    def __str__(self) -> str:
        return (
            f"particle {self.particle} is deeper than the {self.deepest} voxels that were planned for: "
            "measure with a larger bound"
        )


class MeasureParams(BaseModel):
    """Parameters of the measurement: there is nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def passes(params: MeasureParams, voxel_um: Edges, deepest: int, blur: float = 0.0) -> tuple[Pass, ...]:
    """Return the one pass that counts, without the reduction that ends it; its tallies are for :func:`finalise`.

    `deepest` is an upper bound, in smallest voxel edges, of the depth of any particle: no voxel is
    further than that from its own particle's surface. A particle that is deeper is an error, never
    a wrong number.

    `blur` is the standard deviation, in voxels, of a Gaussian by which grey levels are blurred before they are counted;
    0 for none. Voxels outside the scan stay outside, and weigh nothing; the image is reflected at its edge.
    """
    if deepest < 1:
        raise ValueError(f"deepest is {deepest} voxels, but a particle is at least 1 deep")
    return (
        Pass(
            name="measure",
            kernel=partial(_measure, voxel_um, deepest, blur),
            reads={"grey": radius(blur) if blur else 1, "label": deepest + 1},
            scratch=10,
        ),
    )


def passes_to_tables(
    params: MeasureParams,
    voxel_um: Edges,
    deepest: int,
    ids: Array | range,
    shells: int | None = None,
    blur: float = 0.0,
) -> tuple[Pass, ...]:
    """Return the same pass, ended by a reduction to tables named ``particles.voxels``, ``shells.grey_sum`` and so on.

    For crops that fit memory.
    """
    (counted,) = passes(params, voxel_um, deepest, blur)
    names = [
        *(f"particles.{name}" for name in MEASURED),
        *(f"shells.{name}" for name in SHELLS),
        "histograms.voxels",
        *(f"contacts.{name}" for name in CONTACTS),
    ]
    reduce = partial(_to_tables, voxel_um, ids, shells)
    return (replace(counted, makes=tuple(names), reduce=reduce),)


def passes_in_ranges(
    params: MeasureParams,
    voxel_um: Edges,
    deepest: int,
    ranges: Sequence[range],
    put: Callable[[range, Groups], None],
    blur: float = 0.0,
) -> tuple[Pass, ...]:
    """Return the same pass, ended by a reduction that hands the tables of one range of ids after the other to `put`.

    No more than one range's tables and one block's tally are in memory at a time. The pass itself makes `shells`, the
    width of all shell tables, and the columns of :func:`contacts`.
    """
    (counted,) = passes(params, voxel_um, deepest, blur)
    reduce = partial(_by_ranges, voxel_um, ranges, put)
    return (replace(counted, makes=("shells", *CONTACTS), reduce=reduce),)


def _by_ranges(
    voxel_um: Edges,
    ranges: Sequence[range],
    put: Callable[[range, Groups], None],
    grid: Grid,
    tallies: Sequence[Tally],
    tables: Tables,
) -> Tables:
    shells = deepest_shell(tallies)
    for ids in ranges:
        put(ids, finalise(tallies, ids, voxel_um, shells))
    return {"shells": np.array(shells), **contacts(tallies, voxel_um)}


def _to_tables(
    voxel_um: Edges,
    ids: Array | range,
    shells: int | None,
    grid: Grid,
    tallies: Sequence[Tally],
    tables: Tables,
) -> Tables:
    groups = finalise(tallies, ids, voxel_um, shells)
    groups["contacts"] = contacts(tallies, voxel_um)
    return {f"{group}.{name}": v for group, columns in groups.items() for name, v in columns.items()}


def _measure(voxel_um: Edges, deepest: int, blur: float, block: Block) -> Result:
    halo = deepest + 1
    own, outer, shape = block.grid.box(block.number), window(block, halo), block.grid.shape
    squared, unit = square_weights(voxel_um)
    label = np.ascontiguousarray(block.read("label", halo))
    inside = core(block, halo)
    edges = tuple((a == 0, b == n) for a, b, n in zip(outer.start, outer.stop, shape, strict=True))
    depth = squared_depth(label, inside, edges, squared, unit, deepest)
    if int(depth.max(initial=0)) > unit * deepest**2:
        raise TooDeepError(int(label[inside].flat[int(depth.argmax())]), deepest)
    grey = block.read("grey", 1)
    rim = own.grow(1, within=shape)
    around = np.zeros([n + 2 for n in own.shape], label.dtype)
    place = tuple(slice(a - o + 1, b - o + 1) for a, b, o in zip(rim.start, rim.stop, own.start, strict=True))
    around[place] = label[rim.within(outer)]
    outside = _near_outside(grey)
    at = core(block, 1)
    invalid = None if outside is None else outside[at]
    counted = _blurred(block, blur) if blur else grey[at]
    return Result(tally=tally(around, counted, invalid, depth, unit, own.start, shape))


def _blurred(block: Block, blur: float) -> Array:
    grey = padded(block, "grey", radius(blur), mode="reflect")
    own = inner(grey, radius(blur))
    return gaussian(grey, blur, OUTSIDE) if own.any() else own


def _near_outside(grey: Array) -> Array | None:
    """Return where a voxel or one of its 26 neighbours is outside the scan; None for nowhere."""
    near: Array = grey == OUTSIDE
    if not near.any():
        return None
    for axis in range(3):
        lines = np.moveaxis(near, axis, 0)
        grown = lines.copy()
        grown[1:] |= lines[:-1]
        grown[:-1] |= lines[1:]
        near = np.moveaxis(grown, 0, axis)
    return near


def deepest_shell(tallies: Sequence[Tally]) -> int:
    """Return the largest shell number of any particle."""
    return max((int(np.diff(t["shell_start"]).max(initial=0)) for t in tallies), default=0)


def finalise(tallies: Sequence[Tally], ids: Array | range, voxel_um: Edges, shells: int | None = None) -> Groups:
    """Merge tallies and compute the tables for some particles.

    Parameters
    ----------
    tallies
        One of each block, each loaded when it is indexed; one at a time is held.
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
    labels = np.asarray(ids, np.int64)
    if (np.diff(labels) <= 0).any():
        raise ValueError("ids must be sorted, each given once")
    merged = total(tallies, labels, shells)
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


def contacts(tallies: Sequence[Tally], voxel_um: Edges) -> dict[str, Array]:
    """Return the pairs of particles that share faces, sorted.

    The area is the length of the vector of the three projected areas (faces normal to an axis times
    the area of such a face): exact for a plane in any orientation, where the sum of the faces is up
    to 1.7 times too high.
    """
    pairs = Pairs()
    for each in tallies:
        pairs.add(each)
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


def _planned(setting: Setting) -> tuple[Pass, ...]:
    deepest = ceil(setting.parameters["labels"].max_radius)
    matched = setting.parameters["grey"].match_sharpness != "none"
    counted = passes(setting.parameters["measure"], setting.voxel_um, deepest, MOST_BLUR if matched else 0.0)
    return (*counted, *shift_passes(1), *passes_again(1, 0))


STEP = Step(
    name="measure",
    stage=Stage.TABLES,
    parameters=MeasureParams,
    version=3,  # particles that moved far are looked for again
    sections=("measure", "grey.match_sharpness"),
    facts=("voxel_um",),
    needs=(
        (LABELLING, Of.ITSELF),
        (LABELLING, Of.REFERENCE),
        ("grey", Of.ITSELF),
        ("grey", Of.REFERENCE),
        ("sharpness", Of.ALL),
    ),
    reads=(("grey", Of.ITSELF), ("label", Of.ITSELF), ("grey", Of.REFERENCE)),
    aliases={"reference_grey": "grey"},
    # The tables of a state on their way into the store; they lie where work volumes lie, and go like them.
    writes={"tables": Volume(dtype=None)},
    passes=_planned,
    seconds_per_megavoxel=0.06,
)
