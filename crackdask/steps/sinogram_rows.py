"""What a block of a reconstruction reads of a scan's sinograms, and the slices it makes of some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crackdask.arrays import Array, Floats, Singles
from crackdask.blocks.passes import Block
from crackdask.grid import Box, Triple
from crackdask.kernels.attenuation import Flaws, References
from crackdask.kernels.gridding import gridded
from crackdask.kernels.reconstruction import line_integrals, within
from crackdask.steps.reconstruct_parameters import ReconstructParams

#: Share of the pixels that are full or missing from which on projections show nothing.
_BLIND = 0.9


class NothingSeenError(ValueError):
    """Projections of which next to no pixel tells what came through the sample."""


def refuse_blind(full: int, missing: int, pixels: int) -> None:
    """Raise where next to all pixels of the projections are full, or no numbers.

    >>> refuse_blind(full=95, missing=4, pixels=100)
    Traceback (most recent call last):
    crackdask.steps.sinogram_rows.NothingSeenError: of the pixels of the projections 95% are full and 4% no numbers...
    """
    if full + missing > _BLIND * pixels:
        raise NothingSeenError(
            f"of the pixels of the projections {full / pixels:.0%} are full and {missing / pixels:.0%} no numbers, and "
            "nothing can be made of the others; were they exposed too long, or is this the wrong data?"
        )


@dataclass(frozen=True, eq=False)
class Geometry:
    """What is known of a scan before its projections are read.

    Attributes
    ----------
    frames
        Projections, rows and columns of the detector.
    degrees
        Angle of each projection.
    moments
        When each was taken: 0 at the first flats and darks, 1 at the last.
    saturation
        Counts from which on a pixel is full.
    """

    frames: Triple
    degrees: Floats
    moments: Floats
    saturation: float

    @property
    def scan(self) -> Triple:
        """Shape of the tomogram."""
        _, rows, columns = self.frames
        return rows, columns, columns


def all_projections(frames: Triple, slab: Box) -> Box:
    """Return the box of the sinograms of a slab of slices."""
    return Box((0, slab.start[0], 0), (frames[0], slab.stop[0], frames[2]))


def one_row(frames: Triple, rows: Sequence[int], number: Box) -> Box:
    """Return the box of the sinogram of one of some rows; a block's place is its number."""
    row = rows[number.start[0]]
    return Box((0, row, 0), (frames[0], row + 1, frames[2]))


def counts_of(params: ReconstructParams, block: Block, first: int) -> tuple[Array, References]:
    """Return raw sinograms (row, projection, column), and flats and darks of the same rows."""
    counts = np.ascontiguousarray(block.read("sinograms").transpose(1, 0, 2))
    if params.phase is not None:
        beam = np.ones((2, len(counts), counts.shape[2]), np.float32)
        return counts, References(beam, np.zeros_like(beam))
    flats, darks = (np.array(block.table(name)[:, first : first + len(counts)]) for name in ("flats", "darks"))
    return counts, References(flats, darks)


def slices_of(geometry: Geometry, params: ReconstructParams, first: int, block: Block) -> tuple[Singles, Flaws]:
    """Return the slices of the rows that a block reads, from a row on, and their flaws."""
    sinograms, flaws = _line_integrals(geometry, params, first, block)
    kept = within(geometry.degrees, params.between)
    centers = block.table("centers")[first : first + len(sinograms)]
    return gridded(sinograms, geometry.degrees[kept], centers, params.filter), flaws


def _line_integrals(geometry: Geometry, params: ReconstructParams, first: int, block: Block) -> tuple[Singles, Flaws]:
    """Return the sinograms of a slab; its counts are let go before the grid takes their place."""
    counts, references = counts_of(params, block, first)
    return line_integrals(
        counts,
        references,
        geometry.moments,
        geometry.degrees,
        params.between,
        params.rings,
        params.zinger,
        geometry.saturation,
    )
