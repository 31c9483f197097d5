"""The recipe: one TOML file to frozen parameters, every complaint with its key before a voxel is read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from crackdask.denoise import DenoiseParams
from crackdask.grey import GreyParams
from crackdask.labels import LabelsParams
from crackdask.mask import MaskParams
from crackdask.measure import MeasureParams
from crackdask.plan import Triple
from crackdask.register import RegisterParams
from crackdask.transfer import TransferParams

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)
_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


class RecipeError(ValueError):
    """The recipe is wrong; the message lists every complaint with its key."""


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _cube(value: Any) -> Any:
    return (value,) * 3 if isinstance(value, int | float) and not isinstance(value, bool) else _listed(value)


def _nbytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", value)
    if not match or match[2].lower() not in _UNITS:
        raise ValueError(f"a size such as '2 GiB' or '800 MB', not {value!r}")
    return int(float(match[1]) * _UNITS[match[2].lower()])


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Lengths = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_cube)]
Edge = Annotated[int, Field(ge=1)]
Cube = Annotated[tuple[Edge, Edge, Edge], BeforeValidator(_cube)]
Range = Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]], BeforeValidator(_listed)]


class Experiment(BaseModel):
    """What was scanned."""

    model_config = STRICT

    name: str = Field(min_length=1, description="name of the experiment")
    voxel_um: Lengths = Field(description="edge of a voxel, um, one number or [z, y, x]")
    fill: float | None = Field(None, description="raw value of voxels outside the measured field")


class State(BaseModel):
    """One scan and the electrochemical state it was taken in."""

    model_config = STRICT

    name: str = Field(min_length=1, description="unique name")
    source: str = Field(min_length=1, description="folder of TIFF slices, .tif, .h5::/path, .zarr, .npy")
    voltage: float = Field(description="V vs Li/Li+")
    step: Literal["pristine", "charge", "discharge", "aged"] = Field(description="part of the cycle")
    cycle: int = Field(0, ge=0, description="number of the cycle")


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

    block: Literal["auto"] | Cube = Field("auto", description="voxels of a block, or auto: by memory")
    chunk: Cube = Field((64, 64, 64), description="voxels of a chunk in the store")
    shard: Cube | None = Field(None, description="voxels of a shard (a file of several chunks), or none")
    memory: Annotated[int, BeforeValidator(_nbytes)] = Field(
        2 * 2**30, ge=2**20, description="memory of one worker, such as '2 GiB'"
    )
    compression: Literal["zstd", "lz4", "none"] = Field("zstd", description="codec of the volumes")
    level: int = Field(3, ge=1, le=9, description="compression level")
    keep_intermediate: bool = Field(False, description="keep denoised and mask in the store")
    retries: int = Field(2, ge=0, le=10, description="further tries for a block that fails")

    @model_validator(mode="after")
    def _aligned(self) -> Compute:
        unit = self.shard or self.chunk
        if any(s % c for s, c in zip(unit, self.chunk, strict=True)):
            raise ValueError(f"shard {list(unit)} must be a multiple of chunk {list(self.chunk)}")
        if self.block != "auto" and any(b % u for b, u in zip(self.block, unit, strict=True)):
            what = "shard" if self.shard else "chunk"
            raise ValueError(
                f"block {list(self.block)} must be a multiple of {what} {list(unit)}: a {what} has one writer"
            )
        return self


class Recipe(BaseModel):
    """A whole experiment: what was scanned, in which states, and how it is processed."""

    model_config = STRICT

    experiment: Experiment
    states: Annotated[tuple[State, ...], BeforeValidator(_listed)] = Field(min_length=1)
    crop: Crop = Crop()
    register_: RegisterParams = Field(RegisterParams(), alias="register")
    grey: GreyParams = GreyParams()
    denoise: DenoiseParams = DenoiseParams()
    mask: MaskParams = MaskParams()
    labels: LabelsParams = LabelsParams()
    transfer: TransferParams = TransferParams()
    measure: MeasureParams = MeasureParams()
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [state.name for state in self.states]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"states: two states of the same name: {', '.join(map(repr, twice))}")
        wanted = self.register_.reference
        if wanted is not None and wanted not in names:
            raise ValueError(f"register.reference: no state is named {wanted!r}; there are {', '.join(names)}")
        return self

    @property
    def reference(self) -> int:
        """Number of the state that all others are registered to."""
        names = [state.name for state in self.states]
        return names.index(self.register_.reference) if self.register_.reference else 0

    def crop_of(self, shape: Triple) -> tuple[tuple[int, int], ...]:
        """Return the kept range along each axis of a scan, or say what does not fit."""
        limits = [found or (0, n) for found, n in zip((self.crop.z, self.crop.y, self.crop.x), shape, strict=True)]
        for axis, (first, end), n in zip("zyx", limits, shape, strict=True):
            if end > n:
                raise RecipeError(
                    f"crop.{axis}: [{first}, {end}] reaches outside the scan, which has {n} voxels along {axis}; "
                    f"end the range at {n} or leave it out"
                )
        return tuple(limits)

    def as_dict(self) -> dict[str, Any]:
        """Return the resolved recipe as plain values."""
        return self.model_dump(mode="json", by_alias=True)


def load(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    RecipeError
        With one line for each complaint: its key, what was found and what was wanted.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe {path}; `crackdask init SCAN... -o {path}` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error}") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from None
    return check(content, where=str(path))


def check(content: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Turn the content of a recipe into frozen parameters, or list everything that is wrong with it."""
    try:
        return Recipe.model_validate(dict(content))
    except ValidationError as error:
        lines = list(dict.fromkeys(_complaints(error)))
        count = f"{len(lines)} mistake{'s' * (len(lines) > 1)}"
        raise RecipeError("\n".join([f"{where}: {count}", *(f"  {line}" for line in lines)])) from None


def _complaints(error: ValidationError) -> Iterable[str]:
    for found in error.errors(include_url=False):
        key = _key(found["loc"])
        kind, said = found["type"], found["msg"].removeprefix("Value error, ")
        if kind == "extra_forbidden":
            yield f"{key}: unknown key; {_known(found['loc'])}"
        elif kind == "missing":
            yield f"{key}: missing"
        elif kind == "value_error":
            yield f"{key}: {said}" if key else said
        else:
            yield f"{key}: {said[0].lower()}{said[1:]}, found {found['input']!r}"


def _key(path: tuple[int | str, ...]) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[a-z_]+", part):
            text += f".{part}" if text else part
    return text


def _known(path: tuple[int | str, ...]) -> str:
    """Name the keys that are known where an unknown one was found."""
    model: type[BaseModel] = Recipe
    for part in path[:-1]:
        if isinstance(part, int):
            continue
        for name, field in model.model_fields.items():
            if (field.alias or name) == part:
                model = State if part == "states" else _model(field.annotation)
    names = [field.alias or name for name, field in model.model_fields.items()]
    return f"known here: {', '.join(names)}"


def _model(annotation: Any) -> type[BaseModel]:
    assert isinstance(annotation, type)
    assert issubclass(annotation, BaseModel)
    return annotation
