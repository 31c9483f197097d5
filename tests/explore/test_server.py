"""What the server answers is what the store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import crackdask
from crackdask import analyse, schema
from crackdask.analysis.findings import Finding, as_attribute
from crackdask.explore import field
from crackdask.explore.cell import few_rows
from crackdask.explore.handlers import ANSWERS
from crackdask.explore.planes import PLANES, TILE
from tests.support.explored import Asker, served
from tests.support.store_files import copied
from tests.support.tiny import Tiny


def test_the_layout_is_that_of_the_store(asker: Asker, tree: xr.DataTree) -> None:
    told = asker.json("api/layout")
    volumes = tree["volumes"].to_dataset()
    assert [state["name"] for state in told["states"]] == volumes.state.values.tolist()
    assert [state["voltage"] for state in told["states"]] == volumes.voltage.values.tolist()
    assert told["shape"] == [volumes.sizes[axis] for axis in "zyx"]
    assert told["voxel_um"] == tree.attrs["recipe"]["experiment"]["voxel_um"]
    assert told["volumes"] == {"grey": "uint8", "label": "uint32", "denoised": "uint8", "mask": "bool"}
    assert told["complete"]
    assert not any("/" in str(value) for value in told.values())  # no path of this machine


@pytest.mark.parametrize("plane", PLANES)
def test_a_tile_is_a_plane_of_the_volume(asker: Asker, tree: xr.DataTree, plane: str) -> None:
    volumes = tree["volumes"].to_dataset()
    for volume in ("grey", "label"):
        values = volumes[volume].values
        index = values.shape[1 + PLANES[plane]] // 2
        wanted = values[1].take(index, PLANES[plane])
        assert len(np.unique(wanted)) > 3
        found = asker.array(
            "api/tile", str(values.dtype), volume=volume, state=1, plane=plane, index=index, level=0, row=0, column=0
        )
        np.testing.assert_array_equal(found, wanted[:TILE, :TILE])


@pytest.mark.parametrize("plane", PLANES)
def test_both_volumes_come_in_one_answer(asker: Asker, tree: xr.DataTree, plane: str) -> None:
    volumes = tree["volumes"].to_dataset()
    grey, label = (volumes[name].values.take(7, 1 + PLANES[plane])[2] for name in ("grey", "label"))
    words: dict[str, Any] = {"state": 2, "plane": plane, "index": 7, "level": 0, "row": 0, "column": 0}
    answer = asker("api/tile", volume="both", **words)
    count = int(answer.headers["X-Runs"])
    labels, lengths = np.frombuffer(answer.body, "<u4", 2 * count).reshape(2, count)
    assert 3 < count < label.size / 4
    np.testing.assert_array_equal(np.repeat(labels, lengths).reshape(label.shape), label)
    np.testing.assert_array_equal(np.frombuffer(answer.body[8 * count :], "u1").reshape(grey.shape), grey)
    assert answer.headers["X-Shape"] == ",".join(map(str, grey.shape))


def test_a_voxel_is_that_of_the_store(asker: Asker, tree: xr.DataTree) -> None:
    volumes = tree["volumes"].to_dataset()
    labels = volumes.label.values
    state, z, y, x = (int(k[-1]) for k in np.nonzero(labels))
    assert asker.json("api/voxel", state=state, z=z, y=y, x=x) == {
        "grey": int(volumes.grey.values[state, z, y, x]),
        "label": int(labels[state, z, y, x]),
    }


def test_one_particle_is_told_in_every_state(asker: Asker, tree: xr.DataTree) -> None:
    particles, shells = (tree[name].to_dataset().load() for name in ("particles", "shells"))
    label = int(np.argmax(particles.tracked.values[0] * particles.voxels.values[0])) + 1
    told = asker.json("api/particle", label=label, columns="damage.damage,particles.grey_mean,particles.tracked")
    one, rings = particles.sel(particle=label), shells.sel(particle=label)
    np.testing.assert_allclose(told["columns"]["particles.grey_mean"], one.grey_mean.values)
    assert told["columns"]["particles.tracked"] == [1.0] * 3
    np.testing.assert_allclose(
        told["columns"]["damage.damage"], analyse.damage(tree).damage.sel(particle=label).values, rtol=1e-6
    )
    for state, profile in enumerate(told["profile"]):
        depth = int((rings.voxels.values[state] > 0).sum())
        means = rings.grey_sum.values[state, :depth] / rings.voxels.values[state, :depth]
        np.testing.assert_allclose([value for value in profile if value is not None], means)
        for axis, (low, high) in zip("zyx", told["boxes"][state], strict=True):
            assert (low, high) == (int(one[f"bbox_{axis}0"][state]), int(one[f"bbox_{axis}1"][state]))


def test_why_a_particle_is_not_tracked_is_told(asker: Asker, tree: xr.DataTree) -> None:
    particles = tree["particles"].to_dataset().load()
    tracked = int(np.argmax(particles.tracked.values[0])) + 1
    assert asker.json("api/particle", label=tracked)["dropped"] == []
    for name, words in schema.NOT_TRACKED.items():
        for label in np.flatnonzero(particles[name].values.any(axis=0))[:1] + 1:
            assert words in asker.json("api/particle", label=int(label))["dropped"]
    assert particles.on_border.values.any()


def test_what_the_run_found_is_told(whole_store: Path, tmp_path: Path) -> None:
    store = copied(whole_store, tmp_path / "warned.zarr")
    root = zarr.open_group(store, mode="r+")
    found = [Finding("rings", "4.2 V", 0.02, 0.01, "2.0%"), Finding("three-phases", "", 3, 2, "3 phases")]
    root.attrs["findings"] = as_attribute(found)
    with served(store) as held:
        (warning,) = Asker(held).json("api/layout")["warnings"]  # the other is but a note
    assert warning["states"] == ["4.2 V"]
    assert "Rings about the axis of the scan: 4.2 V (2.0%)" in warning["words"]


def test_a_particle_that_is_lost_has_no_box(asker: Asker, tree: xr.DataTree) -> None:
    voxels = tree["particles"].to_dataset().voxels.values
    state, row = (int(k[0]) for k in np.nonzero(voxels == 0))
    told = asker.json("api/particle", label=row + 1, columns="particles.voxels,particles.grey_mean")
    assert told["boxes"][state] is None
    assert told["columns"]["particles.voxels"][state] == 0
    assert told["columns"]["particles.grey_mean"][state] is None


@pytest.mark.parametrize("plane", PLANES)
def test_a_strip_shows_the_same_box_in_every_state(asker: Asker, tree: xr.DataTree, plane: str) -> None:
    particles = tree["particles"].to_dataset().load()
    label = int(np.argmax(particles.voxels.values[0])) + 1
    answer = asker("api/strip", label=label, plane=plane)
    states, rows, columns = (int(n) for n in answer.headers["X-Shape"].split(","))
    row, column = (int(n) for n in answer.headers["X-First"].split(","))
    assert answer.headers["X-Step"] == "1"
    volumes = tree["volumes"].to_dataset()
    pixels = states * rows * columns
    for volume, data in (("grey", answer.body[:pixels]), ("label", answer.body[pixels:])):
        values = volumes[volume].values
        cut = values.take(int(answer.headers["X-Index"]), 1 + PLANES[plane])[
            :, row : row + rows, column : column + columns
        ]
        np.testing.assert_array_equal(np.frombuffer(data, cut.dtype).reshape(cut.shape), cut)
    assert (cut == label).any(axis=(1, 2)).all()


def test_the_whole_field_is_every_so_many_voxels(
    asker: Asker, tree: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tree["volumes"].to_dataset().label.values
    np.testing.assert_array_equal(asker.array("api/field", "uint32", state=1), labels[1])
    monkeypatch.setattr(field, "MOST", labels[0].size - 1)
    found = asker("api/field", state=2)
    assert found.headers["X-Step"] == "2"
    wanted = labels[2, ::2, ::2, ::2]
    np.testing.assert_array_equal(np.frombuffer(found.body, "<u4").reshape(wanted.shape), wanted)
    monkeypatch.setattr(field, "_DECODED", 10)
    refused = asker("api/field", state=2)
    assert (refused.code, b"no level that is coarse enough" in refused.body) == (409, True)


@pytest.mark.parametrize("path", ["tile", "strip", "solid", "field", "cell"])
def test_pictures_do_not_wait_for_the_analysis(path: str) -> None:
    assert not ANSWERS[path].slow  # type: ignore[attr-defined]


def test_the_record_of_the_cell_is_told(told: Asker, told_store: Path, asker: Asker) -> None:
    record = analyse.cell_record(crackdask.open(told_store))
    found = told.json("api/cell")
    rows = few_rows(record.cell_voltage.values)
    assert 100 < len(rows) == len(found["hours"])
    np.testing.assert_allclose(found["hours"], record.time.values[rows] / 3600)
    np.testing.assert_allclose(found["charge"], record.specific_charge.values[rows])
    assert (found["unit"], found["start"]) == ("mAh/g", "2026-03-14 08:00")
    assert [state["reason"] for state in found["states"]] == ["a rest", "a rest", "no rest fits"]
    assert found["states"][2]["begin"] is None
    np.testing.assert_allclose(found["states"][1]["charge"], 100 * float(record.scan_charge[1]))
    assert told.json("api/columns")["cell"]
    assert not asker.json("api/columns")["cell"]
    refused = asker("api/cell")
    assert (refused.code, b"no record of the cell" in refused.body) == (409, True)


@pytest.mark.parametrize(
    ("path", "words", "said"),
    [
        ("tile", {"volume": "raw", "plane": "xy"}, "volume is one of"),
        ("tile", {"volume": "grey", "plane": "../x"}, "plane is one of: xy, xz, yz"),
        ("tile", {"volume": "grey", "plane": "xy", "level": 99}, "level goes from 0 to 1"),
        ("column", {"column": "particles.nothing", "state": 0}, "column is one of"),
        ("column", {"column": "particles.voxels", "state": 3}, "state goes from 0 to 2"),
        ("column", {"column": "particles.voxels", "state": "x"}, "state is a whole number"),
        ("particle", {"label": 0}, "label goes from 1 to"),
        ("particle", {"label": 1, "columns": "nope"}, "there is no column 'nope'"),
        ("chosen", {"where": "[[1]]"}, "conditions are a JSON list"),
        ("chosen", {"where": '[["nope", 0, 1, 2]]'}, "there is no column 'nope'"),
        ("chosen", {"where": '[["particles.voxels", 7, 1, 2]]'}, "there is no state 7"),
        ("chosen", {"where": "{"}, "conditions are a JSON list"),
        ("rows", {"state": 0, "sort": "label", "count": 501}, "count goes from 1 to 500"),
        ("selection.csv", {"where": "["}, "conditions are a JSON list"),
    ],
)  # fmt: skip
def test_questions_that_make_no_sense_are_refused(asker: Asker, path: str, words: dict[str, Any], said: str) -> None:
    answer = asker(f"api/{path}", **words)
    assert answer.code == 400
    assert said in answer.body.decode()


def test_a_store_on_its_way_shows_what_is_done(tiny: Tiny) -> None:
    assert tiny.run("--until", "mask").code == 0
    with served(tiny.store) as held:
        ask = Asker(held)
        told = ask.json("api/layout")
        assert not told["complete"]
        assert {"grey-0", "grey-1"} <= set(told["done"])
        words = {"plane": "xy", "index": 10, "level": 0, "row": 0, "column": 0, "state": 1}
        assert ask.array("api/tile", "uint8", volume="grey", **words).max() > 100
        assert not ask.array("api/tile", "uint32", volume="label", **words).any()  # nothing of it is made yet
        answer = ask("api/columns")
        assert answer.code == 409
        assert b"tables are made at its end" in answer.body


def test_a_damaged_chunk_is_said_and_not_shown_as_background(ran: Tiny) -> None:
    for file in (ran.store / "volumes" / "grey" / "c" / "1").rglob("*"):
        if file.is_file():
            file.unlink()
    with served(ran.store) as held:
        words: dict[str, Any] = {"plane": "xy", "index": 10, "level": 0, "row": 0, "column": 0, "volume": "grey"}
        assert Asker(held)("api/tile", state=0, **words).code == 200
        answer = Asker(held)("api/tile", state=1, **words)
        assert answer.code == 409
        assert b"it is not there" in answer.body


def test_the_report_is_shown_once_it_is_written(whole_store: Path, tmp_path: Path) -> None:
    with served(whole_store, report=tmp_path / "report") as held:
        ask = Asker(held)
        assert not ask.json("api/layout")["report"]
        missing = ask("report/")
        assert (missing.code, missing.body) == (404, b"there is no report yet: `crackdask report STORE` writes it\n")
        (tmp_path / "report" / "figures").mkdir(parents=True)
        (tmp_path / "report" / "report.html").write_text('<!DOCTYPE html>\n<html lang="en">\n<p>told</p>')
        (tmp_path / "report" / "figures" / "2c_pies.csv").write_text("a,b\n")
        (tmp_path / "report" / "figures" / "notes.txt").write_text("secret")
        (tmp_path / "report" / "figures" / "link.csv").symlink_to("/etc/passwd")
        assert ask.json("api/layout")["report"]
        page = ask("report/")
        assert b'<html lang="en" class="served">' in page.body
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert ask("report/figures/2c_pies.csv").body == b"a,b\n"
        for name in ("figures/notes.txt", "figures/link.csv", "figures/", "report.html", "..", "../report/report.html",
                     "figures/../report.html", "%2e%2e/report/report.html"):  # fmt: skip
            answer = ask(f"report/{name}")
            assert answer.code in (400, 404), name
            assert b"told" not in answer.body
        assert Asker(held, token="wrong")("report/").code == 403


def test_a_store_that_changes_is_opened_anew(ran: Tiny) -> None:
    with served(ran.store) as held:
        ask = Asker(held)
        before = ask.json("api/layout")["stamp"]
        ran.change("analyse", significance=3.0)
        assert ran.run().code == 0
        import time

        time.sleep(0.6)
        assert ask.json("api/layout")["stamp"] != before


def test_nothing_is_written(whole_store: Path) -> None:
    def stamps() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in whole_store.parent.rglob("*")
            if path.is_file()
        }

    before = stamps()
    with served(whole_store) as held:
        ask = Asker(held)
        for name in ("layout", "columns", "selection.csv"):
            assert ask(f"api/{name}").code == 200
    assert stamps() == before
