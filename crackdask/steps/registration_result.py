"""What the registration of a state leaves behind: its tables, and the field that later steps take from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crackdask.arrays import Floats
from crackdask.blocks.passes import Array
from crackdask.grid import Box, Triple
from crackdask.kernels.source_positions import STRAIGHT, Lattice, Vector, padded
from crackdask.schema import CHAIN
from crackdask.steps.local_motion import EDGE, Field, lattice_nodes
from crackdask.steps.registration_fit import Fit

#: Transforms as the tables number them.
KINDS = ("none", "rigid", "affine")


@dataclass(frozen=True, eq=False)
class Registration:
    """How one scan lies on the reference.

    Attributes
    ----------
    fit
        The transform that was chosen; its residual is what is left over in the end, field and all.
    transform
        Its kind.
    residuals
        What each step of the chain left over, in voxels: rigid, affine, local; those that were not made are missing.
    field
        What bends the reference's voxels before the transform, or None.
    """

    fit: Fit
    transform: str
    residuals: Mapping[str, float]
    field: Field | None = None


def registration_tables(found: Registration | None, cropped: Floats, crop: Box) -> dict[str, Array]:
    """Return the tables of a state; of one that stays where it is for None.

    Parameters
    ----------
    found
        In voxels of whole scans.
    cropped
        Matrix from stored voxels to those of a whole scan.
    crop
        The stored part of a scan.

    Returns
    -------
    dict
        `matrix`, from stored voxels; `residual_voxels`; `matched` (sub-blocks that agree, and in all); `transform`, a
        place in `KINDS`; `chain_residual_voxels`, one for each of `crackdask.schema.CHAIN`, NaN for those not made;
        and the field, in stored voxels: `displacement` (z, y, x, axis), `displacement_error`, `lattice_origin` and
        `lattice_spacing`, of no node where there is no field.
    """
    matrix = np.eye(4) if found is None else found.fit.matrix
    kind = "none" if found is None else found.transform
    residuals: Mapping[str, float] = {} if found is None else found.residuals
    tables = {
        "matrix": matrix @ cropped,
        "residual_voxels": np.array(0.0 if found is None else found.fit.residual_voxels),
        "matched": np.array([0, 0] if found is None else [found.fit.n_used, found.fit.n_blocks]),
        "transform": np.array(KINDS.index(kind)),
        "chain_residual_voxels": np.array([residuals.get(name, np.nan) for name in CHAIN]),
    }
    field = None if found is None else found.field
    if field is None:
        return tables | {
            "displacement": np.zeros((0, 0, 0, 3)),
            "displacement_error": np.zeros((0, 0, 0)),
            "lattice_origin": np.zeros(3),
            "lattice_spacing": np.ones(3),
        }
    return tables | {
        "displacement": field.matched.displacement,
        "displacement_error": field.matched.error,
        "lattice_origin": np.array(field.nodes.origin) - np.array(crop.start),
        "lattice_spacing": np.array(field.nodes.spacing),
    }


def stored_transforms(
    states: Sequence[Mapping[str, Array]], shape: Triple, spacing: int, voxel_um: Vector
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the columns of the store's group `transforms`, and the coordinates of the lattice.

    Parameters
    ----------
    states
        Tables of each state.
    shape, spacing
        Of the stored volume, and `local_spacing` of the recipe: they decide the lattice.
    voxel_um
        Edges of a voxel.
    """
    nodes = lattice_nodes(Box.whole(shape), spacing, EDGE)
    bent = [bool(each["displacement"].size) for each in states]
    nothing = (np.zeros((*nodes.counts, 3)), np.full(nodes.counts, np.nan))
    fields = [
        (each["displacement"], each["displacement_error"]) if there else nothing
        for each, there in zip(states, bent, strict=True)
    ]
    columns = {
        "matrix": np.array([each["matrix"] for each in states]),
        "residual_voxels": np.array([each["residual_voxels"] for each in states]),
        "transform": np.array([KINDS[int(each["transform"])] for each in states]),
        "chain_residual_voxels": np.array([each["chain_residual_voxels"] for each in states]),
        "bent": np.array(bent),
        "displacement": np.array([values for values, _ in fields]),
        "displacement_error": np.array([error for _, error in fields]),
    }
    coordinates = {
        f"lattice_{axis}": (origin + step * np.arange(count) + 0.5) * edge
        for axis, origin, step, count, edge in zip(
            "zyx", nodes.origin, nodes.spacing, nodes.counts, voxel_um, strict=True
        )
    }
    return columns, coordinates | {"axis": np.array(list("zyx")), "chain": np.array(CHAIN)}


@dataclass(frozen=True, eq=False)
class StoredField:
    """The field of a state in stored voxels, of no node where there is none: see `registration_tables`."""

    displacement: Floats
    origin: Vector
    spacing: Vector

    @classmethod
    def of(cls, tables: Mapping[str, Any]) -> StoredField:
        """Return the field among the tables of a state."""
        (oz, oy, ox), (sz, sy, sx) = tables["lattice_origin"].tolist(), tables["lattice_spacing"].tolist()
        return cls(tables["displacement"], (oz, oy, ox), (sz, sy, sx))

    @property
    def is_there(self) -> bool:
        """Tell whether anything is bent."""
        return bool(self.displacement.size)

    def lattice(self, region: Box) -> Lattice:
        """Return what bends the voxels of a region."""
        if not self.is_there:
            return STRAIGHT
        return padded(self.displacement, self.origin, self.spacing, region)
