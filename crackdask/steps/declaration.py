"""What a step declares of itself: plain data from which runs are planned, checked, resumed and accounted for.

The last lines of every step's file are its `STEP`. A new step is one file with such a declaration, its name in
`crackdask.schema.STEPS`, and what does it in `crackdask.engine.step_runners`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from crackdask.blocks.passes import Pass
from crackdask.grid import Triple

#: Facts of the experiment that may decide a step's result, beside the step's own section of the recipe.
Fact = Literal["voxel_um", "fill", "crop", "states"]
#: Facts that are known only when files were opened: the scan's fingerprint, the shape of the stored volume, the
#: fingerprint of the cycler's files.
Opened = Literal["source", "shape", "cycler"]
#: What the name of a labelling step is written as where another step needs "the labels, whichever step made them".
LABELLING = "labelling"


class Of(Enum):
    """The state whose result or volume a unit uses, seen from the unit's own state."""

    ITSELF = "itself"
    REFERENCE = "reference"
    BEFORE = "before"  #: the state that hands its labels on to this one
    ALL = "all"


class Stage(Enum):
    """In which part of a run a step is done, so that few large volumes lie on the disk at once."""

    SCANS = 1  #: scan by scan
    STATES = 2  #: then state by state, with all that was made of its grey levels
    TABLES = 3  #: then state by state, with what is kept of all of them
    WHOLE = 4  #: then once, for the whole experiment


@dataclass(frozen=True)
class Volume:
    """A volume that a step writes.

    Attributes
    ----------
    dtype
        As numpy writes it; None for the scan's own, or for what is no array of voxels.
    disk_bytes
        Of a voxel after compression, typical of noisy scans and of label volumes.
    kept
        In the store "always", or "on request" (`keep_intermediate`); "never" for what lies in the work folder and goes
        when nobody reads it any more.
    shaped
        As the "store", a whole "scan", the same in "slabs" as it is reconstructed, or the "frames" of a scan
        (projection, row, column).
    """

    dtype: str | None
    disk_bytes: float = 0.0
    kept: Literal["always", "on request", "never"] = "never"
    shaped: Literal["store", "scan", "slabs", "frames"] = "store"


@dataclass(frozen=True)
class Setting:
    """What may be known of an experiment when a step's passes are planned.

    Attributes
    ----------
    parameters
        The recipe's sections of steps, by name.
    voxel_um, fill
        Of the experiment.
    scan, dtype
        Shape and dtype of the scans.
    """

    parameters: Mapping[str, Any]
    voxel_um: tuple[float, float, float]
    fill: float | None
    scan: Triple
    dtype: np.dtype[Any]


def no_passes(setting: Setting) -> Sequence[Pass]:
    """Return the passes of a step that makes none over blocks."""
    return ()


def always(parameters: Mapping[str, Any], is_reference: bool) -> bool:
    """Tell that a step reads its volumes in every state."""
    return True


@dataclass(frozen=True)
class Step:
    """One step of the method.

    Attributes
    ----------
    name
        Of the step, its file and its units.
    stage
        In which part of a run it is done.
    parameters
        What checks its section of the recipe; None where it has none.
    version
        Raised when its code changes what it computes: old results of it no longer count.
    sections, facts, opened
        What decides its result: sections of the recipe, or one key of one ("section.key"); facts of the experiment,
        facts of the opened scans.
    states
        For which states it is done.
    asked
        Tells whether it is done at all, from the recipe's sections and whether the state is the reference.
    needs
        Steps whose tables it uses, of which state; those that would be itself are left out.
    reads, writes, internal
        Volumes: those that other units wrote, of which state; those that outlive the unit; those that only it reads.
    reads_in
        Tells whether it reads its volumes, from the recipe's sections and whether the state is the reference.
    needs_in
        Tells in the same way whether it uses tables of other units.
    aliases
        What its passes call volumes of another name.
    groups
        Groups of tables that it writes into the store.
    groups_if_any
        Those that it writes only where there is something to tell.
    passes
        Its passes over blocks, as far as they are known before a voxel is read.
    walks
        What its passes go over: blocks of the stored volume, slabs of the scan, or blocks of the scan.
    seconds_per_megavoxel
        On one core of a 2024 server (measured; see tests/benchmarks).
    seconds_per_state
        Where what it looks at is bounded, so that it takes the same for any volume; for every state but the reference.
    """

    name: str
    stage: Stage
    parameters: type[BaseModel] | None = None
    version: int = 1
    sections: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    opened: tuple[Opened, ...] = ()
    states: Literal["all", "reference", "others"] = "all"
    asked: Callable[[Mapping[str, Any], bool], bool] = always
    needs: tuple[tuple[str, Of], ...] = ()
    reads: tuple[tuple[str, Of], ...] = ()
    writes: Mapping[str, Volume] = field(default_factory=dict)
    internal: Mapping[str, Volume] = field(default_factory=dict)
    reads_in: Callable[[Mapping[str, Any], bool], bool] = always
    needs_in: Callable[[Mapping[str, Any], bool], bool] = always
    aliases: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    groups_if_any: tuple[str, ...] = ()
    passes: Callable[[Setting], Sequence[Pass]] = no_passes
    walks: Literal["blocks", "slabs", "scan"] = "blocks"
    seconds_per_megavoxel: float = 0.0
    seconds_per_state: float = 0.0
