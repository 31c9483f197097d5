"""Columns, conditions, rows and files that the server answers with are those of the tables and of the analysis."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import xarray as xr

from crackdask import analyse
from tests.support.explored import Asker


def test_columns_stand_at_their_labels(asker: Asker, tree: xr.DataTree) -> None:
    particles = tree["particles"].to_dataset().load()
    damage = analyse.damage(tree)
    change = analyse.changes(damage).change
    for state in range(particles.sizes["state"]):
        mean = asker.array("api/column", "float32", column="particles.grey_mean", state=state)
        there = particles.voxels.values[state] > 0
        np.testing.assert_array_equal(mean[1:], np.where(there, particles.grey_mean.values[state], np.nan).astype("f4"))
        assert np.isnan(mean[0])
        for key, table, first in (("damage.damage", damage.damage, 0), ("changes.change", change, 1)):
            found = asker.array("api/column", "float32", column=key, state=state)
            rows = table.particle.values
            assert 1 < len(rows) < len(found) - 1  # some are not tracked
            wanted = table.values[state - first] if state >= first else np.full(len(rows), np.nan)
            np.testing.assert_array_equal(found[rows], wanted.astype("f4"))
            assert np.isnan(np.delete(found, rows)).all()


def test_changes_are_told_since_any_state(asker: Asker, tree: xr.DataTree) -> None:
    damage = analyse.damage(tree)
    names = damage.state.values.tolist()
    for since, name in enumerate(names):
        wanted = analyse.changes(damage, since=name)
        for state in range(len(names)):
            for key in ("change", "standard_error", "z", "significant"):
                found = asker.array("api/column", "float32", column=f"changes.{key}@{since}", state=state)[
                    damage.particle.values
                ]
                if state == since:
                    assert np.isnan(found).all()
                    continue
                np.testing.assert_allclose(found, wanted[key].sel(state=names[state]).values, rtol=1e-5, atol=1e-7)
    assert (wanted.significant.values == 1).any()
    label = int(damage.particle.values[0])
    told = asker.json("api/particle", label=label, columns="changes.change@2")["columns"]["changes.change@2"]
    np.testing.assert_allclose(
        told[:2], analyse.changes(damage, since=names[2]).change.sel(particle=label).values, rtol=1e-5
    )
    kept = np.frombuffer(asker("api/chosen", where=[["changes.change@2", 0, None, 0]]).body, np.uint8)
    assert kept.sum() == (analyse.changes(damage, since=names[2]).change.values[0] <= 0).sum()
    assert "changes.change@2" not in {each["key"] for each in asker.json("api/columns")["columns"]}


def test_every_column_that_is_listed_is_there(asker: Asker) -> None:
    told = asker.json("api/columns")
    assert {"damage.damage", "changes.significant", "particles.tracked"} <= {each["key"] for each in told["columns"]}
    for column in told["columns"]:
        answer = asker("api/column", column=column["key"], state=1)
        if answer.code == 409:  # the paper's states are not among those of this store
            assert column["key"] == "paths.path_number"
            assert b"4.4" in answer.body
            continue
        assert len(answer.body) == 4 * (told["particles"] + 1), column["key"]


def test_conditions_choose_what_lies_within_their_limits(asker: Asker, tree: xr.DataTree) -> None:
    particles = tree["particles"].to_dataset().load()
    diameter = particles.equivalent_diameter_um.values[1]
    low, high = np.nanquantile(diameter, [0.3, 0.8])
    where = [["particles.equivalent_diameter_um", 1, low, high], ["particles.tracked", 0, 1, None]]
    answer = asker("api/chosen", where=where)
    marks = np.frombuffer(answer.body, np.uint8)
    single = diameter.astype("f4")
    wanted = (single >= np.float32(low)) & (single <= np.float32(high)) & particles.tracked.values[0]
    assert 0 < wanted.sum() < len(wanted)
    np.testing.assert_array_equal(marks[1:], wanted)
    assert marks[0] == 0
    assert int(answer.headers["X-Count"]) == wanted.sum()


def test_rows_are_sorted_and_paged(asker: Asker, tree: xr.DataTree) -> None:
    damage = asker.array("api/column", "float32", column="damage.damage", state=2)
    count = len(damage) - 1
    for descending in (0, 1):
        words = {"state": 2, "sort": "damage.damage", "descending": descending, "columns": "damage.damage", "count": 5}
        pages = [asker.json("api/rows", first=first, **words) for first in range(0, count, 5)]
        labels = [label for page in pages for label in page["labels"]]
        assert sorted(labels) == list(range(1, count + 1))
        values = [value for page in pages for value in page["columns"]["damage.damage"]]
        np.testing.assert_array_equal(np.array(values, float), damage[labels])
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=bool(descending))
        assert values[len(known) :] == [None] * (count - len(known))  # those without a value come last
        assert {page["count"] for page in pages} == {count}
        last = labels[-1]
        assert last in asker.json("api/rows", label=last, **words)["labels"]


def test_the_selection_is_saved_as_csv(asker: Asker) -> None:
    where = [["particles.tracked", 0, 1, 1]]
    table = pd.read_csv(io.BytesIO(asker("api/selection.csv", where=where).body))
    chosen = np.flatnonzero(np.frombuffer(asker("api/chosen", where=where).body, np.uint8))
    assert len(chosen) > 1
    names = [state["name"] for state in asker.json("api/layout")["states"]]
    for number, name in enumerate(names):
        mine = table[table.state == name]
        assert mine.particle.tolist() == chosen.tolist()
        for key in ("damage.damage", "particles.grey_mean"):
            column = asker.array("api/column", "float32", column=key, state=number)
            np.testing.assert_allclose(mine[key], column[chosen], rtol=1e-6)
    keys = ["damage.damage", "changes.z@2"]
    part = pd.read_csv(io.BytesIO(asker("api/selection.csv", where=where, state=1, columns=",".join(keys)).body))
    assert part.columns.tolist() == ["particle", "state", *keys]
    assert part.particle.tolist() == chosen.tolist()
    assert set(part.state) == {names[1]}
