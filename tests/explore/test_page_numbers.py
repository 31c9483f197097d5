"""Numbers of the page in a real browser: table, filters, charts, the cell, the report; it complains about nothing."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from crackdask.arrays import Array
from crackdask.figures import PANELS
from crackdask.report import markup
from tests.support.browser import Open, Watched
from tests.support.explored import Asker, served

if TYPE_CHECKING:
    from playwright.sync_api import Route


def test_a_particle_is_picked_in_the_table_and_found_in_the_picture(visit: Open, tree: xr.DataTree) -> None:
    words = "tab=table&labels=outline&sort=particles.equivalent_diameter_um"
    watched = visit(words)
    page = watched.page
    particles = tree["particles"].to_dataset().load()
    first, last = (particles[f"bbox_z{end}"].values[0] for end in "01")
    middle = int(str(page.locator("#view").get_attribute("data-shown")).split()[-1])
    there = particles.voxels.values[0] > 0
    cut, beside = there & (first <= middle) & (middle < last), there & ((first > middle) | (last <= middle))

    def click(wanted: Array) -> int:
        page.locator("#table tbody tr").first.wait_for()
        labels = [int(str(row.get_attribute("data-label"))) for row in page.locator("#table tbody tr").all()]
        label = next(label for label in reversed(labels) if wanted[label - 1])
        page.locator(f'#table tr[data-label="{label}"]').click()
        watched.shown("#particle", str(label))
        return label

    label = click(beside)  # than the slice: the picture goes to it
    watched.shown("#view", f"0 xy {(first[label - 1] + last[label - 1]) // 2}")
    page.keyboard.press("Escape")
    page.evaluate("words => { location.hash = words; }", words)
    watched.shown("#view", f"0 xy {middle}")
    label = click(cut)  # it is seen already
    page.wait_for_timeout(100)
    watched.shown("#view", f"0 xy {middle}")
    page.locator("#view").focus()
    page.keyboard.press("c")
    watched.shown("#view", f"0 xy {(first[label - 1] + last[label - 1]) // 2}")
    page.wait_for_timeout(300)
    assert "zoom=" in page.url  # it stands there large
    page.keyboard.press("p")
    before = int(str(page.locator("#table tr[aria-selected=true]").get_attribute("data-label")))
    page.locator(f'#table tr[data-label="{before}"][aria-selected=true]').wait_for()
    page.locator("#table input[type=number]").fill(str(label))
    page.locator("#table input[type=number]").press("Enter")
    page.locator(f'#table tr[data-label="{label}"][aria-selected=true]').wait_for()


def test_an_address_of_a_particle_alone_shows_it(visit: Open, tree: xr.DataTree) -> None:
    particles = tree["particles"].to_dataset().load()
    first, last = (particles[f"bbox_z{end}"].values[0] for end in "01")
    label = int(np.argmax(first)) + 1
    watched = visit(f"particle={label}")
    watched.shown("#view", f"0 xy {(first[label - 1] + last[label - 1]) // 2}")


def test_the_table_is_sorted_and_its_columns_chosen(visit: Open, asker: Asker, tree: xr.DataTree) -> None:
    watched = visit("tab=table&state=2")
    page = watched.page
    states = tree["volumes"].state.values
    page.get_by_text(f"In {states[2]}; changes since {states[1]}, below 0: healed.").wait_for()
    page.locator("#table th button", has_text="damage").first.click()
    count = asker.json("api/columns")["particles"]
    watched.shown("#table", f"2 damage.damage 1 0 {count}")
    values = asker.array("api/column", "float32", column="damage.damage", state=2)
    best = int(np.nanargmax(values))
    assert page.locator("#table tbody tr").first.get_attribute("data-label") == str(best)
    page.locator("#table th button", has_text="damage ▼").click()
    watched.shown("#table", f"2 damage.damage 0 0 {count}")
    assert page.locator("#table tbody tr").first.get_attribute("data-label") == str(int(np.nanargmin(values)))
    page.locator("details.columns summary").click()
    page.locator("details.columns label", has_text="sphericity").click()
    page.locator("#table th", has_text="sphericity").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("details.columns label").first.is_hidden()
    page.locator("#table input[type=number]").fill("99999")
    page.locator("#table input[type=number]").press("Enter")
    page.locator("#error", has_text="there is no particle 99999").wait_for()


def test_filters_hold_for_picture_table_and_file(visit: Open, asker: Asker, tree: xr.DataTree, tmp_path: Path) -> None:
    watched = visit("tab=table&colour=damage.damage&state=1")
    page = watched.page
    tracked = tree["particles"].to_dataset().tracked.values[0]
    everything = watched.picture()
    page.get_by_label("tracked", exact=True).check()
    page.get_by_text(f"{tracked.sum()} of {tracked.size} particles").wait_for()
    page.get_by_label("least diameter in µm").fill("4.5")
    page.get_by_label("least diameter in µm").press("Tab")
    diameter = tree["particles"].to_dataset().equivalent_diameter_um.values[1]
    kept = np.flatnonzero(tracked & (diameter >= 4.5)) + 1
    assert 0 < len(kept) < tracked.sum()
    page.get_by_text(f"{len(kept)} of {tracked.size} particles").wait_for()
    page.locator("#rows", has_text=f"of {len(kept)}").wait_for()
    assert not np.array_equal(watched.picture(), everything)  # those that are left out have lost their colour
    rows = list(csv.DictReader(io.StringIO(watched.saved("#save", tmp_path))))
    assert sorted({int(row["particle"]) for row in rows}) == kept.tolist()
    page.locator(".chip", has_text="diameter").click()
    page.get_by_text(f"{tracked.sum()} of {tracked.size} particles").wait_for()
    page.get_by_role("button", name="clear").click()
    page.get_by_text(f"{tracked.size} of {tracked.size} particles").wait_for()


def test_any_column_makes_a_filter(visit: Open, tree: xr.DataTree) -> None:
    watched = visit()
    page = watched.page
    assert page.get_by_label("significant change", exact=True).is_disabled()  # the first state has no change
    page.get_by_label("column of a further filter").select_option("particles.sphericity")
    page.get_by_label("from, for the further filter").fill("0.9")
    page.get_by_role("button", name="add filter").click()
    round_ones = (tree["particles"].to_dataset().sphericity.values[0].astype("f4") >= np.float32(0.9)).sum()
    page.locator("#count", has_text=f"{round_ones} of").wait_for()
    assert "sphericity" in str(page.locator(".chip").text_content())


def test_charts_are_drawn_and_brushed(visit: Open, asker: Asker, tmp_path: Path) -> None:
    watched = visit('tab=charts&where=[["particles.tracked",0,1,1]]&histogram=particles.equivalent_diameter_um')
    page = watched.page
    count = int(asker("api/chosen", where=[["particles.tracked", 0, 1, 1]]).headers["X-Count"])
    watched.shown("#charts", f"0 {count} 0")
    text = watched.saved("#charts figure >> nth=0 >> text=save CSV", tmp_path)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["particles"]) for row in rows) == count
    assert "median" in str(page.locator(".quantiles").text_content())
    page.get_by_text("deciles", exact=True).click()
    page.get_by_text("Means in deciles of").wait_for()
    plot = page.locator("#charts .chart").first
    box = plot.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 3, y, steps=4)
    page.mouse.up()
    page.locator("#count", has_text="of them marked in a chart").wait_for()
    chip = str(page.locator(".chip.brush").text_content())
    assert chip.startswith("diameter (µm)")
    page.locator("#view").focus()
    page.keyboard.press("Escape")
    page.locator(".chip.brush").wait_for(state="detached")
    points = list(csv.DictReader(io.StringIO(watched.saved("#charts figure >> nth=1 >> text=save CSV", tmp_path))))
    assert len(points) == count
    page.get_by_role("button", name="clear").click()
    watched.shown("#charts", f"0 {asker.json('api/columns')['particles']} 0")
    means = list(csv.DictReader(io.StringIO(watched.saved("#charts figure >> nth=2 >> text=save CSV", tmp_path))))
    groups = [int(row["particles"]) for row in means if row["state"] == means[0]["state"]]
    assert sum(groups) == count, "of those that are not tracked there is no damage"
    assert max(groups) - min(groups) <= 1, "groups are equal among those that have both values"
    page.get_by_text("the tree needs").wait_for()  # the states of this store are not the paper's, and it says so


def held_back(watched: Watched, address: str) -> list[Route]:
    """Keep requests from being answered; return them as they come."""
    kept: list[Route] = []
    watched.page.route(address, lambda route: kept.append(route))
    return kept


def wait_for_one(watched: Watched, kept: list[Route]) -> Route:
    for _ in range(200):
        if kept:
            break
        watched.page.wait_for_timeout(25)
    (route,) = kept
    return route


def test_numbers_that_come_late_are_not_drawn_over_those_of_now(visit: Open, asker: Asker, tmp_path: Path) -> None:
    watched = visit("tab=table&histogram=particles.sphericity")
    page = watched.page
    route = held_back(watched, "**/api/column?column=particles.sphericity&state=0")
    page.locator("#tabs button", has_text="charts").click()
    late = wait_for_one(watched, route)
    page.locator("#states button").nth(1).click()
    page.wait_for_timeout(300)
    late.continue_()
    count = asker.json("api/columns")["particles"]
    watched.shown("#charts", f"1 {count} 0")
    page.wait_for_timeout(300)
    rows = list(csv.DictReader(io.StringIO(watched.saved("#charts figure >> nth=0 >> text=save CSV", tmp_path))))
    states = [asker.array("api/column", "float32", column="particles.sphericity", state=state) for state in (0, 1)]
    assert np.nanmin(states[0]) != np.nanmin(states[1])
    assert float(rows[0]["particles.sphericity_from"]) == pytest.approx(float(np.nanmin(states[1])))


def test_pictures_that_come_late_are_not_those_of_the_picked_particle(visit: Open, told: Asker) -> None:
    watched = visit("tab=particle")
    page = watched.page
    pixels = "() => [...document.querySelectorAll('.film canvas')].map(each => each.toDataURL()).join()"
    route = held_back(watched, "**/api/strip?label=1&*")
    page.evaluate("location.hash = '#particle=1'")
    late = wait_for_one(watched, route)
    page.evaluate("location.hash = '#particle=2'")
    watched.shown("#filmstrip", "2 xy")
    seen = page.evaluate(pixels)
    late.continue_()
    page.wait_for_timeout(300)
    page.locator("#states button").nth(1).click()  # they are drawn anew
    watched.ready()
    assert page.evaluate(pixels) == seen
    # What was chosen before is written into the address a moment later: here just after another one was given.
    page.evaluate("location.hash = '#particle=3'; history.replaceState(null, '', '#particle=2')")
    watched.shown("#filmstrip", "3 xy")


def test_the_cell_stands_beside_its_particles(visit: Open, told: Asker, tmp_path: Path) -> None:
    record = told.json("api/cell")
    watched = visit("tab=cell&state=1&particle=1", to=told)
    page = watched.page
    watched.shown("#cell", "time 1 1")
    page.get_by_text("is linked to no moment of the record: no rest fits").wait_for()
    saved = list(csv.DictReader(io.StringIO(watched.saved("#cell figure >> nth=0 >> text=save CSV", tmp_path))))
    assert [float(row["voltage_v"]) for row in saved] == record["voltage"]
    page.get_by_text("over charge", exact=True).click()
    watched.shown("#cell", "charge 1 1")
    rows = list(csv.DictReader(io.StringIO(watched.saved("#cell figure >> nth=1 >> text=save CSV", tmp_path))))
    damage = told.json("api/particle", label=1, columns="damage.damage")["columns"]["damage.damage"]
    assert [row["damage"] and float(row["damage"]) for row in rows] == ["" if v is None else v for v in damage]
    assert float(rows[1]["charge_mAh_per_g"]) == record["states"][1]["charge"]
    assert page.get_by_role("link", name="report").is_hidden()


def test_what_the_run_found_is_told(visit: Open, told: Asker) -> None:
    assert visit().page.locator("#findings").is_hidden()
    page = visit(to=told).page
    page.get_by_role("button", name="1 warning, 1 note").click()
    words = page.locator("#told").inner_text()
    assert "Rings about the axis of the scan: 4.2 V (2.0%). " in words
    assert (
        words.index("Rings")
        < words.index("Seen, and taken care of")
        < words.index("More than two phases: <b>three</b>")
    )
    page.get_by_role("button", name="close").click()
    assert page.locator("#told").is_hidden()


def test_the_report_leads_to_its_particles(visit: Open, told_store: Path, tmp_path: Path) -> None:
    panel = PANELS[0]
    part = markup.section(panel, b'<svg xmlns="http://www.w3.org/2000/svg"/>', "particle=15&tab=table", "told.zarr")
    page = markup.page("a report", [], ["a warning"], ["a note"], {panel: part}, {}, "0", "")
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    with served(told_store, report=tmp_path) as held:
        watched = visit(to=Asker(held))
        with watched.page.context.expect_page() as opened:
            watched.page.get_by_role("link", name="report").click()
        shown = opened.value
        shown.get_by_role("link", name="Warnings (1)").click()
        assert shown.get_by_text("crackdask explore told.zarr").is_hidden()
        shown.get_by_role("link", name="Open particle 15 in the explorer").click()
        shown.locator('#particle[data-shown="15"]').wait_for(state="attached")
        assert shown.locator("#tabs [aria-selected=true]").text_content() == "table"
        watched.page.context.close()
