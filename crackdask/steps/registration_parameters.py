"""The recipe's section [register], and what is raised where two states cannot be brought onto each other."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RegistrationError(ValueError):
    """Two states could not be brought onto each other."""


class RegisterParams(BaseModel):
    """How the states are brought into the frame of the reference.

    >>> RegisterParams(blocks_per_axis=3).transform
    'auto'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    transform: Literal["auto", "rigid", "affine", "none"] = Field(
        "auto",
        description="rigid (3 angles, 3 shifts), affine (12 numbers) or none; auto: affine where rigid is not enough",
    )
    local: Literal["auto"] | bool = Field(
        "auto", description="follow what the transform leaves over, place by place; auto: where sub-blocks tell of it"
    )
    local_spacing: int = Field(
        40, ge=16, le=256, description="voxels between the places at which local motion is measured"
    )
    reference: str | None = Field(
        None,
        description="name of the state that the others are brought onto; the first if not given",
    )
    max_rotation_deg: float = Field(10.0, ge=0, le=45, description="largest rotation that is searched for and believed")
    max_shift: float = Field(
        0.2, gt=0, le=0.5, description="largest shift searched for, as a part of the field of view"
    )
    min_overlap: float = Field(
        0.4, gt=0, le=1, description="smallest part of the reference that the other scan must cover"
    )
    samples: int = Field(
        10_000, ge=1000, le=10**8, description="voxels of a pyramid level on which two scans are compared"
    )
    iterations: int = Field(100, ge=1, le=10**6, description="most steps on one pyramid level")
    seed: int = Field(1, ge=1, le=2**31 - 1, description="of the choice of samples")
    sub_block: int = Field(48, ge=16, le=128, description="edge of a full-resolution sub-block in voxels")
    blocks_per_axis: int = Field(3, ge=2, le=10, description="sub-blocks along each axis")
    search_voxels: int = Field(12, ge=2, le=64, description="how far off the pyramid may be, in full-resolution voxels")
    rounds: int = Field(3, ge=1, le=10, description="times that sub-blocks are matched and fitted")
    min_correlation: float = Field(0.3, gt=0, lt=1, description="sub-blocks that correlate less are not used")
    min_matched: float = Field(0.2, gt=0, le=1, description="smallest part of the sub-blocks that must agree")
    max_residual_voxels: float = Field(
        1.0, gt=0, le=1e6, description="registration has failed if sub-blocks are further off than this"
    )
    accept_failed: bool = Field(False, description="go on with a transform that failed its check")

    @property
    def first_transform(self) -> Literal["rigid", "affine", "none"]:
        """The transform that is tried first."""
        return "rigid" if self.transform == "auto" else self.transform

    @property
    def may_bend(self) -> bool:
        """Whether a field of displacements may be made."""
        return self.local is True or (self.local == "auto" and self.transform != "none")

    @model_validator(mode="after")
    def _consistent(self) -> RegisterParams:
        if self.transform == "affine" and self.blocks_per_axis**3 * self.min_matched < 4:
            raise ValueError(
                "an affine transform needs at least 4 matched sub-blocks, but blocks_per_axis = "
                f"{self.blocks_per_axis} and min_matched = {self.min_matched} ask for fewer; "
                "raise one of them"
            )
        return self
