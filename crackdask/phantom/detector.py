"""What a detector counts: beam, flats, darks, photons, and pixels that do not answer as they should.

Each row of the detector is drawn from its own seed, so any rows can be made alone and fit together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crackdask.arrays import Floats, Singles

Counts = NDArray[np.uint16]

FULL = 65535


@dataclass(frozen=True)
class Detector:
    """A detector and its beam, from numbers.

    Parameters
    ----------
    counts
        Of a pixel in the middle of the beam without sample, above the dark.
    dark, read_noise
        Counts without beam, and their standard deviation.
    profile
        Part of the beam that is missing at the detector's left and right edge.
    drift
        Part of the beam that is lost from the first frame to the last; flats of begin and end show it.
    gain_sd
        Of the pixels' gains; flats show them.
    striped, stripe_sd
        Part of the pixels that answer otherwise to the sample than to the flats, and the standard deviation of their
        error: rings.
    dead, fluctuating, stuck
        Pixels of each row that count nothing, that flicker by `flicker`, or that give one count for ever.
    zingers
        Part of all pixels of all projections that a stray photon hits.
    seed
        Of everything drawn.
    """

    counts: float = 60_000.0
    dark: float = 100.0
    read_noise: float = 2.0
    profile: float = 0.15
    drift: float = 0.03
    gain_sd: float = 0.02
    striped: float = 0.04
    stripe_sd: float = 0.03
    dead: int = 1
    fluctuating: int = 1
    stuck: int = 1
    flicker: float = 0.1
    zingers: float = 0.0
    seed: int = 0

    def exposed(self, transmission: Singles, first_row: int, moments: Floats) -> Counts:
        """Return counts (row, projection, column) of the share of the beam that the sample lets through.

        `moments` are when each projection is taken, 0 at the first flats and 1 at the last.
        """
        out = np.empty(transmission.shape, np.uint16)
        for k, seen in enumerate(transmission):
            rng, pixels = self._row(first_row + k, transmission.shape[2], kind=1)
            beam = self._beam(transmission.shape[2]) * pixels.gain * pixels.stripe
            expected = seen * beam * (1 - self.drift * np.asarray(moments))[:, None]
            out[k] = self._counted(rng, expected, pixels)
        return out

    def references(
        self, rows: int, columns: int, frames: int, moment: float, first_row: int = 0
    ) -> tuple[Counts, Counts]:
        """Return flats and darks (frame, row, column) that are taken at one moment."""
        flats, darks = (np.empty((frames, rows, columns), np.uint16) for _ in range(2))
        for row in range(rows):
            rng, pixels = self._row(first_row + row, columns, kind=2 + round(1000 * moment))
            beam = self._beam(columns) * pixels.gain * (1 - self.drift * moment)
            flats[:, row] = self._counted(rng, np.broadcast_to(beam, (frames, columns)), pixels)
            darks[:, row] = self._counted(rng, np.zeros((frames, columns)), pixels)
        return flats, darks

    def flaws(self, row: int, columns: int) -> dict[str, NDArray[np.int64]]:
        """Return which pixels of a row are `dead`, `fluctuating`, `stuck` and `striped`."""
        pixels = self._row(row, columns, kind=0)[1]
        return {
            "dead": pixels.dead,
            "fluctuating": pixels.fluctuating,
            "stuck": pixels.stuck,
            "striped": np.flatnonzero(pixels.stripe != 1),
        }

    def _beam(self, columns: int) -> Floats:
        at = np.linspace(-1, 1, columns)
        return self.counts * (1 - self.profile * at**2)

    def _row(self, row: int, columns: int, kind: int) -> tuple[np.random.Generator, _Pixels]:
        """Return what draws the noise of one row, and its pixels, which are the same in frames of all kinds."""
        rng = np.random.default_rng([self.seed, 8, row])
        gain = 1 + self.gain_sd * rng.normal(size=columns)
        stripe = np.where(rng.uniform(size=columns) < self.striped, 1 + self.stripe_sd * rng.normal(size=columns), 1.0)
        bad = rng.permutation(columns)
        ends = np.cumsum([self.dead, self.fluctuating, self.stuck])
        dead, fluctuating, stuck, _ = np.split(bad, ends)
        level = self.dark + self.counts * rng.uniform(0.05, 0.95, size=stuck.size)
        return np.random.default_rng([self.seed, 9, row, kind]), _Pixels(gain, stripe, dead, fluctuating, stuck, level)

    def _counted(self, rng: np.random.Generator, expected: Floats, pixels: _Pixels) -> Counts:
        """Return counts of (frame, pixel), photon by photon."""
        seen = np.array(expected, np.float64)
        shape = (len(seen), pixels.fluctuating.size)
        seen[:, pixels.fluctuating] *= np.clip(1 + self.flicker * rng.normal(size=shape), 0, None)
        seen[:, pixels.dead] = 0
        counts = rng.poisson(seen) + self.dark + self.read_noise * rng.normal(size=seen.shape)
        counts[rng.uniform(size=seen.shape) < self.zingers] += 0.5 * self.counts
        counts[:, pixels.stuck] = pixels.level
        return np.rint(counts).clip(0, FULL).astype(np.uint16)


@dataclass(frozen=True)
class _Pixels:
    gain: Floats
    stripe: Floats
    dead: NDArray[np.int64]
    fluctuating: NDArray[np.int64]
    stuck: NDArray[np.int64]
    level: Floats
