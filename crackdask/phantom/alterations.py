"""What can be wrong with an experiment that the method does not expect: numbers, state by state."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from crackdask.phantom.deformation import JITTER_CUT

PerState = tuple[float, ...]
#: What a number of a state is where it alters nothing.
NEUTRAL = {
    "gain": 1.0, "offset": 0.0, "cupping": 0.0, "blur": 0.0, "noise": 1.0,
    "local_motion": 0.0, "slip": 0.0, "jitter": 0.0, "swelling": 1.0,
}  # fmt: skip
#: Deformations are told against the reference, so they leave the first state as it is.
DEFORMING = ("local_motion", "slip", "jitter", "swelling")


@dataclass(frozen=True)
class Alterations:
    """Departures from a rigid sample of two phases in a scanner that stays the same.

    By default nothing is altered. A number per state is a tuple as long as the states, or () for none.

    Light is altered in this order: the density is blurred; its grey gets rim and streaks, is multiplied by the
    cupping, and gets the rings; noise is added; all that is multiplied by the gain and gets the offset. So the gain
    multiplies noise too, as a reconstruction's grey window does.

    Parameters
    ----------
    binder_level
        A third phase round the particles, whose density lies this share of the way from background to solid; 0 for
        none. It fills no cracks.
    binder_shell
        Thickness of the third phase, in voxels.
    gain, offset
        Per state: grey levels become `gain` times what they were, plus `offset` times the contrast (solid -
        background).
    cupping
        Per state: by which share the axis of the scan (z, through its middle) is darker than its corners, along a
        parabola of the distance from the axis; negative numbers make the axis brighter.
    rings
        Largest grey of concentric rings about that axis, as a share of the contrast. They are the scanner's: the
        same in every state and slice, one random level for each voxel of radius.
    blur
        Per state: standard deviation, in voxels, of one more Gaussian blur.
    noise
        Per state: factor on the standard deviation of the noise.
    local_motion
        Per state: largest displacement, in voxels, of a smooth field, a plane wave for each axis whose half
        wavelength is about the volume's extent.
    slip
        Per state: voxels by which the side of a plane that its normal points to slides along the plane.
    slip_point, slip_normal
        The plane, (z, y, x) in the reference frame; without a point it passes through the volume's middle.
    jitter
        Per state: standard deviation along each axis, in voxels, of a displacement that every particle has of its
        own, normal and cut at three standard deviations.
    swelling
        Per state: factor on positions, about the volume's middle, and on sizes of particles with their cracks.
    """

    binder_level: float = 0.0
    binder_shell: float = 3.0
    gain: PerState = ()
    offset: PerState = ()
    cupping: PerState = ()
    rings: float = 0.0
    blur: PerState = ()
    noise: PerState = ()
    local_motion: PerState = ()
    slip: PerState = ()
    slip_point: tuple[float, float, float] | None = None
    slip_normal: tuple[float, float, float] = (1.0, 0.6, 0.3)
    jitter: PerState = ()
    swelling: PerState = ()

    def of(self, name: str, state: int) -> float:
        """Return a number per state as it is in one state.

        >>> Alterations(gain=(1.0, 1.03)).of("gain", 1), Alterations().of("gain", 1)
        (1.03, 1.0)
        """
        values: PerState = getattr(self, name)
        return values[state] if values else NEUTRAL[name]

    @property
    def shell(self) -> float:
        """Thickness of the third phase in voxels, 0 where there is none."""
        return self.binder_shell if self.binder_level > 0 else 0.0

    def mechanics(self) -> Alterations:
        """Return what alters where particles are; how they look left out."""
        looks = {"gain": (), "offset": (), "cupping": (), "rings": 0.0, "blur": (), "noise": ()}
        kept: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in looks}
        return Alterations(**kept)

    def reach(self, state: int, diagonal: float) -> float:
        """Return a bound, in voxels, on any displacement in a volume of this diagonal and around it."""
        own = JITTER_CUT * math.sqrt(3) * self.of("jitter", state)
        swollen = abs(self.of("swelling", state) - 1) * diagonal
        return abs(self.of("local_motion", state)) + abs(self.of("slip", state)) + own + swollen

    def wrong(self, number: int) -> list[str]:
        """Return what makes no sense for this number of states."""
        rules = [
            (0 <= self.binder_level <= 1, "binder_level", "0 to 1"),
            (0 < self.binder_shell <= 20, "binder_shell", "more than 0, and 20 at most,"),
            (0 <= self.rings <= 1, "rings", "0 to 1"),
            (any(self.slip_normal), "slip_normal", "a direction"),
        ]
        least = {"gain": 0.1, "cupping": -0.5, "swelling": 0.8, "offset": -1.0, "slip": -100.0}
        most = {"gain": 10.0, "cupping": 0.5, "swelling": 1.25, "offset": 1.0, "blur": 4.0}
        for name, neutral in NEUTRAL.items():
            values, low, high = getattr(self, name), least.get(name, 0.0), most.get(name, 100.0)
            fine = isinstance(values, tuple) and len(values) in (0, number)
            rules.append((fine, name, f"a tuple of {number} numbers, one per state, or ()"))
            if fine:
                rules.append((all(low <= v <= high for v in values), name, f"{low:g} to {high:g} in each state"))
                still = name not in DEFORMING or self.of(name, 0) == neutral
                rules.append((still, name, f"{neutral:g} in the first state, which is the reference,"))
        return [f"{name} is {getattr(self, name)!r}; {wanted} is needed" for fine, name, wanted in rules if not fine]


UNALTERED = Alterations()
