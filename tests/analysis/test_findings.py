"""What a run found that its user should know: one list from the steps to every screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crackdask.analysis.findings import (
    KINDS,
    Finding,
    as_attribute,
    of_registration,
    of_store,
    of_window,
    packed,
    sentences,
    unpacked,
)
from crackdask.analysis.reconstruction_findings import of_agreement, of_center, of_levels, of_notes, of_pixels
from crackdask.analysis.sharpness_findings import of_sharpness
from crackdask.report.page import report
from tests.support.tiny import Tiny


def test_a_finding_goes_through_a_result_and_a_store_as_it_was() -> None:
    found = [Finding("clipped", "é", 0.25, 0.01, "25%"), Finding("not-registered", None, 2, 1, "both")]
    assert unpacked(packed(found)) == found
    assert of_store(json.loads(json.dumps({"findings": as_attribute(found)}))) == found
    assert of_store({}) == []


def test_a_code_that_nobody_knows_is_refused_and_one_of_a_newer_version_passed_over() -> None:
    with pytest.raises(ValueError, match=r"no finding has the code .odd.; there are .*clipped"):
        Finding("odd", None, 1, 0, "")
    newer = {"code": "odd", "state": None, "figure": 1, "limit": 0, "text": ""}
    assert of_store({"findings": [newer]}) == []


def test_every_kind_reads_as_a_title_and_a_way_out() -> None:
    for code, kind in KINDS.items():
        (said,) = sentences([Finding(code, "4.2 V", 1, 0, "so much")])
        assert said == said.strip()
        assert said.endswith(".")
        assert not said.endswith("..")
        assert f"{kind.title[1:]}: 4.2 V (so much). " in said


def test_states_of_one_code_share_a_sentence() -> None:
    found = of_window({"a": [0.02, 0.0], "b": [0.0, 0.001], "c": [0.0, 0.03]})
    assert [each.state for each in found] == ["a", "c"]
    (said,) = sentences(found)
    assert said.startswith("Voxels beyond the grey window: a (2.0%), c (3.0%). Differences there are lost;")


def test_residuals_tell_the_states_that_lie_badly() -> None:
    assert of_registration(["a", "b"], [0.0, 0.4], "rigid") == []
    (found,) = of_registration(["a", "b", "c"], [0.0, float("nan"), 0.1], "rigid")
    assert (found.code, found.state) == ("poor-registration", "b")
    (found,) = of_registration(["a", "b"], [0.0, 0.0], "none")
    assert (found.code, found.state) == ("not-registered", None)
    assert of_registration(["a"], [0.0], "none") == []


def test_edges_tell_the_states_that_are_blurrier() -> None:
    names, widths = ["a", "b", "c"], [0.7, 0.99, float("nan")]
    assert of_sharpness(names, widths, [0.0, 0.0, 0.0], 0.4, [False] * 3, [5.0, 8.0]) == []
    seen = "edges 0.99 voxels wide instead of 0.70, as after a blur of 0.70, limit 0.4"
    for done, code, shares in ((True, "sharpness-matched", (97, 99)), (False, "sharpness", (81, 92))):
        (found,) = of_sharpness(names, widths, [0.0, 0.7, 0.0], 0.4, [False, done, False], [5.0, 8.0])
        assert (found.code, found.state, found.figure, found.limit) == (code, "b", 0.7, 0.4)
        told = f"about {shares[0]}% at a radius of 5.0 voxels, {shares[1]}% at a radius of 8.0 voxels is found"
        assert found.text == f"{seen}; of a change of damage {told}"
        assert found.kind.note == done
        (bare,) = of_sharpness(names, widths, [0.0, 0.7, 0.0], 0.4, [False, done, False], [])
        assert bare.text == seen


def test_states_that_were_matched_are_all_as_blurry_as_the_blurriest() -> None:
    told = of_sharpness(["a", "b", "c"], [0.7, 0.9, 1.2], [0.0, 0.57, 0.97], 0.4, [False, True, True], [5.0])
    first, second = (each.text.split("; ")[1] for each in told)
    assert first == second


def test_flawed_pixels_tell_where_they_matter() -> None:
    sound = dict.fromkeys(("saturated", "starved", "zingers", "missing", "dead", "stuck", "lost"), 0)
    assert of_pixels("a", sound | {"saturated": 100, "starved": 10, "dead": 1}, (100, 10, 10)) == []
    found = of_pixels("a", sound | {"saturated": 101, "starved": 11, "dead": 1, "stuck": 1}, (100, 10, 10))
    assert [(each.code, each.figure) for each in found] == [
        ("saturated-pixels", 0.0101), ("starved-pixels", 0.0011), ("lost-columns", 0.02),
    ]  # fmt: skip
    assert found[2].text == "2.00% of the columns of all rows: dead, stuck, or mostly full, limit 1.0%"


def test_a_window_tells_what_it_cuts_off() -> None:
    assert of_levels("a", 1, (10, 10, 10)) == []
    (found,) = of_levels("a", 2, (10, 10, 10))
    assert (found.code, found.state, found.figure, found.limit) == ("beyond-window", "a", 0.002, 0.001)
    assert found.text == "0.20% of the voxels, limit 0.1%"


def test_projections_tell_what_was_missing_and_a_center_of_one_method() -> None:
    assert of_notes("a", []) == []
    (note,) = of_notes("a", ["found no darks"])
    assert (note.code, note.state, note.text, note.kind.note) == ("projection-notes", "a", "found no darks", True)
    assert of_center("a", (30.0, 177.0))[0].text == "147.0 of 180 degrees"


def test_centers_of_two_methods_are_told_once_they_are_apart() -> None:
    assert of_agreement("a", 640.0, 640.25) == of_agreement("a", 640.0, 639.75) == []
    (found,) = of_agreement("a", 640.0, 639.7)
    assert (found.code, found.state) == ("centers-apart", "a")
    assert found.figure == pytest.approx(0.3)
    assert found.text == "640.00 by reconstructions, 639.70 by opposite views, limit 0.25 apart"


def test_findings_of_a_run_are_shown_by_run_status_and_report(tiny: Tiny, tmp_path: Path) -> None:
    tiny.change("grey", window=[1500, 2500])  # every voxel lies beyond it
    said = tiny.run()
    assert said.code == 0, said.err
    wanted = "Voxels beyond the grey window: pristine ("
    assert wanted in said.out
    assert wanted in tiny.crackdask("status", tiny.store).out
    told = json.loads(tiny.crackdask("status", tiny.store, "--json").out)["findings"]
    assert {each["state"] for each in told if each["code"] == "clipped"} == {"pristine", "4.2 V"}
    page = report(tiny.store, tmp_path / "report").page.read_text()
    assert page.index(wanted) < page.index("<figure")
    tiny.change("grey", window="auto")
    assert "Voxels beyond the grey window" not in tiny.run().out
