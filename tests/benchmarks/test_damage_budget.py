"""Every variant of the error budget is an experiment that can be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import check

from .damage_budget import variants

VARIANTS = variants((12, 64, 64), 31)
SCANNED = {"segmentation", "motion", "noise"}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_run(name: str, tmp_path: Path) -> None:
    variant = VARIANTS[name]
    scans = Scans.of(check(variant.prepare(tmp_path)), tmp_path)
    assert [scans.projections(state) is None for state in range(3)] == [name in SCANNED] * 3
    assert scans.crop.shape == variant.box.shape
    params = scans.recipe.reconstruct
    assert (params is not None and params.window != "none") == (name == "levels")
    assert (params is not None and params.angles != "all") == name.startswith("angles")
