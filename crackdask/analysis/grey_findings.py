"""What a run tells of grey levels: drifts between scans, phases that do not part, slow trends across a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crackdask.analysis.findings import Finding
from crackdask.kernels.slow_trends import spread

if TYPE_CHECKING:
    from crackdask.kernels.grey_drift import Drift
    from crackdask.kernels.slow_trends import Trend

#: A drift that stays, as a share of the contrast of solid and background, from which changes of damage are off by
#: more than errors of single particles leave room for.
DRIFT = 0.005
#: The same for the commonest level of the particles' solid: rims of cracks move that by up to 0.6% on phantoms, where
#: changes of damage are right within 0.2%.
SOLID_DRIFT = 0.01
#: Voxels on the bright side of the void's peak for one on its dark side, from which another phase hides in it. One
#: phase has 0.8 to 0.9 on phantoms, up to 1.7 where they are blurred; a binder at 15% of the contrast makes it 2.2.
SHOULDER = 2.0
#: From what range across a scan grey levels are told of, as shares of the contrast: against the reference, and in the
#: reference itself, where it cancels in changes. From how strong rings, root mean square. And how many errors beyond.
UNEVEN, UNEVEN_REFERENCE, RINGS, SURE = 0.015, 0.03, 0.01, 4.0


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


def of_phases(levels: Sequence[float], void: float | None, solid: float | None) -> list[Finding]:
    """Return what the grey levels of the phases tell, the darkest first; nothing where there are two, or fewer."""
    if len(levels) < 3 or void is None or solid is None:
        return []
    listed = ", ".join(f"{level:.0f}" for level in levels)
    text = f"grey levels {listed}; {void:.0f} is taken for voids, {solid:.0f} for the solid"
    return [Finding("three-phases", None, float(len(levels)), 2.0, text)]


def of_shoulder(ratio: float, off: float, levels: Sequence[float]) -> list[Finding]:
    """Return what a peak tells that is not as high on both its sides; `off` in grey levels, as `levels`."""
    if ratio <= SHOULDER:
        return []
    share = off / (levels[-1] - levels[0])
    text = (
        f"{ratio:.1f} times as many voxels on the solid's side of its peak as beyond, limit {SHOULDER:g}; its level "
        f"may be off by {share:.1%} of the contrast"
    )
    return [Finding("merged-phases", None, ratio, SHOULDER, text)]


def of_flattening(state: str, before: Trend | None, after: Trend | None) -> list[Finding]:
    """Return what is told of a scan that was to be flattened; `after` is None where no trend could be taken off."""
    if before is None or after is None:
        text = "no two phases with enough voxels are seen in its small version, or they come too near each other"
        return [Finding("not-flattened", state, 0.0, 0.0, text)]
    was, left = (spread(each.cells)[0] / each.contrast for each in (before, after))
    text = f"{was:.1%} of the contrast over the scan, {left:.1%} left"
    return [Finding("flattened", state, was, left, text)]


def of_trend(state: str, own: Trend | None, reference: Trend | None) -> list[Finding]:
    """Return what slow trends and rings of a scan tell; `reference` is None for the reference itself."""
    if own is None:
        return []
    cells, limit, words = own.cells, UNEVEN_REFERENCE, "of the contrast over the scan"
    if reference is not None:
        cells = own.cells / own.level * reference.level - reference.cells
        limit, words = UNEVEN, "of the contrast over the scan, besides what the reference has"
    found = []
    contrast = (own if reference is None else reference).contrast
    uneven, error = (number / contrast for number in spread(cells))
    if uneven > max(limit, SURE * error):
        found.append(Finding("cupping", state, uneven, limit, f"{uneven:.1%} {words}, limit {limit:.1%}"))
    if has_rings(own):
        rings = own.rings / own.contrast
        text = f"{rings:.2%} of the contrast, root mean square, limit {RINGS:.0%}"
        found.append(Finding("rings", state, rings, RINGS, text))
    return found


def has_rings(own: Trend) -> bool:
    """Tell whether a scan has rings that matter, and no doubt."""
    return own.rings > max(RINGS * own.contrast, SURE * own.rings_error)
