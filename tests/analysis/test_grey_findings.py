"""What a run tells of grey levels, from small runs that provoke it and from one that does not."""

from __future__ import annotations

import numpy as np
import pytest

import crackdask
from crackdask.analysis.findings import Finding, of_store
from tests.support.tiny import Tiny


def told(tiny: Tiny) -> list[Finding]:
    said = tiny.run()
    assert said.code == 0, said.err
    found = of_store(crackdask.open(tiny.store).attrs)
    return [each for each in found if each.code not in ("not-registered",)]


def altered(tiny: Tiny, gain: float, offset: float) -> None:
    """Give the second scan another grey scale."""
    voxels = gain * tiny.scan(1).astype(float) + offset
    tiny.write_slices(tiny.folder / "scans" / "b", np.rint(voxels).astype(np.uint16))


def test_scans_that_are_alike_keep_their_bits_and_nothing_is_told(tiny: Tiny) -> None:
    assert told(tiny) == []
    auto = tiny.contents(tiny.store)
    scales = crackdask.open(tiny.store).attrs["found"]["grey_scale"]
    assert [(scale["gain"], scale["offset"]) for scale in scales.values()] == [(1.0, 0.0)] * 2
    assert scales["pristine"]["solid_error"] == 0 < scales["4.2 V"]["solid_error"] < 2
    tiny.change("grey", normalise="none")
    assert told(tiny) == []
    left = tiny.contents(tiny.store)
    assert all(np.array_equal(left[name], values) for name, values in auto.items() if name != "transforms/matrix")


def test_a_drift_is_corrected_and_noted(tiny: Tiny) -> None:
    altered(tiny, 1.1, 150.0)
    (note,) = told(tiny)
    assert (note.code, note.state, note.kind.note) == ("grey-corrected", "4.2 V", True)
    assert note.figure == pytest.approx(0.225, abs=0.02)  # the solid went from 3000 to 3450, of a contrast of 2000
    tree = crackdask.open(tiny.store)
    scale = tree.attrs["found"]["grey_scale"]["4.2 V"]
    assert scale["gain"] == pytest.approx(1 / 1.1, abs=0.01)
    grey = tree["particles"].to_dataset().grey_p50.values
    assert np.abs(grey[1] - grey[0]).max() < 4  # of 254


def test_a_drift_that_is_left_is_told_once_and_counted_in_the_errors(tiny: Tiny) -> None:
    altered(tiny, 1.1, 150.0)
    tiny.change("grey", normalise="none", window=[500, 4000])
    (warning,) = told(tiny)
    assert (warning.code, warning.state, warning.kind.note) == ("grey-drift", "4.2 V", False)
    assert warning.figure == pytest.approx(0.225, abs=0.02)
    assert "+22" in warning.text
    scale = crackdask.open(tiny.store).attrs["found"]["grey_scale"]["4.2 V"]
    assert scale["solid_error"] == pytest.approx(scale["solid_shift"], rel=0.1)


def test_particles_that_darken_alike_are_told_of(tiny: Tiny) -> None:
    """Background and most of the solid stay where they are; the solid that is tracked does not."""
    voxels = tiny.scan(1).astype(float)
    tiny.write_slices(tiny.folder / "scans" / "b", np.where(voxels > 2000, voxels - 200, voxels).astype(np.uint16))
    tiny.change("grey", normalise="none")
    found = told(tiny)
    assert [each.code for each in found] == ["grey-drift"]
    assert found[0].figure == pytest.approx(0.1, abs=0.02)
