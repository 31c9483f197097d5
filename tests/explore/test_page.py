"""The page in a real browser: everything on it is clicked, and it complains about nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask import analyse
from crackdask.arrays import Array
from crackdask.figures import PANELS
from crackdask.report import markup
from tests.support import browser as browsers
from tests.support.browser import Watched
from tests.support.explored import Asker, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if lacks := browsers.missing():
    pytest.skip(lacks, allow_module_level=True)

Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, asker: Asker) -> Iterator[Open]:
    """Open the page, in a browser that has never seen it; afterwards nothing may have gone wrong in it."""
    opened, contexts = [], []

    def go(words: str = "", width: int = 1280, height: int = 900, to: Asker = asker) -> Watched:
        context = chromium.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        contexts.append(context)
        watched = Watched.of(context, to.served.address)
        opened.append(watched)
        watched.page.goto(f"{to.served.link}#{words}")
        watched.ready()
        return watched

    yield go
    for context in contexts:
        context.close()
    assert [watched.wrong for watched in opened] == [[] for _ in opened]


@pytest.fixture(scope="module")
def volumes(tree: xr.DataTree) -> xr.Dataset:
    return tree["volumes"].to_dataset().load()


def largest_in(volumes: xr.Dataset, tree: xr.DataTree, state: int) -> tuple[int, tuple[int, int, int]]:
    """Return the largest tracked particle that the middle slice shows, and a voxel of it there."""
    labels = volumes.label.values[state]
    z = labels.shape[0] // 2
    counts = np.bincount(labels[z].ravel())
    tracked = tree["particles"].to_dataset().tracked.values[0]
    counts[0] = 0
    counts[1:] *= tracked[: len(counts) - 1]
    label = int(counts.argmax())
    rows, columns = np.nonzero(labels[z] == label)
    middle = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return label, (z, int(rows[middle]), int(columns[middle]))


def plane_of(picture: Array, shape: tuple[int, int]) -> Array:
    """Return the voxels of a picture that shows a plane whole: the pixel in the middle of each."""
    height, width = picture.shape[:2]
    zoom = 0.96 * min(height / shape[0], width / shape[1])
    rows = (height / 2 + (np.arange(shape[0]) + 0.5 - shape[0] / 2) * zoom).astype(int)
    columns = (width / 2 + (np.arange(shape[1]) + 0.5 - shape[1] / 2) * zoom).astype(int)
    return picture[np.ix_(rows, columns)]


@pytest.mark.parametrize(("plane", "axis"), [("xy", 0), ("xz", 1), ("yz", 2)])
def test_the_picture_is_the_plane(visit: Open, volumes: xr.Dataset, plane: str, axis: int) -> None:
    watched = visit(f"labels=off&state=1&plane={plane}")
    grey = volumes.grey.values[1]
    wanted = grey.take(grey.shape[axis] // 2, axis)
    seen = plane_of(watched.picture(), wanted.shape)
    assert np.ptp(wanted) > 100
    np.testing.assert_allclose(seen, np.repeat(wanted[..., None], 3, axis=2), atol=1)


def test_the_grey_window_stretches_the_picture(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit("labels=off")
    page = watched.page
    page.locator("#black").fill("60")
    page.locator("#white").fill("160")
    page.locator("#white").press("Tab")
    grey = volumes.grey.values[0, volumes.sizes["z"] // 2].astype(float)
    wanted = np.clip((grey - 60) / 100, 0, 1) * 255
    np.testing.assert_allclose(plane_of(watched.picture(), wanted.shape)[..., 0], wanted, atol=1)


def test_states_planes_and_slices_by_button_and_key(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit()
    page, (depth, height, _) = watched.page, (volumes.sizes[axis] for axis in "zyx")
    watched.shown("#view", f"0 xy {depth // 2}")
    page.locator("#states button").nth(2).click()
    watched.shown("#view", f"2 xy {depth // 2}")
    page.keyboard.press("ArrowLeft")
    watched.shown("#view", f"1 xy {depth // 2}")
    page.keyboard.press("ArrowUp")
    watched.shown("#view", f"1 xy {depth // 2 + 1}")
    page.keyboard.press("PageDown")
    watched.shown("#view", f"1 xy {depth // 2 - 9}")
    page.locator("#planes button").nth(1).click()
    watched.shown("#view", f"1 xz {height // 2}")
    page.keyboard.press("3")
    watched.ready()
    assert page.locator("#planes [aria-checked=true]").text_content() == "yz"
    assert page.locator("#states [aria-checked=true]").text_content() == str(volumes.state.values[1])
    for _ in range(9):
        page.keyboard.press(".")  # and no further than the last one
    watched.ready()
    assert page.locator("#view").get_attribute("data-shown", timeout=1000).startswith("2 yz")  # type: ignore[union-attr]


def test_a_particle_is_picked_in_the_picture(visit: Open, volumes: xr.Dataset, tree: xr.DataTree) -> None:
    label, (_, row, column) = largest_in(volumes, tree, 0)
    watched = visit("tab=table")
    page = watched.page
    watched.click_voxel(row, column, volumes.label.shape[2:])
    watched.shown("#particle", str(label))
    assert page.locator("#picked").text_content() == f"particle {label}"
    page.locator(f'#table tr[data-label="{label}"][aria-selected=true]').wait_for()
    page.locator("#tabs button", has_text="particle").click()
    watched.shown("#filmstrip", f"{label} xy")
    films = page.locator(".film canvas")
    assert films.count() == volumes.sizes["state"]
    assert all(film.evaluate("each => each.width") > 4 for film in films.all())
    row_of = page.locator(".numbers tr", has_text="damage").first
    damage = float(analyse.damage(tree).damage.sel(particle=label)[0])
    assert float(str(row_of.locator("td").text_content()).replace("−", "-")) == pytest.approx(damage, abs=0.01)
    page.locator(".film").nth(1).click()
    watched.shown("#view", f"1 xy {volumes.sizes['z'] // 2}")
    page.locator("#view").focus()
    page.keyboard.press("Escape")
    page.get_by_text("No particle is picked").wait_for()


def test_a_particle_is_picked_in_the_table_and_found_in_the_picture(
    visit: Open, volumes: xr.Dataset, tree: xr.DataTree
) -> None:
    watched = visit("tab=table&labels=outline")
    page = watched.page
    last = page.locator("#table tbody tr").last
    label = int(str(last.get_attribute("data-label")))
    last.click()
    watched.shown("#particle", str(label))
    page.locator("#view").focus()
    page.keyboard.press("c")
    one = tree["particles"].to_dataset().sel(particle=label).load()
    present = int((one.voxels.values > 0).argmax())
    box = one.isel(state=0 if one.voxels.values[0] else present)
    watched.shown("#view", f"0 xy {(int(box.bbox_z0) + int(box.bbox_z1)) // 2}")
    page.keyboard.press("p")
    before = int(str(page.locator("#table tr[aria-selected=true]").get_attribute("data-label")))
    page.locator(f'#table tr[data-label="{before}"][aria-selected=true]').wait_for()
    page.locator("#table input[type=number]").fill(str(label))
    page.locator("#table input[type=number]").press("Enter")
    page.locator(f'#table tr[data-label="{label}"][aria-selected=true]').wait_for()


def test_the_table_is_sorted_and_its_columns_chosen(visit: Open, asker: Asker) -> None:
    watched = visit("tab=table&state=2")
    page = watched.page
    page.locator("#table th button", has_text="damage").first.click()
    count = asker.json("api/columns")["particles"]
    watched.shown("#table", f"2 damage.damage 1 0 {count}")
    values = asker.array("api/column", "float32", column="damage.damage", state=2)
    best = int(np.nanargmax(values))
    assert page.locator("#table tbody tr").first.get_attribute("data-label") == str(best)
    page.locator("#table th button", has_text="damage ▼").click()
    watched.shown("#table", f"2 damage.damage 0 0 {count}")
    assert page.locator("#table tbody tr").first.get_attribute("data-label") == str(int(np.nanargmin(values)))
    page.locator("summary", has_text="columns").click()
    page.locator("details.columns label", has_text="sphericity").click()
    page.locator("#table th", has_text="sphericity").wait_for()


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
    page.get_by_label("column of a further filter").select_option("particles.sphericity")
    page.get_by_label("from, for the further filter").fill("0.9")
    page.get_by_role("button", name="add filter").click()
    round_ones = (tree["particles"].to_dataset().sphericity.values[0].astype("f4") >= np.float32(0.9)).sum()
    page.locator("#count", has_text=f"{round_ones} of").wait_for()
    assert "sphericity" in str(page.locator(".chip").text_content())


def test_particles_take_the_colour_of_a_column(visit: Open, volumes: xr.Dataset, tree: xr.DataTree) -> None:
    label, (_, row, column) = largest_in(volumes, tree, 1)
    watched = visit("state=1&opacity=1")
    page = watched.page
    page.locator("#colour").select_option("particles.equivalent_diameter_um")
    page.locator("#map").select_option("cividis")
    page.locator('#view[data-coloured="particles.equivalent_diameter_um 1"]').wait_for()
    value = float(tree["particles"].to_dataset().equivalent_diameter_um.sel(particle=label)[1])
    ends = {"low": ((0x00, 0x22, 0x4E), (value, value + 1)), "high": ((0xFE, 0xE8, 0x38), (value - 1, value))}
    grey = float(volumes.grey.values[1, volumes.sizes["z"] // 2, row, column]) / 255
    for colour, (low, high) in ends.values():
        page.locator("#low").fill(f"{low - 1e-3:.4f}")
        page.locator("#high").fill(f"{high + 1e-3:.4f}")
        page.locator("#high").press("Tab")
        seen = plane_of(watched.picture(), volumes.label.shape[2:])[row, column]
        np.testing.assert_allclose(seen, np.array(colour) * (0.45 + 0.55 * grey), atol=3)
    page.get_by_role("button", name="auto").click()
    assert float(page.locator("#high").input_value()) != pytest.approx(value, abs=2e-3)


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
    page.get_by_text("the tree needs").wait_for()  # the states of this store are not the paper's, and it says so


def test_a_link_shows_the_same_to_another_browser(visit: Open, volumes: xr.Dataset, tree: xr.DataTree) -> None:
    label, (_, row, column) = largest_in(volumes, tree, 1)
    watched = visit()
    page = watched.page
    page.keyboard.press("ArrowRight")
    watched.shown("#view", f"1 xy {volumes.sizes['z'] // 2}")
    watched.click_voxel(row, column, volumes.label.shape[2:])
    watched.shown("#particle", str(label))
    page.locator("#colour").select_option("particles.sphericity")
    page.get_by_label("tracked", exact=True).check()
    page.locator("#tabs button", has_text="table").click()
    page.locator("#labels button", has_text="outlined").click()
    page.locator("#view").hover()
    page.mouse.wheel(0, -300)
    page.keyboard.press("d")
    page.locator('#view[data-coloured="particles.sphericity 1"]').wait_for()
    page.wait_for_timeout(400)
    words = page.url.partition("#")[2]
    assert "token" not in page.url
    other = visit(words)
    other.shown("#particle", str(label))
    other.page.locator('#view[data-coloured="particles.sphericity 1"]').wait_for()
    assert other.page.locator("html").get_attribute("data-theme") == page.locator("html").get_attribute("data-theme")
    assert other.page.locator("#tabs [aria-selected=true]").text_content() == "table"
    assert other.page.get_by_label("tracked", exact=True).is_checked()
    for each in (watched, other):
        each.page.mouse.move(1, 1)
    np.testing.assert_array_equal(other.picture(), watched.picture())


def test_an_address_that_makes_no_sense_is_shown_as_far_as_it_does(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit("state=99&plane=aa&zoom=x&at=[1]&nothing=1&labels=&range=[null,null]")
    last = volumes.sizes["state"] - 1
    watched.ready()
    assert str(watched.page.locator("#view").get_attribute("data-shown")).startswith(f"{last} ")
    assert watched.page.locator("#error").is_hidden()


def test_two_browsers_and_two_servers_do_not_disturb_each_other(
    visit: Open, ran_store: Path, volumes: xr.Dataset
) -> None:
    first, second = visit("state=0"), visit("state=2&plane=yz")
    with served(ran_store) as held:
        third = visit("state=1", to=Asker(held))
        first.page.keyboard.press("ArrowRight")
        first.shown("#view", f"1 xy {volumes.sizes['z'] // 2}")
        assert str(second.page.locator("#view").get_attribute("data-shown")).startswith("2 yz")
        assert third.page.locator("#name").text_content() == "tiny"
        assert first.page.locator("#name").text_content() != "tiny"
        third.page.context.close()


@pytest.fixture
def ran_store(finished: object) -> Path:
    store = finished.store  # type: ignore[attr-defined]
    assert isinstance(store, Path)
    return store


@pytest.mark.parametrize("token", ["", "?token=wrong"])
def test_without_the_token_the_page_is_not_there(chromium: Browser, asker: Asker, token: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    answer = page.goto(f"{asker.served.address}{token}")
    assert answer is not None
    assert answer.status == 403
    assert "open the link that `crackdask explore` printed" in str(page.locator("body").text_content())
    context.close()


def test_the_picked_particle_is_seen_in_space(visit: Open, volumes: xr.Dataset, tree: xr.DataTree) -> None:
    label, _ = largest_in(volumes, tree, 0)
    watched = visit(f"particle={label}", 1024, 640)
    page, canvas = watched.page, watched.page.locator("#solid canvas")

    def seen() -> Array:
        page.locator('#solid canvas[data-fine="true"]').wait_for()
        pixels: Array = imagecodecs.png_decode(canvas.screenshot())[..., :3]
        assert (pixels.max(axis=2) > 40).mean() > 0.05  # it is not empty
        return pixels

    watched.shown("#particle", str(label))
    page.locator("#open-solid").click()
    watched.shown("#solid canvas", f"{label} 0")
    whole = seen()
    page.keyboard.press("ArrowRight")  # the next state, seen from the same place
    watched.shown("#solid canvas", f"{label} 1")
    assert (seen() != whole).any()
    page.keyboard.press("v")
    watched.shown("#solid canvas", f"{label} 0,1,2")
    assert page.locator("#solid .cells span:visible").all_text_contents() == volumes.state.values.tolist()
    before = seen()
    canvas.hover()
    page.mouse.down()
    page.mouse.move(200, 300, steps=3)
    page.mouse.up()
    page.mouse.wheel(0, -300)
    page.locator("#solid").get_by_label("cut", exact=True).fill("0.2")
    page.get_by_label("cracks below").fill("250")
    page.wait_for_timeout(400)
    after = seen()
    assert (after != before).any()
    other = visit(page.url.partition("#")[2], 1024, 640)
    other.shown("#solid canvas", f"{label} 0,1,2")
    other.page.locator('#solid canvas[data-fine="true"]').wait_for()
    other_pixels = imagecodecs.png_decode(other.page.locator("#solid canvas").screenshot())[..., :3]
    np.testing.assert_array_equal(other_pixels, after)
    page.keyboard.press("Escape")
    page.locator("#solid").wait_for(state="hidden")
    watched.shown("#particle", str(label))  # which stays picked


def test_all_particles_are_seen_in_space(visit: Open, told: Asker, volumes: xr.Dataset) -> None:
    watched = visit("colour=particles.grey_mean", 1024, 640, told)
    page, canvas = watched.page, watched.page.locator("#field canvas")

    def seen() -> Array:
        page.locator('#field canvas[data-fine="true"]').wait_for()
        pixels: Array = imagecodecs.png_decode(canvas.screenshot())[..., :3]
        assert (pixels.max(axis=2) > 40).mean() > 0.05  # it is not empty
        return pixels

    page.locator('#view[data-coloured="particles.grey_mean 0"]').wait_for()
    page.locator("#space").click()
    watched.shown("#field canvas", "0")
    first = seen()
    page.keyboard.press("ArrowRight")
    watched.shown("#field canvas", "1")
    assert (seen() != first).any()  # another state
    page.keyboard.press("ArrowLeft")
    watched.shown("#field canvas", "0")
    np.testing.assert_array_equal(seen(), first)
    page.locator("#colour").select_option("particles.equivalent_diameter_um")
    page.locator('#view[data-coloured="particles.equivalent_diameter_um 0"]').wait_for()
    page.wait_for_timeout(100)
    coloured = seen()
    assert (coloured != first).any()
    page.get_by_label("tracked", exact=True).check()
    page.locator("#count", has_text="of").wait_for()
    page.locator("#field").get_by_label("cut", exact=True).fill("0.4")
    page.wait_for_timeout(400)
    assert (seen() != coloured).any()
    # What is seen straight from above is the first label below each voxel: a click there picks it.
    page.evaluate("location.hash = '#solid=field&turn=[0,1.57]&tab=table'")
    page.wait_for_timeout(500)
    labels = volumes.label.values[0]
    depth, rows, columns = labels.shape
    above = labels[::-1]
    top = np.take_along_axis(above, (above > 0).argmax(axis=0)[None], 0)[0]
    label = int(np.argmax(np.bincount(top[top > 0])))
    inside = np.argwhere(top == label)
    row, column = inside[np.argmin(((inside - inside.mean(axis=0)) ** 2).sum(axis=1))]
    box = canvas.bounding_box()
    assert box is not None
    half = 0.97 * np.hypot(np.hypot(depth, rows), columns) / 2  # voxels from the middle to the nearer edge
    scale = min(box["width"], box["height"]) / 2 / half
    # Seen so, y goes to the right and x upwards, away from who looks.
    x = box["width"] / 2 + (row + 0.5 - rows / 2) * scale
    y = box["height"] / 2 + (column + 0.5 - columns / 2) * scale
    canvas.click(position={"x": x, "y": y})
    watched.shown("#particle", str(label))
    page.keyboard.press("v")
    page.locator("#field").wait_for(state="hidden")


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


def test_measured_cracks_are_shown_inside_a_particle(visit: Open, told: Asker, told_store: Path) -> None:
    table = crackdask.open(told_store)["cracks"].to_dataset()
    label = int(table.skeleton_voxels.values[1].argmax()) + 1
    watched = visit(f"particle={label}&state=1&solid=one&cut=0&surface=0", 1024, 640, told)
    page, canvas = watched.page, watched.page.locator("#solid canvas")

    def blue() -> int:
        page.locator('#solid canvas[data-fine="true"]').wait_for()
        pixels = imagecodecs.png_decode(canvas.screenshot())[..., :3].astype(int)
        return int(((pixels[..., 2] > 90) & (pixels[..., 2] - pixels[..., 0] > 30)).sum())

    watched.shown("#solid canvas", f"{label} 1")
    assert blue() > 20  # the skeleton
    page.get_by_label("measured cracks").uncheck()
    page.get_by_label("cracks below").wait_for()
    page.wait_for_timeout(400)
    assert blue() == 0


def test_the_report_leads_to_its_particles(visit: Open, told_store: Path, tmp_path: Path) -> None:
    panel = PANELS[0]
    part = markup.section(panel, b'<svg xmlns="http://www.w3.org/2000/svg"/>', "particle=15&tab=table", "told.zarr")
    page = markup.page("a report", [], ["a warning"], {panel: part}, {}, "0", "")
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


def test_the_keys_are_told(visit: Open) -> None:
    watched = visit()
    page = watched.page
    page.keyboard.press("?")
    page.locator("#help[open]").wait_for()
    assert "state before" in str(page.locator("#help").text_content())
    page.get_by_role("button", name="close").click()
    page.locator("#help[open]").wait_for(state="detached")


OUT_OF_PLACE = """all => {
  const seen = all.filter(each => each.offsetParent && !each.closest(".rows"));
  const name = each => each.id || each.textContent.slice(0, 30) || each.outerHTML.slice(0, 60);
  const part = each => each.closest(".pane, header, #picture, #filters");
  const found = [];
  for (const each of seen) {
    const box = each.getBoundingClientRect();
    if (each.tagName !== "INPUT" && each.scrollWidth > each.clientWidth + 1) found.push(`${name(each)} is cut off`);
    const beyond = box.right > innerWidth + 0.5 || box.bottom > innerHeight + 0.5;
    if (beyond && !each.closest(".pane")) found.push(`${name(each)} is beyond the window`);
    for (const other of seen) {
      if (other === each || other.contains(each) || each.contains(other) || part(each) !== part(other)) continue;
      const its = other.getBoundingClientRect();
      const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
      const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
      if (wide > 2 && high > 2) found.push(`${name(each)} lies over ${name(other)}`);
    }
  }
  return found;
}"""


@pytest.mark.parametrize(
    ("tab", "width", "height"),
    [
        ("particle&solid=all", 1280, 800),
        ("cell&solid=field", 1280, 800),
        *((tab, 1280, 800) for tab in ("particle", "table", "charts")),
        ("charts", 1920, 1080),  # where all of them are seen
        ("charts", 2560, 1440),
    ],
)
def test_nothing_is_cut_off_or_lies_over_another(
    visit: Open, told: Asker, volumes: xr.Dataset, tree: xr.DataTree, tab: str, width: int, height: int
) -> None:
    label, _ = largest_in(volumes, tree, 0)
    words = f'tab={tab}&particle={label}&colour=damage.damage&where=[["particles.tracked",0,1,1]]'
    watched = visit(words, width, height, told)
    page = watched.page
    watched.shown("#particle", str(label))
    page.locator("#count", has_text="of").wait_for()
    if "solid=all" in tab:
        page.get_by_label("measured cracks").wait_for()
    if "cell" in tab or width > 1800:
        watched.shown("#cell", f"time 0 {label}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    kinds = "button, select, input, .bar > label, h1, h2, output, .chart, #frame, .film"
    wrong = page.locator(kinds).evaluate_all(OUT_OF_PLACE)
    assert wrong == []
