"""Where things stand on the page, in a real browser: nothing is cut off, nothing lies over another."""

from __future__ import annotations

import pytest
import xarray as xr

from tests.support.browser import Open, largest_in
from tests.support.explored import Asker

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
        ("particle&solid=one&theme=dark", 1280, 720),
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
