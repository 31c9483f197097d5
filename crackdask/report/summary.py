"""What a run found, in words and numbers, and where its data does not carry a conclusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from crackdask import analyse
from crackdask.analysis import findings
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.tables import state_names, table_of
from crackdask.schema import NOT_TRACKED

#: Fewer tracked particles than these, or a smaller share, and averages are of a few or of a choice.
FEW_PARTICLES, FEW_SHARE = 100, 0.3
#: A background that moves by this share of the contrast between solid and background looks like damage; so does the
#: commonest grey level inside particles, which cracks leave where it is: they darken some voxels, not most.
DRIFT, SOLID_DRIFT = 0.01, 0.02


@dataclass
class Summary:
    """Facts, each a name and what was found; warnings; notes; numbers for other programs.

    Attributes
    ----------
    facts
        Pairs of a few words and a sentence.
    warnings
        Sentences on what the data does not carry.
    notes
        Sentences on what was seen and taken care of.
    numbers
        By name.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    numbers: dict[str, float | str] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """Return the numbers as a table."""
        return pd.DataFrame({"name": list(self.numbers), "value": list(self.numbers.values())})


def summary(
    store: xr.DataTree, damage: xr.Dataset | AnalysisError | None = None, histogram: xr.Dataset | None = None
) -> Summary:
    """Summarise a store.

    Parameters
    ----------
    store
        What ``crackdask.open`` returns.
    damage
        What :func:`crackdask.analyse.damage` returned or raised, so that it is worked out once.
    histogram
        What ``crackdask.figures.histogram.collect_grey_histogram`` returned, for the drift of grey levels.

    Raises
    ------
    AnalysisError
        If the run of the store is not finished.
    """
    warnings, notes = map(findings.sentences, findings.parted(findings.of_store(store.attrs)))
    told = Summary(warnings=warnings, notes=notes)
    table = table_of(store, "particles")
    _found(told, table)
    _registered(told, store)
    if histogram is not None:
        _drift(told, histogram, warn="grey_scale" not in store.attrs.get("found", {}))
    if damage is None:
        damage = damage_or_reason(store)
    if isinstance(damage, AnalysisError):
        told.facts.append(("damage", f"cannot be told: {damage}"))
        return told
    for what, tell in (("damaged on charge", _charge), ("healed on discharge", _discharge), ("commonest path", _path)):
        told.facts.append((what, _or_reason(tell, told, damage)))
    return told


def damage_or_reason(store: xr.DataTree) -> xr.Dataset | AnalysisError:
    """Return the damage of a store, or why there is none."""
    try:
        return analyse.damage(store)
    except AnalysisError as error:
        return error


def _or_reason(tell: Callable[[Summary, xr.Dataset], str], told: Summary, damage: xr.Dataset) -> str:
    try:
        return tell(told, damage)
    except AnalysisError as error:
        return f"cannot be told: {error}"


def _found(told: Summary, table: xr.Dataset) -> None:
    names, total = state_names(table), table.sizes["particle"]
    tracked = int(table.tracked.any("state").sum())
    told.numbers |= {"states": len(names), "particles": total, "tracked": tracked}
    states = f"{len(names)} state{'s' * (len(names) != 1)}: {', '.join(names)}"
    told.facts.append(("experiment", states))
    told.facts.append(
        ("particles", f"{total} found, {tracked} ({_percent(tracked, total)}) tracked through all states")
    )
    dropped = []
    for name, words in NOT_TRACKED.items():
        if name in table:
            count = int(table[name].any("state").sum())
            told.numbers[name] = count
            if count:
                dropped.append(f"{count} {words}")
    if dropped:
        told.facts.append(("not tracked", f"{total - tracked}, some for several reasons: {', '.join(dropped)}"))
    if tracked < FEW_PARTICLES:
        told.warnings.append(
            f"Only {tracked} particle{'s are' if tracked != 1 else ' is'} tracked: shares and averages are uncertain, "
            f"by {50 / np.sqrt(max(tracked, 1)):.0f} percentage points for a share near one half."
        )
    if total and tracked < FEW_SHARE * total:
        told.warnings.append(
            f"Only {_percent(tracked, total)} of the particles are tracked; those that are may not be typical of all."
        )


def _registered(told: Summary, store: xr.DataTree) -> None:
    if "transforms" not in store.children:
        return
    table = table_of(store, "transforms")
    residual = table.residual_voxels.values
    if store.attrs["recipe"].get("register", {}).get("transform") == "none":
        return
    if not residual.size or len(residual) < 2:
        return
    worst = int(np.argmax(np.where(np.isnan(residual), np.inf, residual)))
    told.numbers["largest_residual_voxels"] = float(residual[worst])
    name = state_names(table)[worst]
    told.facts.append(("registration", f"residuals of {residual[worst]:.3g} voxels or less, the largest at {name}"))


def _drift(told: Summary, histogram: xr.Dataset, *, warn: bool) -> None:
    """Tell how far the grey levels of background and particles move from state to state.

    Stores of before runs looked at their grey scales have no findings of them; there it warns.
    """
    first, names = float(histogram.background.values[0]), state_names(histogram)
    solid = float(histogram.attrs.get("solid", histogram.inside.values[0]))
    if not np.isfinite([first, solid]).all() or solid == first:
        return
    for what, column, limit, meaning in (
        (
            "background",
            "background",
            DRIFT,
            "If the solid drifts alike, a damage factor of this size means nothing",
        ),
        (
            "grey scale of the particles",
            "inside",
            SOLID_DRIFT,
            "Cracks darken some voxels and leave the commonest level; either all particles changed alike, or the grey "
            "scale of the scans did",
        ),
    ):
        level = histogram[column].values
        share = np.nan_to_num(np.abs(level - level[0]) / abs(solid - first))
        told.numbers[f"largest_{what.split()[0]}_drift"] = float(share.max())
        drifting = np.flatnonzero(share > limit)
        if warn and drifting.size:
            moved = ", ".join(f"{names[k]} ({level[k] - level[0]:+.1f} grey levels)" for k in drifting)
            told.warnings.append(
                f"Drifting {what}: {moved}, against {names[0]}; the largest is {share.max():.1%} of the contrast of "
                f'solid and background. {meaning}; normalise = "peaks" under [grey] takes a drift of the scans out.'
            )


def _charge(told: Summary, damage: xr.Dataset) -> str:
    damaged = analyse.damaged_on_charge(damage)
    told.numbers |= {
        "damaged_anywhere_on_charge": int(damaged.anywhere.sum()),
        "damaged_at_top_of_charge": int(damaged.at_top.sum()),
    }
    total, top = damaged.sizes["particle"], damaged.attrs["top"]
    reference = damage.attrs["reference"]
    change = analyse.changes(damage, since=reference).sel(state=top)
    sure = int((change.beyond_noise & (change.change > 0)).sum())
    told.numbers["damaged_at_top_beyond_noise"] = sure
    if sure < 0.1 * total:
        told.warnings.append(
            f"At {top} the damage of only {_percent(sure, total)} of the particles rose by more than noise; single "
            "particles, pies and paths tell little here, averages may still do."
        )
    at_top, anywhere = int(damaged.at_top.sum()), int(damaged.anywhere.sum())
    return (
        f"{at_top} of {total} ({_percent(at_top, total)}) more damaged at {top} than at {reference}, {sure} of them by "
        f"more than noise; {anywhere} ({_percent(anywhere, total)}) in at least one charged state"
    )


def _discharge(told: Summary, damage: xr.Dataset) -> str:
    healing = analyse.healed_on_discharge(damage)
    total, healed = healing.sizes["particle"], int(healing.healed.sum())
    top, last = healing.attrs["top"], healing.attrs["last"]
    change = analyse.changes(damage, since=top).sel(state=last)
    sure = int((change.beyond_noise & (change.change < 0)).sum())
    told.numbers |= {"healed_on_discharge": healed, "healed_beyond_noise": sure}
    return (
        f"{healed} of {total} ({_percent(healed, total)}) less damaged at {last} than at {top}, "
        f"{sure} of them by more than noise"
    )


def _path(told: Summary, damage: xr.Dataset) -> str:
    tree = analyse.paths(damage)
    first = analyse.ranking(tree).isel(path=0)
    name, count, total = str(first.path.values), int(first["count"]), tree.sizes["particle"]
    told.numbers |= {"commonest_path": name, "on_commonest_path": count, "in_tree": total}
    steps = " → ".join([str(tree.before.values[0]), *map(str, tree.after.values)])
    return f"{name} ({steps}), {count} of the {total} largest particles ({_percent(count, total)}); D damaged, H healed"


def _percent(part: Any, total: Any) -> str:
    """Return a share.

    >>> _percent(1, 3), _percent(0, 0)
    ('33%', '0%')
    """
    return f"{part / total if total else 0:.0%}"
