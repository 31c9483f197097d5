"""What the cell did between the scans: the cycler's record, and the moment of it that each state belongs to.

The record is read and linked by :mod:`crackdask.sources.cycler` and :mod:`crackdask.analysis.state_links`; here stands
what the recipe may say of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from crackdask.clocks import zone_of
from crackdask.steps.declaration import Stage, Step


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class ElectrochemistryParams(BaseModel):
    """The recipe's section [electrochemistry]."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="files of the cycler: EC-Lab text (.mpt), CSV with units in its headings, .mpr"
    )
    columns: Mapping[Literal["time", "voltage", "current", "charge"], str] = Field(
        {}, description="headings, where they are not found by themselves; with a unit where the file tells none"
    )
    dates: Literal["auto", "month first", "day first"] = Field(
        "auto", description="how dates such as 03/04/2021 are read"
    )
    positive: Literal["charge", "discharge"] = Field("charge", description="what the cell does at a positive current")
    active_mass_mg: float | None = Field(
        None, gt=0, le=1e9, allow_inf_nan=False, description="active mass of the electrode, mg: capacities in mAh/g too"
    )
    tolerance: float = Field(
        0.05, gt=0, le=1000, allow_inf_nan=False, description="V by which a state's voltage may differ from the cell's"
    )
    rest_min: float = Field(
        10.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="minutes without current in which a scan may have been taken",
    )
    zone: str | None = Field(
        None,
        description="of the clocks of times that are told without an offset from UTC: 'Europe/Zurich', '+02:00', 'UTC'",
    )

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        zone_of(name)
        return name

    def deciding(self) -> dict[str, Any]:
        """Return the parameters that decide the result: a zone only where one is given."""
        return self.model_dump(mode="json", exclude={"zone"} if self.zone is None else None)


def is_asked(parameters: Mapping[str, Any], is_reference: bool) -> bool:
    """Tell whether the recipe names files of a cycler."""
    return is_reference and parameters["electrochemistry"] is not None


STEP = Step(
    name="electrochemistry",
    stage=Stage.WHOLE,
    parameters=ElectrochemistryParams,
    version=2,
    sections=("electrochemistry",),
    facts=("states",),
    opened=("cycler",),
    states="reference",
    asked=is_asked,
)
