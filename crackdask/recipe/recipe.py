"""The recipe: one TOML file to frozen parameters, every complaint with its key before a voxel is read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from unicodedata import category

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from crackdask.analysis.parameters import AnalyseParams
from crackdask.grid import Triple
from crackdask.recipe.complaints import complaints, refusal
from crackdask.recipe.contradictions import contradictions, wrong_centers
from crackdask.recipe.site import ClusterParams, Site, nbytes
from crackdask.schema import STEPS
from crackdask.shown import shown
from crackdask.sources.completeness import Missing
from crackdask.steps.denoise import DenoiseParams
from crackdask.steps.electrochemistry import ElectrochemistryParams
from crackdask.steps.grey import GreyParams
from crackdask.steps.labels import LabelsParams
from crackdask.steps.mask import MaskParams
from crackdask.steps.measure import MeasureParams
from crackdask.steps.reconstruct_parameters import ReconstructParams
from crackdask.steps.registration_parameters import RegisterParams
from crackdask.steps.transfer import TransferParams
from crackdask.storage.locations import no_file

#: Of a state, in bytes of UTF-8: disks take 255, and what is written of a state adds to it.
LONGEST_NAME = 200
#: What turns the direction of the text that follows; names that are written from right to left need none of it.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: What a state's source may be said to be.
Kind = Literal["auto", "projections", "tomogram"]
STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


class RecipeError(ValueError):
    """The recipe is wrong; the message lists every complaint with its key."""


def _tables(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"one table for each state, headed [[states]], not {shown(value)}")  # noqa: TRY004
    return tuple(value)


def _visible(name: str) -> str:
    """Refuse what tables and screens would not show but obey: line ends, commands to a terminal, turns of the text."""
    for letter in name:
        if category(letter) == "Cc" or letter in _TURNING:
            raise ValueError(f"should have letters that can be seen, found {letter!a} in {name[:40]!a}")
    return name


def _cube(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,) * 3
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"one number or three, [z, y, x], not {shown(value)}")
    return tuple(value)


def _pair(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"two numbers, [first, end], not {shown(value)}")
    return tuple(value)


def _moment(value: Any) -> Any:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise ValueError(f"a date and a time, such as 2026-03-01T14:30:00, not {shown(value)}") from None
    return moment


#: From a picometre to a metre: what is outside is a mistake of units, and squares and products stay numbers.
Length = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Lengths = Annotated[tuple[Length, Length, Length], BeforeValidator(_cube)]
Edge = Annotated[int, Field(ge=1, le=2**20)]
Cube = Annotated[tuple[Edge, Edge, Edge], BeforeValidator(_cube)]
First = Annotated[int, Field(ge=0, le=2**31)]
End = Annotated[int, Field(ge=1, le=2**31)]
Range = Annotated[tuple[First, End], BeforeValidator(_pair)]


class Experiment(BaseModel):
    """What was scanned."""

    model_config = STRICT

    name: str = Field(min_length=1, description="name of the experiment")
    voxel_um: Lengths = Field(description="edge of a voxel, um, one number or [z, y, x]")
    fill: float | None = Field(None, description="raw value of voxels outside the measured field")

    @field_validator("name")
    @classmethod
    def _nameable(cls, name: str) -> str:
        return _visible(name)

    @field_validator("voxel_um")
    @classmethod
    def _alike(cls, edges: tuple[float, float, float]) -> tuple[float, float, float]:
        if max(edges) > 1000 * min(edges):
            raise ValueError(f"edges that differ by more than a factor of 1000, {list(edges)}, are not of one scan")
        return edges


class ScannedState(BaseModel):
    """One scan and the electrochemical state it was taken in."""

    model_config = STRICT

    name: str = Field(min_length=1, description="unique name")
    source: str = Field(
        min_length=1,
        description="folder of TIFF slices, .tif, .h5::/path, .zarr, .npy; or projections: NXtomo, DXchange, frames",
    )
    voltage: float = Field(ge=-1000, le=1000, allow_inf_nan=False, description="V vs Li/Li+")
    step: Literal["pristine", "charge", "discharge", "aged"] = Field(description="part of the cycle")
    cycle: int = Field(0, ge=0, le=1_000_000, description="number of the cycle")
    missing: Missing = Field("refuse", description="what chunks are that an HDF5 or Zarr source lacks")
    kind: Kind = Field("auto", description="what the source is: projections or a tomogram; auto: as its headers say")
    time: Annotated[datetime | None, BeforeValidator(_moment)] = Field(
        None, description="when it was scanned, such as 2026-03-01T14:30:00+01:00; without an offset, by local clocks"
    )

    @field_validator("name")
    @classmethod
    def _nameable(cls, name: str) -> str:
        _visible(name)
        size = len(name.encode())
        if size > LONGEST_NAME:
            raise ValueError(f"at most {LONGEST_NAME} bytes, for files are named by it, not {size}: {shown(name)}")
        return name


class Crop(BaseModel):
    """Voxel ranges [first, end) of the reference scan that are kept."""

    model_config = STRICT

    z: Range | None = None
    y: Range | None = None
    x: Range | None = None

    @field_validator("z", "y", "x")
    @classmethod
    def _ordered(cls, limits: tuple[int, int] | None) -> tuple[int, int] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"a crop needs first < end, not [{limits[0]}, {limits[1]}]")
        return limits


class Compute(BaseModel):
    """How the work is cut and kept; nothing here changes a single bit of the result."""

    model_config = STRICT

    chunk: Cube = Field((64, 64, 64), description="voxels of a chunk in the store")
    shard: Cube | None = Field(
        None,
        description="voxels of a shard (a file of several chunks); by default none below 4 Gvoxel, from there on 256^3",
    )
    block: Literal["auto"] | Cube = Field("auto", description="voxels of a block, or auto: by memory")
    memory: Annotated[int, BeforeValidator(nbytes)] = Field(
        2 * 2**30, description="memory of one worker, such as '2 GiB'"
    )
    compression: Literal["zstd", "lz4", "none"] = Field("zstd", description="codec of the volumes")
    level: int = Field(1, ge=1, le=9, description="compression level")
    keep_intermediate: bool = Field(False, description="keep denoised and mask in the store")
    retries: int = Field(2, ge=0, le=10, description="further tries for a block that fails")

    @field_validator("shard")
    @classmethod
    def _of_chunks(cls, shard: Triple | None, others: ValidationInfo) -> Triple | None:
        chunk = others.data.get("chunk")
        if shard and chunk and any(s % c for s, c in zip(shard, chunk, strict=True)):
            raise ValueError(f"shard {list(shard)} must be a multiple of chunk {list(chunk)}")
        return shard

    @field_validator("block")
    @classmethod
    def _of_whole_files(cls, block: str | Triple, others: ValidationInfo) -> str | Triple:
        shard, chunk = others.data.get("shard"), others.data.get("chunk")
        what, unit = ("shard", shard) if shard else ("chunk", chunk)
        if not isinstance(block, str) and unit and any(b % u for b, u in zip(block, unit, strict=True)):
            raise ValueError(f"block {list(block)} must be a multiple of {what} {list(unit)}: a {what} has one writer")
        return block


class Recipe(BaseModel):
    """A whole experiment: what was scanned, in which states, and how it is processed."""

    model_config = STRICT

    experiment: Experiment
    states: Annotated[tuple[ScannedState, ...], BeforeValidator(_tables)] = Field(min_length=1)
    crop: Crop = Crop()
    reconstruct: ReconstructParams | None = None
    register_: RegisterParams = Field(RegisterParams(), alias="register")
    grey: GreyParams = GreyParams()
    denoise: DenoiseParams = DenoiseParams()
    mask: MaskParams = MaskParams()
    labels: LabelsParams = LabelsParams()
    transfer: TransferParams = TransferParams()
    measure: MeasureParams = MeasureParams()
    electrochemistry: ElectrochemistryParams | None = None
    analyse: AnalyseParams = AnalyseParams()
    compute: Compute = Compute()
    cluster: ClusterParams = ClusterParams()

    @property
    def reference(self) -> int:
        """Number of the state that all others are registered to."""
        names = [state.name for state in self.states]
        return names.index(self.register_.reference) if self.register_.reference else 0

    def sections(self) -> dict[str, Any]:
        """Return the parameters of the steps, by the names of their sections."""
        fields = type(self).model_fields.items()
        return {field.alias or name: getattr(self, name) for name, field in fields if (field.alias or name) in STEPS}

    def crop_of(self, shape: Triple) -> tuple[tuple[int, int], ...]:
        """Return the kept range along each axis of a scan, or say what does not fit."""
        limits = [kept or (0, n) for kept, n in zip((self.crop.z, self.crop.y, self.crop.x), shape, strict=True)]
        for axis, (first, end), n in zip("zyx", limits, shape, strict=True):
            if end > n:
                raise RecipeError(
                    f"crop.{axis}: [{first}, {end}] reaches outside the scan, which has {n} voxels along {axis}; "
                    f"end the range at {n} or leave it out"
                )
        return tuple(limits)

    def as_dict(self) -> dict[str, Any]:
        """Return the resolved recipe as plain values; where it ran is not part of it."""
        content = self.model_dump(mode="json", by_alias=True, exclude={"cluster"})
        for section in ("reconstruct", "electrochemistry"):
            if content[section] is None:
                del content[section]
        for state in content["states"]:
            for key, usual in (("missing", "refuse"), ("kind", "auto"), ("time", None)):
                if state[key] == usual:  # so it was before there was a choice
                    del state[key]
        return content


def load(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    RecipeError
        With one line for each complaint: its key, what was found and what was wanted.
    """
    return check(written(path), where=str(path))


def written(path: Path) -> dict[str, Any]:
    """Return what a recipe's file says, whether that is right or not.

    Raises
    ------
    RecipeError
        If it cannot be read.
    """
    return _read(path, "recipe", "`crackdask init SCAN... -o {path}` writes one")


def load_site(path: Path | None, recipe: ClusterParams, **options: Any) -> Site:
    """Return what a run asks of a cluster: the recipe's section, over it a site's file, over both the options given.

    Raises
    ------
    RecipeError
        With one line for each complaint about the file or an option.
    """
    content = _read(path, "file", "name one with --cluster-config") if path else {}
    if set(content) == {"cluster"} and isinstance(content["cluster"], dict):
        content = content["cluster"]  # headed as in a recipe
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Site.model_validate({**recipe.model_dump(exclude_unset=True), **content, **given})
    except ValidationError as error:
        raise RecipeError(refusal(str(path) if path else "options", complaints(error, Site))) from None


def _read(path: Path, what: str, hint: str) -> dict[str, Any]:
    """Return the content of a TOML file."""
    if found := no_file(path):
        raise RecipeError(f"{path} is {found}, wanted a file; write the {what} into one")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"there is no {what} {path}; {hint.format(path=path)}") from None
    except IsADirectoryError:
        raise RecipeError(f"{path} is a folder; name the {what} in it, such as {path / f'{what}.toml'}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path} cannot be read: it is not UTF-8 text; a {what} is a TOML file") from None
    except OSError as error:
        raise RecipeError(f"the {what} {path} cannot be read: {error.strerror or error}") from None
    try:
        content = tomllib.loads(text)
        repr(content)  # what is wrong with it will have to be shown
    except RecursionError:
        raise RecipeError(f"{path} is nested too deep: no {what} has more than a few brackets in one another") from None
    except ValueError as error:  # of TOML, or a number of thousands of digits
        raise RecipeError(f"{path} is not valid TOML: {error}") from None
    return content


def check(content: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Turn the content of a recipe into frozen parameters, or list everything that is wrong with it."""
    lines = []
    try:
        recipe = Recipe.model_validate(dict(content))
    except ValidationError as error:
        lines += complaints(error, Recipe)
    else:
        lines += wrong_centers(recipe.reconstruct, len(recipe.states))
    lines += contradictions(content)
    if lines:
        raise RecipeError(refusal(where, lines))
    return recipe
