"""The recipe's section [reconstruct]: what of a scan's projections is used, and how slices are made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from crackdask.kernels.phase_retrieval import strength
from crackdask.shown import shown

#: Of a zinger: by this part a pixel is brighter than in the projections before and after.
USUAL_ZINGER = 0.2
#: No detector has more rows or columns, no scan more frames.
_MOST = 2**24
#: Where the axis is seen in the top and in the bottom row of the detector, or that it is searched for.
Axis = Literal["auto"] | tuple[float, float]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def _kept(value: Any) -> Any:
    """Check `angles`."""
    if value == "all":
        return value
    return _ends(value, '"all" or two angles in degrees')


def _ends(value: Any, wanted: str) -> tuple[float, float]:
    """Check two numbers, the lower one first."""
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(_is_number(end) for end in value):
        raise ValueError(f"should be {wanted}, [lowest, highest], not {shown(value)}")
    low, high = (float(end) for end in value)
    if not low < high:
        raise ValueError(f"[lowest, highest] needs lowest < highest, not {shown(value)}")
    return low, high


def _center(value: Any) -> Any:
    """Check `center`, whatever the number of states."""
    if value == "auto" or _is_number(value):
        return value
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f'should be "auto", a number of columns or a list of them, not {shown(value)}')
    entries = []
    for entry in value:
        pair = isinstance(entry, list | tuple) and len(entry) in (1, 2) and all(_is_number(part) for part in entry)
        if not (pair or entry == "auto" or _is_number(entry)):
            raise ValueError(f'should hold numbers, pairs [top, bottom] or "auto", one a state, not {shown(entry)}')
        entries.append(tuple(float(part) for part in entry) if pair else entry)
    return tuple(entries)


def _window(value: Any) -> Any:
    """Check `window`; None is what recipes of earlier versions, in their stores, have for "none"."""
    if value is None or value in ("auto", "none"):
        return value or "none"
    return _ends(value, '"auto", "none" or two attenuations per voxel edge')


def _rows(value: Any) -> Any:
    if value is None:
        return None
    whole = isinstance(value, list | tuple) and all(isinstance(row, int) and _is_number(row) for row in value)
    if not whole or len(value) != 2 or not 0 <= value[0] < value[1]:
        raise ValueError(f"should be two rows of the detector, [first, end), first < end, not {shown(value)}")
    return tuple(value)


def _angles_given(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, list | tuple) or len(value) < 2 or not all(_is_number(angle) for angle in value):
        raise ValueError(f'should be "auto", a path, or a list of two or more angles in degrees, not {shown(value)}')
    return tuple(float(angle) for angle in value)


def _paths(value: Any) -> Any:
    """Check `flats` and `darks`: one path, or two for before and after."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(p, str) and p for p in value):
        raise ValueError(f'should be "auto", "none", a path, or two paths, [before, after], not {shown(value)}')
    if {"auto", "none"}.intersection(value):
        raise ValueError(f"two paths name frames before and after the projections, not {shown(value)}")
    return tuple(value)


def _left_out(value: Any) -> Any:
    """Check `ignore_flats` and `ignore_darks`; single numbers become ranges."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"should list numbers and ranges [first, end), not {shown(value)}")  # noqa: TRY004
    ranges = []
    for entry in value:
        pair = (entry, entry + 1) if isinstance(entry, int) else entry
        whole = isinstance(pair, list | tuple) and all(isinstance(n, int) and _is_number(n) for n in pair)
        if not whole or len(pair) != 2 or not 0 <= pair[0] < pair[1]:
            raise ValueError(f"should hold numbers from 0 and ranges [first, end), not {shown(entry)}")
        ranges.append(tuple(pair))
    return tuple(ranges)


Ranges = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_left_out)]
Frames = Annotated[str | tuple[str, str], BeforeValidator(_paths)]


Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class PhaseParams(BaseModel):
    """Phase retrieval of a sample of one material (Paganin et al. 2002), behind which the detector stood some way off.

    >>> round(PhaseParams(delta_beta=100.0, energy_kev=20.0, distance_mm=130.0, pixel_um=0.325).weight, 1)
    23969.7
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    delta_beta: Positive = Field(description="delta / beta of the material at this energy")
    energy_kev: Positive = Field(description="energy of the beam, keV")
    distance_mm: Positive = Field(description="from the sample to the detector, mm")
    pixel_um: Positive = Field(description="of the detector, at the sample, um")

    @property
    def weight(self) -> float:
        """What the square of the frequency is weighed with."""
        return strength(self.delta_beta, self.energy_kev, self.distance_mm, self.pixel_um)


class ReconstructParams(BaseModel):
    """How slices are made of projections, in states whose source is projections.

    >>> ReconstructParams(angles=[30.0, 177.0]).angles
    (30.0, 177.0)
    >>> ReconstructParams(ignore_darks=[0, [5, 8]]).ignore_darks
    ((0, 1), (5, 8))
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    angles: Annotated[Literal["all"] | tuple[float, float], BeforeValidator(_kept)] = Field(
        "all", description="degrees that are kept, both ends included; the center is searched in all"
    )
    center: Annotated[float | Literal["auto"] | tuple[Any, ...], BeforeValidator(_center)] = Field(
        "auto",
        description="detector column at which the axis of rotation is seen (pixel i lies at i), for all states; "
        "[top, bottom] for all where the axis is tilted (first and last row of the whole detector); or a list of one "
        "entry a state, each a number, [top, bottom] or auto. With two states two bare numbers could be either and are "
        "refused: write [[a], [b]] for one a state",
    )
    below_180: bool = Field(
        False, description="believe an automatic center though the angles cover less than half a turn"
    )
    rings: Literal["column", "vo", "none"] = Field(
        "column", description="rings: one constant a column; Vo et al. (2018), all stripes; or left as they are"
    )
    filter: Literal["ramp", "hann"] = Field("ramp", description="of projections; hann: less noise, less sharp")
    padding: Literal["edge"] = Field(
        "edge", description="what lies beside the detector: its outermost columns, on and on"
    )
    zingers: bool | float = Field(
        True,
        description=f"mend pixels brighter by this part than just before and after; true: {USUAL_ZINGER}, false: none",
    )
    rows: Annotated[tuple[int, int] | None, BeforeValidator(_rows)] = Field(
        None, description="detector rows [first, end) that are reconstructed; all if not given"
    )
    phase: PhaseParams | None = Field(
        None, description="phase retrieval before the logarithm: delta_beta, energy_kev, distance_mm, pixel_um"
    )
    window: Annotated[Literal["auto", "none"] | tuple[float, float], BeforeValidator(_window)] = Field(
        "auto",
        description="attenuation per voxel edge, [lowest, highest], on which tomograms are kept as uint16, one for all "
        "states; auto: from the reference's histogram, and none where a state was a tomogram already or [grey] has a "
        "window, in attenuations; none: float32, of twice the size",
    )
    keep: Literal["float16", "float32"] | None = Field(
        None, description="keep the tomograms in the store, as real numbers of this size; not at all if not given"
    )
    data: str = Field("auto", min_length=1, description="frames: path in the file, or of another file or folder")
    image_key: str = Field(
        "auto",
        min_length=1,
        description="kind of each frame (0 projection, 1 flat, 2 dark, 3 not valid): path as above",
    )
    rotation_angle: Annotated[str | tuple[float, ...], BeforeValidator(_angles_given)] = Field(
        "auto",
        description="angle of each projection, or each frame: path as above (text file: one number a line), or a list "
        "in degrees; two numbers: of the first and last of evenly spaced projections",
    )
    flats: Frames = Field(
        "auto",
        description="frames without sample: path as above, or two, [before, after]; none: the frames are transmissions",
    )
    darks: Frames = Field(
        "auto", description="frames without beam, as flats; none: the detector counts zero in the dark"
    )
    ignore_flats: Ranges = Field(
        (), description="numbers and ranges [first, end) of flats left out, counted from 0 as recorded"
    )
    ignore_darks: Ranges = Field((), description="those of darks")

    @model_validator(mode="after")
    def _consistent(self) -> ReconstructParams:
        if not isinstance(self.zingers, bool) and not 0 < self.zingers < 100:
            raise ValueError(f"zingers should be true, false or a part of a pixel's value, not {self.zingers}")
        return self

    def deciding(self) -> dict[str, Any]:
        """Return what decides the result, as plain values; what came later is left out where it is not used."""
        unused = {name for name, value in (("window", "none"), ("phase", None)) if getattr(self, name) == value}
        return self.model_dump(mode="json", exclude={"keep", *unused})

    @property
    def stored(self) -> str:
        """Type of the voxels of a tomogram."""
        return "float32" if self.window == "none" else "uint16"

    @property
    def between(self) -> tuple[float, float] | None:
        """Lowest and highest angle that is kept; None for all."""
        return None if self.angles == "all" else self.angles

    @property
    def zinger(self) -> float:
        """By what part a zinger is brighter; 0 where none is looked for."""
        if isinstance(self.zingers, bool):
            return USUAL_ZINGER if self.zingers else 0.0
        return self.zingers

    def lists_centers(self, states: int) -> bool:
        """Tell whether `center` has one entry for each of some states.

        >>> [ReconstructParams(center=center).lists_centers(2) for center in (850.0, [[850.0], "auto"])]
        [False, True]
        """
        center = self.center
        return isinstance(center, tuple) and len(center) == states and not (len(center) == 2 and _are_bare(center))

    def axes(self, states: int) -> tuple[Axis, ...]:
        """Return for each state where its axis is seen in the first and last row of the detector, or "auto".

        >>> ReconstructParams(center=850.5).axes(2)
        ((850.5, 850.5), (850.5, 850.5))
        >>> ReconstructParams(center=[850.0, 851.0]).axes(1), ReconstructParams(center=[[850.0], "auto"]).axes(2)
        (((850.0, 851.0),), ((850.0, 850.0), 'auto'))

        Raises
        ------
        ValueError
            If `center` has neither one entry nor one for each state, or could mean two things.
        """
        center = self.center
        if not isinstance(center, tuple):
            return (_axis(center),) * states
        bare = len(center) == 2 and _are_bare(center)
        if bare and states != 2:
            return ((float(center[0]), float(center[1])),) * states
        if bare:
            a, b = center
            raise ValueError(
                f"[{a}, {b}] could be one center for each of the two states, or top and bottom of a tilted axis; write "
                f"[[{a}], [{b}]] for the first, [[{a}, {b}], [{a}, {b}]] for the other"
            )
        if len(center) != states:
            raise ValueError(
                f"has {len(center)} entries for {states} state{'s' * (states > 1)}; give one number, [top, bottom], or "
                "one entry a state"
            )
        return tuple(_axis(entry) for entry in center)


def _are_bare(center: tuple[Any, ...]) -> bool:
    return all(_is_number(entry) for entry in center)


def _axis(entry: Any) -> Axis:
    if entry == "auto":
        return "auto"
    return (float(entry[0]), float(entry[-1])) if isinstance(entry, tuple) else (float(entry), float(entry))
