"""Programs that know OME-Zarr and nothing of crackdask take a store as it is, on a disk and in a bucket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import yaozarrs

from crackdask.cli.viewers import neuroglancer_link, neuroglancer_state
from crackdask.store.root import attributes
from tests.support.tiny import Tiny, contents

SHAPES = [(2, 20, 28, 32), (2, 10, 14, 16)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.parametrize("where", ["", "labels/particle"])
def test_the_rules_of_ngff_hold(finished: Tiny, where: str) -> None:
    yaozarrs.validate_zarr_store(finished.store)
    found = yaozarrs.validate_zarr_store(finished.store / where).ome_metadata()
    assert isinstance(found, yaozarrs.v05.LabelImage if where else yaozarrs.v05.Image)
    (image,) = found.multiscales
    assert [axis.name for axis in image.axes] == ["state", "z", "y", "x"]
    assert len(image.datasets) == len(SHAPES)


def test_the_rules_of_ngff_hold_for_the_group_of_labels(finished: Tiny) -> None:
    found = yaozarrs.validate_zarr_store(finished.store / "labels").ome_metadata()
    assert isinstance(found, yaozarrs.v05.LabelsGroup)
    assert found.labels == ["particle"]


@pytest.mark.filterwarnings("ignore")  # of libraries' own
@pytest.mark.parametrize("where", ["", "labels/particle"])
def test_ngff_zarr_takes_it(finished: Tiny, where: str) -> None:
    ngff_zarr = pytest.importorskip("ngff_zarr", reason="ngff-zarr is not installed")
    found = ngff_zarr.from_ngff_zarr(str(finished.store / where), validate=True, version="0.5")
    assert [image.data.shape for image in found.images] == SHAPES
    assert [image.scale["x"] for image in found.images] == [0.5, 1.0]
    wanted = contents(finished.store)
    for level, image in enumerate(found.images):
        name = f"{where}/{level}/label" if where else ("volumes/grey", "levels/1/grey")[level]
        np.testing.assert_array_equal(np.asarray(image.data), wanted[name])


@pytest.mark.filterwarnings("ignore")  # of a library's own
def test_ome_zarr_takes_it(finished: Tiny) -> None:
    io = pytest.importorskip("ome_zarr.io", reason="ome-zarr is not installed")
    from ome_zarr.reader import Reader  # type: ignore[import-not-found, unused-ignore]

    image, _, label = Reader(io.parse_url(str(finished.store)))()
    wanted = contents(finished.store)
    for node, names in ((image, ("volumes/grey", "levels/1/grey")), (label, ("volumes/label", f"{_LABEL}/1/label"))):
        assert [level.shape for level in node.data] == SHAPES
        for level, name in zip(node.data, names, strict=True):
            np.testing.assert_array_equal(np.asarray(level), wanted[name])


_LABEL = "labels/particle"
_NAPARI = """
import json, sys
from napari.components import ViewerModel
import napari, numpy as np
from napari.plugins import _initialize_plugins
_initialize_plugins()
viewer = ViewerModel()
viewer.open(sys.argv[1], plugin="napari-ome-zarr")
told = []
for layer in viewer.layers:
    levels = [np.asarray(level) for level in layer.data]
    told.append([type(layer).__name__, list(layer.scale), [level.shape for level in levels], int(levels[1].sum())])
viewer.dims.set_current_step(0, 1)
print("told", json.dumps([told, list(viewer.dims.axis_labels), list(viewer.dims.nsteps), viewer.dims.current_step[0]]))
"""


def test_napari_shows_both_with_a_slider_for_the_states(finished: Tiny) -> None:
    """In a process of its own, without a window: what is shown, at which scale, and what can be moved through."""
    pytest.importorskip("napari", reason="napari is not installed")
    pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed")
    done = subprocess.run(
        [sys.executable, "-c", _NAPARI, str(finished.store)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("told ")] or [done.stderr]
    layers, axes, steps, state = json.loads(said.removeprefix("told "))
    wanted, shapes = contents(finished.store), [list(shape) for shape in SHAPES]
    assert layers == [
        ["Image", [1.0, 0.5, 0.5, 0.5], shapes, int(wanted["levels/1/grey"].sum())],
        ["Labels", [1.0, 0.5, 0.5, 0.5], shapes, int(wanted["labels/particle/1/label"].sum())],
    ]
    assert axes == ["state", "z", "y", "x"]
    assert steps == [2, 20, 28, 32]
    assert state == 1


# ---------------------------------------------------------------- Neuroglancer


class _Anywhere(SimpleHTTPRequestHandler):
    """Serves a folder to pages of other servers."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Anywhere, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_link_tells_neuroglancer_where_the_store_is(finished: Tiny) -> None:
    facts = attributes(finished.store)
    link = neuroglancer_link("s3://bucket/a b.zarr", facts)
    before, _, state = link.partition("#!")
    assert before == "https://neuroglancer-demo.appspot.com/"
    assert not set(link) & set(" |\"'{}<>"), "which terminals take for the end of a link"
    found = json.loads(unquote(state))
    assert found == neuroglancer_state("s3://bucket/a b.zarr", facts)
    assert list(found["dimensions"]) == ["x", "y", "z", "state"], "the first three are shown"
    assert found["position"] == [16, 14, 10, 0.5]
    assert found["layers"][1]["source"] == "s3://bucket/a b.zarr/labels/particle/|zarr3:"


@pytest.mark.filterwarnings("ignore")  # of libraries' own
def test_neuroglancer_shows_grey_levels_and_labels(finished: Tiny) -> None:
    neuroglancer = pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    state = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
    with served(finished.store.parent) as address, playwright.sync_playwright() as driver:
        neuroglancer.set_server_bind_address("127.0.0.1")
        viewer = neuroglancer.Viewer()
        wanted = neuroglancer_state(f"{address}/{finished.store.name}", attributes(finished.store))
        viewer.set_state({**wanted, "layout": "xy", "crossSectionScale": 0.1, "showAxisLines": False})
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=state)
        page = browser.new_page(viewport={"width": 600, "height": 500})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(viewer.get_viewer_url())
        page.wait_for_timeout(1000)
        shot = viewer.screenshot(size=[400, 350])
        pixels = np.asarray(shot.screenshot.image_pixels)[..., :3].astype(int)
        browser.close()
        neuroglancer.stop()
    assert wrong == []
    coloured = np.ptp(pixels, axis=-1) > 30
    assert 0.05 < coloured.mean() < 0.9, "particles are coloured"
    assert np.unique(pixels[~coloured][:, 0]).size > 10, "the ground is grey, with noise"
