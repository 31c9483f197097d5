"""The picture of the page in a real browser: planes, states, colours, picking, links; it complains about nothing."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from crackdask import analyse
from tests.support.browser import Open, largest_in, plane_of
from tests.support.explored import Asker

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_picture_is_the_plane(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit("labels=off&state=1")
    grey = volumes.grey.values[1]
    assert np.ptp(grey) > 100
    for axis, plane in enumerate(("xy", "xz", "yz")):
        watched.page.locator("#planes button", has_text=plane).click()
        watched.shown("#view", f"1 {plane} {grey.shape[axis] // 2}")
        wanted = grey.take(grey.shape[axis] // 2, axis)
        seen = plane_of(watched.picture(), wanted.shape)
        np.testing.assert_allclose(seen, np.repeat(wanted[..., None], 3, axis=2), atol=1, err_msg=plane)


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


def test_a_particle_is_picked_in_the_picture(
    visit: Open, volumes: xr.Dataset, tree: xr.DataTree, tmp_path: Path
) -> None:
    label, (_, row, column) = largest_in(volumes, tree, 0)
    watched = visit("tab=table")
    page = watched.page
    watched.click_voxel(row, column, volumes.label.shape[2:])
    watched.shown("#particle", str(label))
    assert page.locator("#picked").text_content() == f"particle {label}"
    page.locator(f'#table tr[data-label="{label}"][aria-selected=true]').wait_for()
    page.locator("#tabs button", has_text=f"particle {label}").click()  # which all tabs tell
    watched.shown("#filmstrip", f"{label} xy")
    films = page.locator(".film canvas")
    assert films.count() == volumes.sizes["state"]
    assert all(film.evaluate("each => each.width") > 4 for film in films.all())
    row_of = page.locator(".numbers tr", has_text="damage").first
    damage = float(analyse.damage(tree).damage.sel(particle=label)[0])
    assert float(str(row_of.locator("td").text_content()).replace("−", "-")) == pytest.approx(damage, abs=0.01)
    watched.saved("#particle figure >> nth=1 >> text=save CSV", tmp_path)
    assert (tmp_path / f"particle_{label}_profile_from_edge.csv").is_file()
    page.locator("#particle").get_by_text("centre", exact=True).click()
    text = watched.saved("#particle figure >> nth=1 >> text=save CSV", tmp_path)
    outermost = [row["from_centre_um"] for row in csv.DictReader(io.StringIO(text)) if row["shell"] == "1"]
    assert len(outermost) == volumes.sizes["state"]
    assert len(set(outermost)) == 1, "the centre is the same in all states, however many shells there are"
    chart = page.locator("#particle .chart").first
    box = chart.bounding_box()
    assert box is not None
    chart.click(position={"x": box["width"] / 2, "y": 30})  # the state in the middle
    watched.shown("#view", f"1 xy {volumes.sizes['z'] // 2}")
    page.locator(".film").nth(1).click()
    watched.shown("#view", f"1 xy {volumes.sizes['z'] // 2}")
    page.locator("#view").focus()
    page.keyboard.press("Escape")
    page.get_by_text("No particle is picked").wait_for()


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
    page.locator("#copy").click()
    page.locator("#copy", has_text="copied").wait_for()
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


def test_keys_go_on_after_something_was_chosen_by_mouse(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit()
    page, middle = watched.page, volumes.sizes["z"] // 2
    page.locator("#opacity").click()
    page.keyboard.press("ArrowRight")
    watched.shown("#view", f"1 xy {middle}")
    page.locator("#white").focus()
    page.keyboard.press("ArrowRight")  # within a field it is the field's
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    watched.shown("#view", f"2 xy {middle}")


def test_what_is_under_a_mouse_that_rests_is_told_of_the_slice_that_is_shown(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit("colour=particles.grey_mean")
    page, middle = watched.page, volumes.sizes["z"] // 2
    page.locator('#view[data-coloured="particles.grey_mean 0"]').wait_for()
    page.locator("#view").hover()
    page.locator("#readout", has_text=f"z {middle} ").wait_for()
    page.keyboard.press("ArrowUp")
    page.locator("#readout", has_text=f"z {middle + 1} ").wait_for()
    _, row, column = np.argwhere(volumes.label.values[0, middle : middle + 1] > 0)[0]
    watched.click_voxel(row, column, volumes.label.shape[2:])
    page.keyboard.press("ArrowDown")
    page.locator("#readout", has_text="grey mean ").wait_for()  # the number by which it is coloured


def test_a_whole_plane_stands_in_the_middle_wherever_one_was_before(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit("plane=xz&at=[3,5,7]&zoom=20&labels=off")
    page = watched.page
    page.keyboard.press("0")
    page.keyboard.press("1")
    watched.ready()
    index = int(str(page.locator("#view").get_attribute("data-shown")).split()[-1])
    grey = volumes.grey.values[0, index]
    np.testing.assert_allclose(plane_of(watched.picture(), grey.shape)[..., 0], grey, atol=1)


def test_an_address_of_what_is_not_there_is_said(visit: Open) -> None:
    watched = visit("particle=99999&colour=particles.nothing")
    page = watched.page
    page.locator("#error", has_text="there is no").wait_for()
    page.get_by_text("No particle is picked").wait_for()
    assert page.locator("#colour").input_value() == ""


def test_an_address_that_makes_no_sense_is_shown_as_far_as_it_does(visit: Open, volumes: xr.Dataset) -> None:
    watched = visit("state=99&plane=aa&zoom=x&at=[1]&nothing=1&labels=&range=[null,null]")
    last = volumes.sizes["state"] - 1
    watched.ready()
    assert str(watched.page.locator("#view").get_attribute("data-shown")).startswith(f"{last} ")
    assert watched.page.locator("#error").is_hidden()


def test_two_browsers_and_two_servers_do_not_disturb_each_other(
    visit: Open, told: Asker, told_store: Path, whole_store: Path, volumes: xr.Dataset
) -> None:
    first, second, third = visit("state=0"), visit("state=2&plane=yz"), visit("state=1", to=told)
    first.page.keyboard.press("ArrowRight")
    first.shown("#view", f"1 xy {volumes.sizes['z'] // 2}")
    assert str(second.page.locator("#view").get_attribute("data-shown")).startswith("2 yz")
    assert third.page.locator("#name").get_attribute("title") == told_store.name
    assert first.page.locator("#name").get_attribute("title") == whole_store.name != told_store.name


@pytest.mark.parametrize("token", ["", "?token=wrong"])
def test_without_the_token_the_page_is_not_there(chromium: Browser, asker: Asker, token: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    answer = page.goto(f"{asker.served.address}{token}")
    assert answer is not None
    assert answer.status == 403
    assert "open the link that `crackdask explore` printed" in str(page.locator("body").text_content())
    context.close()


def test_the_keys_are_told(visit: Open) -> None:
    watched = visit()
    page = watched.page
    page.keyboard.press("?")
    page.locator("#help[open]").wait_for()
    assert "state before" in str(page.locator("#help").text_content())
    page.get_by_role("button", name="close").click()
    page.locator("#help[open]").wait_for(state="detached")
