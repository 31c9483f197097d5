"""The page on a field of many chunks, linked to few: levels, hundreds of labels, five states, a tree of paths."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.full_field import make
from tests.support.browser import Open
from tests.support.explored import Asker, served
from tests.support.shared import made_once
from tests.support.tiny import Tiny

SHAPE, PARTICLES, STATES = (70, 200, 330), 400, 5


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    folder = made_once(tmp_path_factory, "linked", lambda where: make(where / "field.zarr", SHAPE, PARTICLES, STATES))
    with served(folder / "field.zarr") as held:
        yield Asker(held)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_branch_of_the_tree_is_brushed_and_follows_the_filters(visit: Open, field: Asker, tmp_path: Path) -> None:
    tree = field.json("api/paths")
    watched = visit("tab=charts", 1280, 800, field)
    page = watched.page
    watched.shown("#charts", f"0 {PARTICLES} 0")
    healed = sum(path.endswith("H", 0, 2) for path in tree["path"])
    all_of_them = len(tree["path"])
    assert 0 < healed < all_of_them < PARTICLES
    heads = page.locator(".tree .soft")
    assert heads.count() == STATES - 1
    page.locator(".tree .soft", has_text=f"4.2 V to 4.3 V: {healed} of {all_of_them} healed").wait_for()
    count = int(tree["count"][tree["branch"].index("DH")])
    page.locator(f'.branches [aria-label^="DH: {count} particles"]').click()
    page.locator("#count", has_text=f"{count} of them marked").wait_for()
    assert "DH…" in str(page.locator(".chip.brush").text_content())
    large = ["particles.equivalent_diameter_um", 0, 5, None]
    met = np.frombuffer(field("api/chosen", where=[large]).body, np.uint8)[tree["labels"]]
    page.get_by_label("least diameter in µm").fill("5")
    page.get_by_label("least diameter in µm").press("Enter")
    page.get_by_text(f"{met.sum()} of these meet the filters").wait_for()
    assert 0 < met.sum() < all_of_them
    saved = rows_of(watched.saved("#charts figure >> nth=3 >> text=save CSV", tmp_path))
    assert sum(int(row["meet_filters"]) for row in saved if row["level"] == "1") == met.sum()


def test_changes_since_a_chosen_state_sort_the_table_and_are_saved(visit: Open, field: Asker, tmp_path: Path) -> None:
    change = field.array("api/column", "float32", column="changes.change@0", state=3)
    watched = visit("tab=table&state=3", 1280, 800, field)
    page = watched.page
    page.locator("#since").select_option("0")
    page.get_by_text("changes since pristine, below 0: healed").wait_for()
    for descending in (1, 0):
        page.locator("#table th button", has_text="change of damage").click()
        watched.shown("#table", f"3 changes.change {descending} 0 {PARTICLES}")
    label = int(np.nanargmin(change))
    first = page.locator("#table tbody tr").first
    assert first.get_attribute("data-label") == str(label)
    first.click()
    watched.shown("#particle", str(label))
    page.locator("#tabs button", has_text="particle").click()
    row = page.locator(".numbers tr", has_text="change of damage")
    assert float(str(row.locator("td").text_content()).replace("−", "-")) == pytest.approx(change[label], rel=0.01)
    watched.saved("#particle figure >> nth=0 >> text=save CSV", tmp_path)
    page.get_by_role("checkbox", name="significant change").check()
    sure = field.array("api/column", "float32", column="changes.significant@0", state=3) == 1
    page.locator("#count", has_text=f"{sure.sum()} of {PARTICLES}").wait_for()
    assert 0 < sure.sum() < PARTICLES
    page.locator(".chip", has_text="significant change yes in 4.4 V since pristine").wait_for()
    page.locator("#filters label", has_text="class of damage").locator("select").first.select_option("high")
    high = sure & (field.array("api/column", "float32", column="damage.severity_number", state=3) == 2)
    assert high.any()
    page.locator("#count", has_text=f"{high.sum()} of {PARTICLES}").wait_for()
    saved = rows_of(watched.saved("#save", tmp_path))
    assert [int(row["particle"]) for row in saved] == np.flatnonzero(high).tolist()
    assert {row["state"] for row in saved} == {"4.4 V"}
    page.keyboard.press("ArrowLeft")
    page.get_by_role("checkbox", name="significant change in 4.4 V").wait_for()  # where it was set, and still holds


def test_levels_are_drawn_and_a_box_in_the_scatter_marks_the_picture(visit: Open, field: Asker) -> None:
    words = "tab=charts&colour=damage.severity_number&labels=fill&state=2&opacity=1"
    watched = visit(words, 1280, 800, field)
    page = watched.page
    page.locator('#view[data-coloured="damage.severity_number 2"]').wait_for()
    assert page.locator("#kinds span").all_text_contents() == ["minimal", "moderate", "high"]
    watched.shown("#charts", f"2 {PARTICLES} 0")
    whole = watched.picture()
    plot = page.locator("#charts .chart").nth(1).bounding_box()
    assert plot is not None
    x, y = plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y + 60, steps=4)
    page.mouse.up()
    page.locator("#count", has_text="of them marked in a chart").wait_for()
    assert page.locator(".chip.brush").count() == 2
    watched.ready()
    assert (watched.picture() != whole).any()
    page.keyboard.press("Escape")
    page.locator(".chip.brush").first.wait_for(state="detached")
    np.testing.assert_array_equal(watched.picture(), whole)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("location.hash = '#zoom=0.3'")  # far away: from a coarser level
    watched.ready()
    page.wait_for_timeout(100)
    watched.ready()
    assert any("level=2" in url for url in asked)


def test_a_run_on_its_way_shows_what_is_done(visit: Open, tiny: Tiny) -> None:
    assert tiny.run("--until", "mask").code == 0
    with served(tiny.store) as held:
        watched = visit(to=Asker(held))
        watched.page.get_by_text("grey of 2, particles of 0 of 2 states; tables come at its end").wait_for()
        assert len(np.unique(watched.picture())) > 50
        assert watched.page.locator("#tabs").is_hidden()


def test_what_the_run_found_is_told_where_its_states_are_chosen(visit: Open, field: Asker) -> None:
    def with_warnings(route: Any) -> None:
        told = field.json("api/layout")
        route.fulfill(json={**told, "warnings": [{"words": "Rings about the axis: 4.3 V (2%).", "states": ["4.3 V"]}]})

    watched = visit("", 1280, 800, field)
    page = watched.page
    assert page.locator("#findings").is_hidden()
    page.route("**/api/layout*", with_warnings)
    page.reload()
    page.get_by_role("button", name="1 warning").click()
    page.locator("#told[open]", has_text="Rings about the axis: 4.3 V").wait_for()
    assert page.locator("#states .warned").all_text_contents() == ["4.3 V"]
