"""What a run tells of grey levels: drifts between scans, phases that do not part, slow trends across a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crackdask.analysis.findings import Finding

if TYPE_CHECKING:
    from crackdask.kernels.grey_drift import Drift

#: A drift that stays, as a share of the contrast of solid and background, from which changes of damage are off by
#: more than errors of single particles leave room for.
DRIFT = 0.005
#: The same for the commonest level of the particles' solid: rims of cracks move that by up to 0.6% on phantoms, where
#: changes of damage are right within 0.2%.
SOLID_DRIFT = 0.01


def of_drift(state: str, seen: Drift, normalise: str) -> list[Finding]:
    """Return what the drift of a state's scan tells: what was corrected, or what was left as it is."""
    error = max(seen.background_error, seen.solid_error) / seen.contrast
    if not seen.sure or normalise == "peaks":
        return []
    if normalise == "auto":
        text = f"{seen.share:+.1%} of the contrast, gain {seen.gain:.4f} and offset {seen.offset:+.4g}, to ±{error:.1%}"
        return [Finding("grey-corrected", state, abs(seen.share), error, text)]
    if abs(seen.share) < DRIFT:
        return []
    text = f"{seen.share:+.1%} of the contrast, limit {DRIFT:.1%}"
    return [Finding("grey-drift", state, abs(seen.share), DRIFT, text)]


def of_particles(state: str, shift: float, limit: float) -> Finding:
    """Return what is told of a state in which the solid of the particles themselves is off, as a share of contrast."""
    text = f"the solid of tracked particles by {shift:+.1%} of the contrast, limit {limit:.1%}"
    return Finding("grey-drift", state, abs(shift), limit, text)
