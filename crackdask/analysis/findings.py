"""What a run found that its user should know before believing a number: one list, from the steps to every screen.

A finding is made where it is seen: by a step (the engine keeps it with the unit's result, so it lasts as long as what
it tells of) or from the tables at the end. The store holds them all in its root attribute `findings`; `run` shows them
when it ends, `status` and the report on top. `KINDS` lists every code that there is, with the way out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.schema import CHAIN

#: The name under which a unit's result holds its findings.
KEPT_AS = "findings"


@dataclass(frozen=True)
class Kind:
    """What findings of one code have in common.

    Attributes
    ----------
    title
        A few words.
    advice
        What to do.
    note
        Whether nothing is wrong: something was seen and taken care of.
    """

    title: str
    advice: str
    note: bool = False


#: Every code that a finding may have. Each has a test that provokes it and one that does not.
KINDS: Mapping[str, Kind] = {
    "same-scan": Kind(
        "one scan for two states",
        "no two scans have the same noise, and what is compared there is a scan with itself; correct the source of one",
    ),
    "not-registered": Kind(
        "the states were not registered",
        'changes may come from motion between the scans; choose another transform than "none" under [register]',
    ),
    "poor-registration": Kind(
        "poor registration",
        "grey levels near surfaces mix with those around the particle, and changes there are not to be trusted; "
        'let the transform be "auto" and local = "auto" under [register], or leave the state out',
    ),
    "deformed": Kind(
        "the sample is deformed as a whole",
        "an affine transform follows it; the table of particles holds the strain",
        note=True,
    ),
    "local-motion": Kind(
        "the sample moved unevenly",
        "a field of displacements follows it; the table of particles holds each one's own displacement and the strain "
        "around it",
        note=True,
    ),
    "grey-drift": Kind(
        "the grey scale drifted between scans",
        'changes against the reference are off by about as much, and their errors count it; set normalise = "auto" '
        "under [grey], and where that is so, look at the scan for what else differs",
    ),
    "grey-corrected": Kind(
        "a drift of the grey scale was corrected",
        "damage of all particles of a state may be off by what stands after ±, alike, which their errors count",
        note=True,
    ),
    "three-phases": Kind(
        "more than two phases",
        "if cracks are filled by another of them, give its grey level as void_grey under [analyse]",
        note=True,
    ),
    "merged-phases": Kind(
        "the grey level of voids hides another phase",
        "damage and its changes may be too large by such a share, which their errors count; signs and paths do not "
        "change; give the level of a void as void_grey under [analyse]",
    ),
    "cupping": Kind(
        "grey levels drift across a scan",
        "changes of damage in one part of the volume are off by up to about half of this against those in another, and "
        "on average where tracked particles lie in one part only; set flatten = true under [grey], or correct the flat "
        "field and beam hardening when the scan is reconstructed (angles that are left out do it too)",
    ),
    "flattened": Kind(
        "grey levels that drift across a scan were corrected",
        "solid and background have one level each all over it, so true differences as slow across it are gone too",
        note=True,
    ),
    "not-flattened": Kind(
        "a scan could not be flattened",
        "it is measured as it is, with any drift of grey levels across it; crop it to where both phases are",
    ),
    "rings": Kind(
        "rings about the axis of the scan",
        "a particle that moves against them changes its grey level, which the errors of changes count; let the "
        "reconstruction remove them",
    ),
    "odd-slices": Kind(
        "slices that are blank or the same as the one before",
        "what lies there was not scanned, as where a detector stood still or a copy went wrong; replace them, or leave "
        "them out with [crop]",
    ),
    "none-tracked": Kind(
        "no particle is tracked",
        "no change can be told; look at the slices in the report whether a state is shifted, mirrored or empty, and "
        "whether voxels within the sample are fill",
    ),
    "cut-off": Kind(
        "the numbers of a scan end too early",
        "what was beyond is lost, and changes of damage with it; write the scan again with a wider range, or, if these "
        "voxels lie outside what was measured, give their value as fill under [experiment]",
    ),
    "clipped": Kind("voxels beyond the grey window", "differences there are lost; widen window under [grey]"),
    "cycler-notes": Kind(
        "how the cycler's files were read",
        'if it is otherwise, say so under [electrochemistry], such as dates = "day first"',
        note=True,
    ),
    "current-reversed": Kind(
        "the current looks turned round",
        'if it is positive on discharge in these files, set positive = "discharge" under [electrochemistry]',
    ),
    "not-linked": Kind(
        "a state is linked to no moment of the cell's record",
        "no capacity is told for it; give the `time` of its scan in the recipe",
    ),
    "other-cell": Kind(
        "no state is linked to the cell's record",
        "look whether the files are of this cell, and give the `time` of each scan in the recipe",
    ),
    "projection-notes": Kind(
        "how projections were taken",
        "if it was meant otherwise, name the parts of the scan under [reconstruct]: flats, darks, image_key",
        note=True,
    ),
    "saturated-pixels": Kind(
        "the detector was full",
        "what was seen there is interpolated from neighbours, and wrong where many are full together; "
        "expose shorter, or leave such projections out with angles under [reconstruct]",
    ),
    "starved-pixels": Kind(
        "no photon came through",
        "half a count is taken there, so that streaks may go through slices; leave such projections out with angles "
        "under [reconstruct], as of a holder, or take a higher energy",
    ),
    "lost-columns": Kind(
        "many detector columns tell nothing",
        "they are interpolated, which leaves faint rings and blurs what they saw; let the detector be looked at",
    ),
    "beyond-window": Kind(
        "attenuation beyond the window of the tomogram",
        "what is darker or brighter there is lost; widen window under [reconstruct], or leave it out",
    ),
    "limited-center": Kind(
        "the center was searched in less than half a turn",
        "one method alone found it, and it may be off by columns; look at the labelled slices in the report, and give "
        "center under [reconstruct] as a number where another is sharper",
    ),
    "centers-apart": Kind(
        "two methods find the center at different columns",
        "their mean is taken; the sample may have drifted while it was scanned, or little tells the axis: look at the "
        "labelled slices in the report, and give center under [reconstruct] as a number where another is sharper",
    ),
    "sharpness": Kind(
        "blurrier than the sharpest state",
        "the dark around particles reaches deeper into them there, which looks like damage; let match_sharpness be "
        '"auto" under [grey], or leave the state out if it is too blurry for that',
    ),
    "sharpness-matched": Kind(
        "blurrier than the sharpest state, and matched",
        "sharper states were measured as blurry as the blurriest of these, and what that takes from changes of damage "
        "is given back as far as it is known; leave the state out to keep the detail",
        note=True,
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes
    ----------
    code
        One of `KINDS`.
    state
        Name of the state that it is about; None for the whole experiment.
    figure, limit
        What was measured, and from where on it is told; both in the unit that `text` names.
    text
        What was seen, with figure and unit, as half a sentence after the title.
    """

    code: str
    state: str | None
    figure: float
    limit: float
    text: str

    def __post_init__(self) -> None:
        """Refuse a code that nobody could look up."""
        if self.code not in KINDS:
            raise ValueError(f"no finding has the code {self.code!r}; there are {', '.join(KINDS)}")

    @property
    def kind(self) -> Kind:
        """What all findings of this code have in common."""
        return KINDS[self.code]


def sentences(findings: Iterable[Finding]) -> list[str]:
    """Return findings as people read them: a sentence for each code, with its states and figures and the way out.

    >>> sentences([Finding("clipped", name, 0.02, 0.01, "2.0%") for name in ("4.2 V", "4.4 V")])[0][:56]
    'Voxels beyond the grey window: 4.2 V (2.0%), 4.4 V (2.0%'
    """
    by_code: dict[str, list[Finding]] = {}
    for each in findings:
        by_code.setdefault(each.code, []).append(each)
    return [
        f"{_capital(KINDS[code].title)}: {', '.join(map(_seen, those))}. {_capital(KINDS[code].advice)}."
        for code, those in by_code.items()
    ]


def parted(findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that are warnings, and those that are but notes.

    >>> found = [Finding(code, None, 2.0, 1.0, "so") for code in ("three-phases", "rings")]
    >>> [[each.code for each in those] for those in parted(found)]
    [['rings'], ['three-phases']]
    """
    told = list(findings)
    return [each for each in told if not each.kind.note], [each for each in told if each.kind.note]


def _seen(finding: Finding) -> str:
    return f"{finding.state} ({finding.text})" if finding.state else finding.text


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def as_attribute(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as the root attribute of a store holds them: with title, advice and whether it is a note."""
    return [{**asdict(each), **asdict(each.kind)} for each in findings]


def of_store(attributes: Mapping[Any, Any]) -> list[Finding]:
    """Return the findings among the root attributes of a store; none in a store of before there were any."""
    names = ("code", "state", "figure", "limit", "text")
    known = (each for each in attributes.get("findings", ()) if each.get("code") in KINDS)
    return [Finding(**{name: each[name] for name in names}) for each in known]


def packed(findings: Sequence[Finding]) -> dict[str, NDArray[Any]]:
    """Return findings as a table to be kept with a unit's result; nothing where there are none."""
    if not findings:
        return {}
    text = json.dumps([asdict(each) for each in findings])
    return {KEPT_AS: np.frombuffer(text.encode(), np.uint8)}


def unpacked(tables: Mapping[str, NDArray[Any]]) -> list[Finding]:
    """Return the findings that a unit's result holds.

    >>> found = [Finding("clipped", "4.2 V", 0.02, 0.01, "2.0% of them")]
    >>> unpacked(packed(found)) == found, unpacked({})
    (True, [])
    """
    if KEPT_AS not in tables:
        return []
    return [Finding(**each) for each in json.loads(tables[KEPT_AS].tobytes())]


# ---------------------------------------------------------------- what the tables of a whole run tell

#: A residual from which a voxel at a particle's edge is as likely a neighbour's, in voxels.
POOR_RESIDUAL = 0.5
#: Share of voxels beyond the grey window from which the window is too narrow.
CLIPPED = 0.01


def of_tracking(particles: int, tracked: int) -> list[Finding]:
    """Return whether nothing can be followed.

    >>> of_tracking(3, 1), of_tracking(3, 0)[0].text
    ([], '3 found')
    """
    return [] if tracked else [Finding("none-tracked", None, 0.0, 1.0, f"{particles} found")]


def of_registration(names: Sequence[str], residuals: Sequence[float], transform: str) -> list[Finding]:
    """Return what the residuals of the registration tell, in voxels, one for each state."""
    if len(names) < 2:
        return []
    if transform == "none":
        return [Finding("not-registered", None, float(len(names)), 1.0, f"all {len(names)} of them")]
    return [
        Finding(
            "poor-registration", name, float(residual), POOR_RESIDUAL,
            f"sub-blocks {residual:.2f} voxels off, limit {POOR_RESIDUAL:g}",
        )
        for name, residual in zip(names, residuals, strict=True)
        if not residual <= POOR_RESIDUAL
    ]  # fmt: skip


def of_motion(names: Sequence[str], transforms: Sequence[str], chains: Sequence[Sequence[float]]) -> list[Finding]:
    """Return which states needed more than a rigid motion, from residuals after rigid, affine and local."""
    told = []
    for name, kind, (rigid, affine, local) in zip(names, transforms, chains, strict=True):
        steps = [f"{step} {each:.2f}" for step, each in zip(CHAIN, (rigid, affine, local), strict=True) if each == each]
        left = f"residuals {', '.join(steps)} voxels"
        if local == local:
            told.append(Finding("local-motion", name, float(local), 0.0, left))
        elif kind == "affine" and rigid == rigid:
            told.append(Finding("deformed", name, float(affine), 0.0, left))
    return told


def of_window(shares: Mapping[str, Sequence[float]]) -> list[Finding]:
    """Return what the shares of voxels below and above the grey window tell, by name of the state."""
    return [
        Finding("clipped", name, float(sum(ends)), CLIPPED, f"{sum(ends):.1%}")
        for name, ends in shares.items()
        if sum(ends) > CLIPPED
    ]
