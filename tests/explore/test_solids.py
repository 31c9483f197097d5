"""The solid of a particle in the explorer: its box, its cracks, its bounded size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask.cracks import cracks_of
from crackdask.explore import one_particle
from crackdask.explore.columns import Columns
from crackdask.explore.explored import Explored
from crackdask.explore.report_files import WrittenReport
from crackdask.explore.tables import Tables
from tests.support.explored import Asker


def test_a_solid_is_the_box_of_the_particle(asker: Asker, tree: xr.DataTree) -> None:
    label = int(np.argmax(tree["particles"].to_dataset().voxels.values[0])) + 1
    volumes = tree["volumes"].to_dataset().load()
    boxes = []
    for state in range(volumes.sizes["state"]):
        answer = asker("api/solid", label=label, state=state)
        assert answer.code == 200
        assert answer.headers["X-Step"] == "1"
        shape, first = ([int(n) for n in answer.headers[name].split(",")] for name in ("X-Shape", "X-First"))
        box = tuple(slice(a, a + n) for a, n in zip(first, shape, strict=True))
        grey, own = (
            np.frombuffer(part, np.uint8).reshape(shape) for part in np.split(np.frombuffer(answer.body, "u1"), 2)
        )
        np.testing.assert_array_equal(grey, volumes.grey.values[state][box])
        np.testing.assert_array_equal(own, volumes.label.values[state][box] == label)
        assert own.sum() == (volumes.label.values[state] == label).sum() > 0  # none of it is left out
        boxes.append(box)
    assert boxes == boxes[:1] * len(boxes)


def test_a_solid_of_any_size_is_bounded(asker: Asker, whole_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = Explored(whole_store, WrittenReport(whole_store)).view
    label = int(np.argmax(view.columns.array("particles/voxels")[0])) + 1
    fine = one_particle.solid(view, label, 0)
    for most in (11, 7, 3, 1):
        monkeypatch.setattr(one_particle, "SOLID", most + 1)
        told = one_particle.solid(view, label, 0)
        assert max(told["grey"].shape) <= most + 1 < max(fine["grey"].shape)
        assert told["own"].shape == told["grey"].shape
        assert told["step"] > 1
        assert (told["first"] <= fine["first"]).all()


def test_cracks_of_a_solid_are_those_of_the_table(told: Asker, told_store: Path) -> None:
    store = crackdask.open(told_store)
    table = store["cracks"].to_dataset().load()
    label = int(table.skeleton_voxels.values[1].argmax()) + 1
    for state, name in enumerate(table.state.values):
        answer = told("api/solid", label=label, state=state)
        shape, first = ([int(n) for n in answer.headers[word].split(",")] for word in ("X-Shape", "X-First"))
        parts = np.frombuffer(answer.body, "u1").reshape(-1, *shape)
        assert len(parts) == (3 if table.computed[state] else 2)  # those of the first state were not measured
        if not np.isfinite(table.solid_grey[state, label - 1]):
            assert not parts[2:].any()  # it is absent, too
            continue
        true = cracks_of(store, label, str(name))
        wanted = np.where(true.skeleton, 2, true.crack.astype(np.uint8))
        edges = [
            float(true[axis][0]) / um - 0.5 for axis, um in zip("zyx", store.attrs["identity"]["voxel_um"], strict=True)
        ]
        box = tuple(slice(round(a) - b, round(a) - b + n) for a, b, n in zip(edges, first, wanted.shape, strict=True))
        np.testing.assert_array_equal(parts[2][box], wanted)
        assert np.count_nonzero(parts[2]) == int(table.crack_voxels[state, label - 1])
        assert np.count_nonzero(parts[2] == 2) == int(table.skeleton_voxels[state, label - 1])
    assert int(table.skeleton_voxels[1, label - 1]) > 3


def test_cracks_of_before_a_rerun_are_not_told(told_store: Path) -> None:
    view = Explored(told_store, WrittenReport(told_store)).view
    stale = Tables(told_store, {**view.facts, "steps": {}}, view.planes.array)
    for tables, there in ((view.columns.tables, True), (stale, False)):
        assert (tables.cracked() is not None) is there
        assert ("cracks.crack_voxels" in Columns(tables, view.analysed).known) is there


@pytest.mark.parametrize(
    "words", [{}, {"label": 0, "state": 0}, {"label": 1, "state": 3}, {"label": 10**9, "state": 0}]
)
def test_a_solid_of_nothing_is_refused(asker: Asker, words: dict[str, Any]) -> None:
    assert asker("api/solid", **words).code == 400
