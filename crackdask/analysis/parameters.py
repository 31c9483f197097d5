"""Parameters of the analysis: the section [analyse] of the recipe, which every function may change by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from crackdask.schema import GREY_LEVELS


class AnalysisError(ValueError):
    """The tables cannot answer what was asked; the message says what was found and the way out."""


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Limit = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


Level = Annotated[float, Field(ge=0, lt=GREY_LEVELS)]


class AnalyseParams(BaseModel):
    """Parameters of the analysis; none of them changes a table of the store."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reference: str | None = Field(None, description="state that others are compared with; none: the first pristine one")
    rim_shells: int = Field(3, ge=0, le=1000, description="outer shells lit by phase contrast")
    damage: str = Field("excess_void", min_length=1, description="definition of the damage factor")
    void_grey: Literal["auto"] | Level = Field("auto", description="grey level of a void; auto: the background's peak")
    noise: Literal["auto"] | Level = Field("auto", description="noise of a voxel, grey levels; auto: as measured")
    noise_correlation: float = Field(
        0.0, ge=0, le=20, description="blur that would give white noise the scan's correlation, sigma in voxels"
    )
    crack_threshold: float = Field(
        0.2, gt=0, lt=1, description="void fraction from which a voxel of the core counts as crack"
    )
    scale_error: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        "auto", description="share of a damage that blur and phase contrast may hide or add; auto: as measured"
    )
    class_limits: Annotated[tuple[Limit, Limit], BeforeValidator(_tuple)] = Field(
        (0.03, 0.08), description="damage factors from which damage is moderate and high"
    )
    significance: float = Field(
        2.0, gt=0, le=1e6, allow_inf_nan=False, description="a change counts from this many errors"
    )
    path_states: Annotated[tuple[str, ...], BeforeValidator(_tuple)] | None = Field(
        None, description="states of the tree of paths; none: pristine, 4.2 V, 4.4 V, 4.2 V DC, 2.5 V DC"
    )
    largest: float = Field(0.5, gt=0, le=1, description="share of the particles, by radius, in the tree of paths")

    @field_validator("class_limits")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] < limits[1]:
            raise ValueError(f"the limits of moderate and high must rise, not {limits[0]:g} and {limits[1]:g}")
        return limits

    @field_validator("path_states")
    @classmethod
    def _several(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (len(names) < 2 or len(set(names)) < len(names)):
            raise ValueError(f"two or more different states are needed, not {list(names)}")
        return names


class Attributed(Protocol):
    """What has the attributes of a store, or of what the analysis made of one."""

    @property
    def attrs(self) -> Mapping[Any, Any]:
        """They."""


def params_of(store: Attributed, changes: Mapping[str, Any]) -> AnalyseParams:
    """Return the recipe's parameters of the analysis, some of them changed."""
    text = store.attrs.get("analyse")
    known = json.loads(text) if text else store.attrs.get("recipe", {}).get("analyse", {})
    try:
        return AnalyseParams.model_validate({**known, **changes})
    except ValidationError as error:
        wrong = [
            f"{complaint['loc'][0]}: {complaint['msg'].removeprefix('Value error, ')}" for complaint in error.errors()
        ]
        known_names = ", ".join(AnalyseParams.model_fields)
        raise AnalysisError(f"{'; '.join(wrong)} (parameters are {known_names})") from None
