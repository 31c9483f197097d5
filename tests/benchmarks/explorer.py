"""`python -m tests.benchmarks.explorer [STORE]`: how long one waits for the explorer on a full field, what it holds.

Makes the store (14 Gvoxel a state, 600 000 particles, some minutes) if it is not there. Needs Chromium and playwright.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.support import browser as browsers
from tests.support.browser import Watched

from .full_field import make

#: Sets the slider to a slice, and tells after how many ms all of that is drawn.
_SLICE = """async index => {
  const [slider, view] = ["slice", "view"].map(id => document.getElementById(id));
  const begun = performance.now();
  slider.value = index;
  slider.dispatchEvent(new Event("input"));
  while (view.dataset.ready !== "true" || !view.dataset.shown.endsWith(` ${index}`)) {
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - begun;
}"""
_PAN = """async by => {
  const view = document.getElementById("view");
  const send = (kind, x) => view.dispatchEvent(new PointerEvent(kind,
    {pointerId: 1, button: 0, clientX: x, clientY: 300, bubbles: true}));
  view.setPointerCapture = () => {};
  const begun = performance.now();
  send("pointerdown", 300);
  send("pointermove", 300 + by);
  await new Promise(requestAnimationFrame);
  while (view.dataset.ready !== "true") await new Promise(requestAnimationFrame);
  const took = performance.now() - begun;
  send("pointerup", 300 + by);
  return took;
}"""
_COLOUR = """async key => {
  const [select, view] = ["colour", "view"].map(id => document.getElementById(id));
  const begun = performance.now();
  select.value = key;
  select.dispatchEvent(new Event("change"));
  while (!view.dataset.coloured?.startsWith(key)) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - begun;
}"""
_PICK = """async label => {
  const [input, pane] = [document.querySelector("#table input[type=number]"), document.getElementById("particle")];
  const begun = performance.now();
  input.value = label;
  input.dispatchEvent(new Event("change"));
  while (pane.dataset.shown !== String(label)) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - begun;
}"""


def _told(what: str, found: list[float], aim: float, unit: str = "ms") -> None:
    verdict = "reached" if median(found) < aim else "SHORT"
    print(
        f"{what:<46} {median(found):>8.0f} {unit} (of {len(found)}, most {max(found):.0f}), aim {aim:.0f}: {verdict}",
        flush=True,
    )


def measure(store: Path) -> None:
    """Serve a store, visit it, and print how long each thing took."""
    with browsers.chromium() as browser:
        begun = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "-m", "crackdask", "explore", str(store), "--no-browser", "--port", "0"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            link = next(line.strip() for line in server.stdout if "token=" in line)
            listening = time.perf_counter() - begun
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            watched = Watched.of(context, link.partition("?")[0])
            watched.page.set_default_timeout(180_000)
            watched.page.goto(link)
            watched.ready()
            _told("start to listening", [1e3 * listening], 2000)
            _told("start to first picture", [1e3 * (time.perf_counter() - begun)], 2000)
            _visit(watched, psutil.Process(server.pid), context)
        finally:
            server.terminate()
            server.wait(30)


def _visit(watched: Watched, server: psutil.Process, context: Any) -> None:
    page = watched.page
    timed: Callable[[str, Any], float] = page.evaluate
    page.locator("#table tbody tr").first.wait_for(state="attached")
    depth = int(page.locator("#slice").get_attribute("max") or 0)
    slices = [depth * k // 6 for k in range(1, 6)]
    _told("whole plane, another slice, cold", [timed(_SLICE, k) for k in slices], 600)
    _told("whole plane, slices seen before", [timed(_SLICE, k) for k in slices], 100)
    page.evaluate("words => { location.hash = words; }", f"#at=[{depth // 2 + 0.5},1300,1300]&zoom=1")
    page.wait_for_timeout(1500)
    watched.ready()
    _told("closest, one slice on", [timed(_SLICE, k) for k in range(depth // 2 + 1, depth // 2 + 17)], 100)
    _told("closest, pan by 40 pixels", [timed(_PAN, 40) for _ in range(12)], 100)
    began = time.perf_counter()
    page.evaluate(_COLOUR, "damage.damage")
    _told("damage for the first time", [1e3 * (time.perf_counter() - began)], 60_000)
    keys = [
        "particles.grey_mean",
        "particles.sphericity",
        "particles.elongation",
        "particles.volume_um3",
        "particles.flatness",
    ]
    _told("colour by another column", [timed(_COLOUR, key) for key in keys], 300)
    page.evaluate(_PICK, 5)
    picks = []
    for label in range(1000, 600_000, 60_000):
        picks.append(timed(_PICK, label))
        page.wait_for_timeout(700)  # who looks at the charts gives the picture the time to go there
    _told("pick to charts", picks, 300)
    page.locator("#tabs button", has_text="charts").click()
    began = time.perf_counter()
    page.locator("#charts[data-shown^='0 ']").wait_for()
    _told("all charts for the first time", [1e3 * (time.perf_counter() - began)], 3000)
    began = time.perf_counter()
    page.locator("#space").click()
    page.locator("#field canvas[data-shown]:not([data-shown=''])").wait_for()
    _told("whole field in 3D for the first time", [1e3 * (time.perf_counter() - began)], 3000)
    devtools = context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")
    held = heap["usedSize"] + heap.get("backingStorageSize", heap.get("embedderHeapUsedSize", 0))
    _told("heap of the page", [held / 2**20], 200, "MiB")
    status = Path(f"/proc/{server.pid}/status")
    peak = [int(line.split()[1]) / 2**10 for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    _told("server, now", [server.memory_info().rss / 2**20], 500, "MiB")
    _told("server, at most", peak, 500, "MiB")
    print("wrong:", watched.wrong)


def main() -> None:
    """Measure, on a store that is made if it is not there."""
    store = Path(sys.argv[1] if len(sys.argv) > 1 else "full-field.zarr")
    if not store.exists():
        make(store)
    measure(store)


if __name__ == "__main__":
    main()
