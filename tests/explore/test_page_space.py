"""What the page shows in space, in a real browser: a particle, its cracks, the whole field."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import xarray as xr

import crackdask
from crackdask.arrays import Array
from tests.support.browser import Open, largest_in
from tests.support.explored import Asker

SIZE = (900, 480)  # pixels: each of them is a ray that the processor follows


def test_the_picked_particle_is_seen_in_space(visit: Open, volumes: xr.Dataset, tree: xr.DataTree) -> None:
    label, _ = largest_in(volumes, tree, 0)
    watched = visit(f"particle={label}", *SIZE)
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
    assert (
        page.locator('#solid .cells span:visible:not([class*="3d"])').all_text_contents()
        == volumes.state.values.tolist()
    )
    page.locator("#solid .legend3d", has_text=f"particle {label}; orange: darker than").wait_for()
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
    other = visit(page.url.partition("#")[2], *SIZE)
    other.shown("#solid canvas", f"{label} 0,1,2")
    other.page.locator('#solid canvas[data-fine="true"]').wait_for()
    other_pixels = imagecodecs.png_decode(other.page.locator("#solid canvas").screenshot())[..., :3]
    np.testing.assert_array_equal(other_pixels, after)
    page.keyboard.press("Escape")
    page.locator("#solid").wait_for(state="hidden")
    watched.shown("#particle", str(label))  # which stays picked


def test_all_particles_are_seen_in_space(visit: Open, told: Asker, volumes: xr.Dataset) -> None:
    watched = visit("colour=particles.grey_mean", *SIZE, to=told)
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
    count = told.json("api/columns")["particles"]
    page.get_by_text(f"{count} of {count} particles").wait_for()  # no filter any more
    page.wait_for_timeout(300)
    seen()
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
    bar = page.locator("#field .scale3d")
    (voxel_um,) = set(told.json("api/layout")["voxel_um"])
    long = bar.evaluate("bar => bar.getBoundingClientRect().width")
    assert long / float(str(bar.text_content()).removesuffix(" µm")) == pytest.approx(scale / voxel_um, rel=0.02)
    # Seen so, y goes to the right and x upwards, away from who looks.
    x = box["width"] / 2 + (row + 0.5 - rows / 2) * scale
    y = box["height"] / 2 + (column + 0.5 - columns / 2) * scale
    canvas.click(position={"x": x, "y": y})
    watched.shown("#particle", str(label))
    page.keyboard.press("v")
    page.locator("#field").wait_for(state="hidden")


def test_measured_cracks_are_shown_inside_a_particle(visit: Open, told: Asker, told_store: Path) -> None:
    table = crackdask.open(told_store)["cracks"].to_dataset()
    label = int(table.skeleton_voxels.values[1].argmax()) + 1
    watched = visit(f"particle={label}&state=1&solid=one&cut=0&surface=0", *SIZE, to=told)
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
