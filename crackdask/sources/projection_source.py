"""Projections as a source: the tomogram to come has a shape and a type, its frames are read as they were recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crackdask.grid import Box
from crackdask.sources.base import Source, SourceError
from crackdask.sources.frames import Frames, FrameStack, Run, Uniform
from crackdask.storage.locations import Place, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Degrees above which a scan sees directions twice, and may have its axis at one side of the detector.
_MORE_THAN_HALF = 185.0
#: Columns of a detector below which nothing tells the axis.
_FEWEST = 9


@dataclass(frozen=True)
class Projections(Source):
    """A scan of projections, and the tomogram that will be made of it.

    `shape` and `dtype` are those of the tomogram, (rows, columns, columns) of float32 or uint16, `kind` is
    "projections"; it has no voxels until it is reconstructed.

    Attributes
    ----------
    recorded : Frames
        All projections, in the order in which they were taken.
    degrees : tuple of float
        Their angles.
    kept : (int, int)
        Which of them, [first, end), are within the angles that the recipe keeps.
    flat_stacks, dark_stacks : tuple of FrameStack
        Frames without sample and without beam, in the order in which they were taken; never empty.
    notes : tuple of str
        What a person should know of: frames that are left out, darks that are not there.
    lists : tuple of str
        Files of angles and of kinds of frames.
    format : str
        "NXtomo", "DXchange", "HDF5" or "frames".
    """

    recorded: Frames
    degrees: tuple[float, ...]
    kept: Run
    flat_stacks: tuple[FrameStack, ...]
    dark_stacks: tuple[FrameStack, ...]
    notes: tuple[str, ...]
    lists: tuple[str, ...]
    format: str

    @property
    def inner(self) -> str:
        """Path of the frames within the file, if the format has one."""
        return self.recorded.stack.inner

    @property
    def frames(self) -> Frames:
        """The projections that are kept: (angle, row, column), as they are stored."""
        return self.recorded.part(*self.kept)

    @property
    def angles(self) -> NDArray[np.float64]:
        """Angles of the kept projections, degrees."""
        return self.all_angles[slice(*self.kept)]

    @property
    def all_angles(self) -> NDArray[np.float64]:
        """Angles of all projections, degrees."""
        return np.array(self.degrees, np.float64)

    @property
    def moments(self) -> NDArray[np.float64]:
        """When each kept projection was taken, in frames since the scan began, as `FrameStack.position` is."""
        return self.all_moments[slice(*self.kept)]

    @property
    def all_moments(self) -> NDArray[np.float64]:
        """When each projection was taken."""
        return self.recorded.numbers.astype(np.float64)

    @property
    def rows(self) -> Run:
        """Detector rows [first, end) that are read; row 0 of the tomogram is the first of them."""
        return self.recorded.rows

    @property
    def detector(self) -> tuple[int, int]:
        """Rows and columns of the whole detector."""
        return self.recorded.stack.shape[1:]

    def read_frames(self, first: int, end: int) -> NDArray[Any]:
        """Return kept projections [first, end), (angle, row, column), as they are stored."""
        return self.frames.read(first, end)

    def check_axis(self, axis: Literal["auto"] | tuple[float, float]) -> None:
        """Raise if the axis cannot be searched, or is not one that slices can be made about.

        Parameters
        ----------
        axis
            The detector column at which it is seen in the first and last row, or that it is to be searched.

        Raises
        ------
        SourceError
            If it lies outside the detector, or so far at its side that each half turn sees one half of the sample; or
            if there are too few columns to search it in.
        """
        if axis != "auto":
            for center in axis:
                self._check_center(center)
        elif self.detector[1] < _FEWEST:
            raise SourceError(
                f"{self.location}: frames of {self.detector[1]} columns, too few to search the center in (wanted "
                f"{_FEWEST} or more); are these projections? If so, give center in [reconstruct]"
            )

    def _check_center(self, center: float) -> None:
        columns, middle = self.detector[1], (self.detector[1] - 1) / 2
        if not 0 <= center <= columns - 1:
            raise SourceError(f"{self.location}: a center at column {center:g} is outside columns 0 to {columns - 1}")
        span = abs(self.angles[-1] - self.angles[0])
        if span > _MORE_THAN_HALF and abs(center - middle) > columns / 4:
            raise SourceError(
                f"{self.location}: {span:.4g} degrees about a center at column {center:g} of {columns} look like a "
                "scan with its axis at the side of the detector (360 degrees, offset axis), not known here; join "
                "opposite projections to wide ones of 180 degrees (algotom: convert_sinogram_360_to_180), or keep 180 "
                "degrees with angles = [lowest, highest]"
            )

    def fingerprint(self) -> str:
        """Return a sha256 over all files, and over what of them is used."""
        taken = [(stack.position, stack.frames.runs, stack.frames.stack.inner) for stack in self._references]
        even = [f.frames.stack.value for f in self._references if isinstance(f.frames.stack, Uniform)]
        facts = (self.recorded.runs, self.rows, self.detector, self.frames.dtype.name, self.degrees, self.kept)
        return hashlib.sha256(repr((super().fingerprint(), facts, taken, even)).encode()).hexdigest()

    @property
    def _references(self) -> tuple[FrameStack, ...]:
        return (*self.flat_stacks, *self.dark_stacks)

    def _files(self) -> Iterable[tuple[str, Place]]:
        roles = [("frames", self.recorded.stack)]
        roles += [(f"references-{i}", stack.frames.stack) for i, stack in enumerate(self._references)]
        seen: dict[str, tuple[str, Place]] = {}
        for role, source in roles:
            for name, path in source._files():
                seen.setdefault(str(path), (f"{role}/{name}", path))
        for file in self.lists:
            seen.setdefault(file, (f"lists/{place(file).name}", place(file)))
        return list(seen.values())

    def _load(self, box: Box) -> NDArray[Any]:
        raise SourceError(f"{self.location}: projections have no voxels; read the tomogram that is made of them")
