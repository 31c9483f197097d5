"""What reconstruction takes of a state's projections: memory, disk, tasks, time. Only arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

from crackdask.grid import Triple
from crackdask.kernels.phase_retrieval import padded_shape
from crackdask.kernels.reconstruction import Rings
from crackdask.steps.phase_retrieval import FILTERED, phase_bytes
from crackdask.steps.projection_slabs import frame_grid, search_bytes, searched_rows, slab_bytes, slab_rows

#: Nanoseconds on one core of a 2024 server (measured, `kernels/reconstruction.md`). Of each pixel that was recorded, to
#: be sorted and read again; of each that is kept, to become attenuation, and to be filtered and spread onto the grid.
_SORTED, _ATTENUATED, _SPREAD = 8.0, 12.0, 20.0
#: The same to remove rings.
_RINGS: Mapping[Rings, float] = {"none": 0.0, "column": 5.5, "vo": 37.0}
#: Of each voxel, to be transformed and to be written.
_VOXEL = 40.0
#: Slices that are made of a row to find the center.
_TRIED = 32
#: Of each pixel of a padded projection, for phase retrieval.
_TRANSFORMED = 25.0


@dataclass(frozen=True)
class Projected:
    """Projections of one state.

    Attributes
    ----------
    frames
        Projections, rows and columns that are read.
    itemsize
        Bytes of a count.
    kept
        Projections of which slices are made.
    rings
        How stripes are removed.
    voxel_bytes
        Of the tomogram.
    phase
        What phase retrieval weighs frequencies with; None without it.
    searched
        Whether the center is searched.
    leveled
        Whether the window of all tomograms is made of a few slices of this state.
    """

    frames: Triple
    itemsize: int
    kept: int
    rings: Rings
    voxel_bytes: int = 4
    phase: float | None = None
    searched: bool = False
    leveled: bool = False

    @property
    def bytes(self) -> int:
        """Raw counts of the scan."""
        return prod(self.frames) * self.itemsize

    @property
    def sorted_itemsize(self) -> int:
        """Bytes of a pixel of the sinograms: counts, or what phase retrieval makes of them."""
        return self.itemsize if self.phase is None else FILTERED.itemsize

    @property
    def sinogram_bytes(self) -> int:
        """Sinograms."""
        return prod(self.frames) * self.sorted_itemsize

    @property
    def tomogram_bytes(self) -> int:
        """Slices as they are made."""
        _, rows, columns = self.frames
        return self.voxel_bytes * rows * columns * columns

    @property
    def tasks(self) -> int:
        """Blocks of all passes."""
        slabs, few = ceil(self.frames[1] / slab_rows(self.frames)), len(searched_rows(self.frames[1]))
        looks = few * (self.searched + self.leveled) + (self.rings != "none")
        return len(frame_grid(self.frames, self.sorted_itemsize)) + looks + slabs

    @property
    def pass_bytes(self) -> dict[str, int]:
        """What one block takes, of the passes that take most."""
        slices = {"slices": slab_bytes(self.frames, slab_rows(self.frames), self.sorted_itemsize)}
        if self.searched:
            slices["center"] = search_bytes(self.frames, self.sorted_itemsize)
        if self.phase is not None:
            return {"phase": phase_bytes(self.frames, self.itemsize, self.phase)} | slices
        block = frame_grid(self.frames, self.itemsize).block
        frames = prod(min(b, n) for b, n in zip(block, self.frames, strict=True))
        return {"sort": frames * self.itemsize} | slices

    @property
    def seconds(self) -> float:
        """Time on one core."""
        _, rows, columns = self.frames
        slices = rows + self.leveled * len(searched_rows(rows))
        made = slices * columns * self.kept * (_ATTENUATED + _RINGS[self.rings] + _SPREAD)
        whole = slices * columns * columns * _VOXEL
        if self.searched:
            tried = columns * (self.frames[0] * _SPREAD + columns * _VOXEL)
            whole += len(searched_rows(rows)) * _TRIED * tried
        if self.phase is not None:
            wide = prod(padded_shape((rows, columns), self.phase))
            whole += self.frames[0] * (wide * _TRANSFORMED + rows * columns * _ATTENUATED)
        return 1e-9 * (prod(self.frames) * _SORTED + made + whole)
