"""A headless Chromium, and a page of the explorer in it that is watched: what it asks for, what it complains about."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import imagecodecs
import numpy as np
import xarray as xr

from crackdask.arrays import Array

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
#: WebGL by the processor, and the page around it without, which takes half as long; no background services, which ask
#: for things of their own; no way to other machines.
_ARGUMENTS = (
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing",
    "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


def missing() -> str | None:
    """Return what is missing to drive a browser, or None."""
    if CHROMIUM is None:
        return "no chromium is installed (Debian: apt-get install chromium)"
    if find_spec("playwright") is None:
        return "no playwright: pip install playwright"
    return None


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and what went wrong in it.

    Attributes
    ----------
    page
        Playwright's.
    home
        It is to ask for nothing but what begins with that.
    wrong
        Messages of its console, errors of its scripts, and requests to elsewhere.
    """

    page: Page
    home: str
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, context: BrowserContext, home: str) -> Watched:
        """Open an empty page that is to ask for nothing but what begins with `home`."""
        watched = cls(context.new_page(), home)
        page = watched.page
        page.set_default_timeout(30_000)
        page.on("console", lambda said: watched.hear(said.type, said.text))
        page.on("pageerror", lambda error: watched.wrong.append(str(error)))
        page.on("request", lambda asked: watched.note(asked.url))
        return watched

    def hear(self, kind: str, text: str) -> None:
        """Keep what the console says is wrong; that canvases are read back is the browser's own way to show them."""
        if kind in ("error", "warning") and "GPU stall due to ReadPixels" not in text:
            self.wrong.append(text)

    def note(self, url: str) -> None:
        """Keep what was asked for elsewhere."""
        if not url.startswith((self.home, "data:", "blob:", "about:")):
            self.wrong.append(f"asked for {url}")

    def shown(self, what: str, value: str) -> None:
        """Wait until an element says that it shows something."""
        self.page.locator(f'{what}[data-shown="{value}"]').wait_for(state="attached")

    def ready(self) -> None:
        """Wait until the picture is whole."""
        self.page.locator('#view[data-ready="true"]').wait_for()

    def picture(self) -> Array:
        """Return the picture of the plane, (row, column, 3)."""
        self.ready()
        self.page.locator("#scale, #readout").evaluate_all(
            "all => all.forEach(each => each.style.visibility = 'hidden')"
        )
        pixels: Array = imagecodecs.png_decode(self.page.locator("#view").screenshot())
        return np.asarray(pixels[..., :3])

    def click_voxel(self, row: float, column: float, shape: tuple[int, int]) -> None:
        """Click at a voxel of the plane, which is shown whole."""
        box = self.page.locator("#view").bounding_box()
        assert box is not None
        zoom = 0.96 * min(box["height"] / shape[0], box["width"] / shape[1])
        x = box["width"] / 2 + (column + 0.5 - shape[1] / 2) * zoom
        y = box["height"] / 2 + (row + 0.5 - shape[0] / 2) * zoom
        self.page.locator("#view").click(position={"x": x, "y": y})

    def saved(self, click: str, folder: Path) -> str:
        """Return the text of the file that a click hands out."""
        with self.page.expect_download() as download:
            self.page.locator(click).click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path.read_text(encoding="utf-8")


class Pages:
    """Empty pages of a browser, for one test after the other: another profile each time would cost a second.

    Pages of one test have profiles of their own.

    Parameters
    ----------
    browser
        Whose pages they are.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: list[Watched] = []

    def open(self, home: str, width: int, height: int) -> Watched:
        """Return an empty page of that size that is to ask for nothing but what begins with `home`."""
        if not self._free:
            return Watched.of(
                self._browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce"), home
            )
        watched = self._free.pop()
        watched.home, watched.wrong = home, []
        watched.page.set_viewport_size({"width": width, "height": height})
        return watched

    def take_back(self, watched: Watched) -> None:
        """Empty a page that a test leaves."""
        page = watched.page
        if page.is_closed() or len(page.context.pages) > 1:
            page.context.close()
            return
        page.unroute_all()
        page.mouse.move(0, 0)
        page.goto("about:blank")
        self._free.append(watched)


#: Opens the page at some words of its address.
Open: TypeAlias = Callable[..., Watched]


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
