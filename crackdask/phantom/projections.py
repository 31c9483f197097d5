"""Projections of an invented experiment: what a detector sees of it, in a holder, about an axis off the middle.

The electrode is the phantom's own scan without noise, its grey levels taken for attenuation. Rays are added up voxel by
voxel with linear interpolation (Joseph 1982). They know nothing of how slices are reconstructed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from crackdask.arrays import Floats, Singles
from crackdask.grid import Box
from crackdask.kernels.compiling import compiled
from crackdask.phantom.detector import Counts, Detector
from crackdask.phantom.experiment import SIXTEEN_BIT, Phantom


@dataclass(frozen=True)
class Projections:
    """How a phantom is projected.

    Parameters
    ----------
    phantom
        Whose states they are of. Its z is the detector's row.
    degrees
        Angle of each projection.
    columns
        Of the detector; the phantom's diagonal and a margin unless told, so that all of it is always seen.
    center
        Column at which the axis is seen; 3.37 beside the middle of the detector unless told.
    attenuation
        Of a ray along x through the whole phantom, were it at the mean of solid and background.
    clear
        Angles in degrees between which the holder stays out of the way; None for no holder.
    holder
        Attenuation in the middle of the holder's pillar.
    embedded
        Whether the sample goes on around the phantom, as a cylinder of grey halfway from background to solid; else the
        phantom stands in air, and its faces throw streaks that no electrode has.
    detector
        That counts.
    """

    phantom: Phantom
    degrees: tuple[float, ...] = tuple(np.linspace(0, 180, 361).tolist())
    columns: int = 0
    center: float = math.nan
    attenuation: float = 1.0
    clear: tuple[float, float] | None = (30.0, 177.0)
    holder: float = 3.0
    embedded: bool = False
    detector: Detector = field(default_factory=Detector)

    @property
    def width(self) -> int:
        """Return the columns of the detector; as even as the phantom's, so that its voxels are those of slices."""
        wide = 16 + math.ceil(math.hypot(*self.phantom.shape[1:]))
        return self.columns or wide + (wide - self.phantom.shape[2]) % 2

    @property
    def axis(self) -> float:
        """Return the column at which the axis is seen."""
        return (self.width - 1) / 2 + 3.37 if math.isnan(self.center) else self.center

    @property
    def per_grey(self) -> float:
        """Return the attenuation per voxel edge of one grey level of 255."""
        return self.attenuation / (self.phantom.shape[2] * (self.phantom.solid_grey + self.phantom.background_grey) / 2)

    def integrals(self, state: int, first: int, end: int) -> Singles:
        """Return line integrals (row, projection, column) through the sample alone, of some rows of the detector."""
        _, ny, nx = self.phantom.shape
        grey = self.phantom.clean(state, Box((first, 0, 0), (end, ny, nx))).astype(np.float32)
        if self.phantom.dtype == "uint16":
            grey = (grey - np.float32(SIXTEEN_BIT[1])) / np.float32(SIXTEEN_BIT[0])
        degrees = np.array(self.degrees)
        if not self.embedded:
            return line_integrals(grey * np.float32(self.per_grey), degrees, self.width, self.axis)
        around = np.float32((self.phantom.solid_grey + self.phantom.background_grey) / 2)
        own = line_integrals((grey - around) * np.float32(self.per_grey), degrees, self.width, self.axis)
        radius = math.hypot(ny, nx) / 2 + 2
        chord = 2 * np.sqrt(np.maximum(radius**2 - (np.arange(self.width) - self.axis) ** 2, 0))
        return own + (chord * (float(around) * self.per_grey)).astype(np.float32)

    def counts(self, state: int, first: int, end: int) -> Counts:
        """Return what the detector counts, (row, projection, column), of some rows."""
        total = self.integrals(state, first, end) + self._pillar()
        moments = np.linspace(0, 1, len(self.degrees))
        return _detector(self.detector, state).exposed(np.exp(-total), first, moments)

    def references(self, state: int, moment: float, frames: int = 10) -> tuple[Counts, Counts]:
        """Return flats and darks (frame, row, column) at a moment, 0 before the projections and 1 after them."""
        return _detector(self.detector, state).references(self.phantom.shape[0], self.width, frames, moment)

    def _pillar(self) -> Singles:
        """Return the holder's line integrals, (projection, column): a round pillar that turns with the sample.

        It stands so far out that it crosses the detector only at angles that are not clear.
        """
        turns = np.radians(np.array(self.degrees))[:, None]
        if self.clear is None:
            return np.zeros((len(turns), 1), np.float32)
        low, high = np.radians(self.clear)
        half, middle = (math.pi - (high - low)) / 2, (low + high - math.pi) / 2
        radius = 0.2 * self.width
        far = (self.width / 2 + radius + abs(self.axis - (self.width - 1) / 2)) / math.sin(half)
        at = far * np.sin(turns - middle) + self.axis
        inside = 1 - ((np.arange(self.width) - at) / radius) ** 2
        return (self.holder * np.sqrt(np.maximum(inside, 0))).astype(np.float32)


def _detector(detector: Detector, state: int) -> Detector:
    """Return the detector as it is in one state: other photons, and other pixels that do not answer."""
    return Detector(**{**vars(detector), "seed": detector.seed + 1_000_003 * state})


def line_integrals(volume: Singles, degrees: Floats, columns: int, center: float) -> Singles:
    """Return sums (row, projection, column) along rays through a volume (row, y, x).

    A voxel (y, x) from the middle of its slice is seen at the column x cos(angle) + y sin(angle) + center.
    """
    turns = np.radians(np.asarray(degrees, np.float64))
    out = np.zeros((len(turns), columns, len(volume)), np.float32)
    _joseph(np.ascontiguousarray(np.moveaxis(volume, 0, 2), np.float32), np.cos(turns), np.sin(turns), center, out)
    return np.ascontiguousarray(np.moveaxis(out, 2, 0))


@compiled
def _joseph(volume: Singles, cosines: Floats, sines: Floats, center: float, out: Singles) -> None:
    """Step along the axis that a ray is nearer to, and interpolate along the other; rows lie side by side."""
    ny, nx, rows = volume.shape
    for p in range(len(cosines)):
        c, s = cosines[p], sines[p]
        down = abs(c) >= abs(s)
        steps, size = (ny, nx) if down else (nx, ny)
        lead, cross = (s, c) if down else (c, s)
        weight = np.float32(1 / abs(cross))
        for column in range(out.shape[1]):
            total = out[p, column]
            for k in range(steps):
                at = (column - center - (k - (steps - 1) / 2) * lead) / cross + (size - 1) / 2
                low = math.floor(at)
                if low < -1 or low >= size:
                    continue
                part = np.float32(at - low)
                for end in range(2):
                    place = low + end
                    if 0 <= place < size:
                        share = (part if end else np.float32(1) - part) * weight
                        voxels = volume[k, place] if down else volume[place, k]
                        for row in range(rows):
                            total[row] += share * voxels[row]
