"""The page in Firefox: its main paths, and its console stays empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support import firefox as firefoxes
from tests.support.explored import Asker

if lacks := firefoxes.missing():
    pytest.skip(lacks, allow_module_level=True)

#: The grey level in the middle of each voxel of a picture that shows a plane of ROWS and COLUMNS whole.
PICTURE = """(() => {
  const view = document.getElementById("view"), gl = view.getContext("webgl2");
  const [width, height, rows, columns] = [view.width, view.height, ROWS, COLUMNS];
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const zoom = 0.96 * Math.min(height / rows, width / columns), found = [];
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
    const y = Math.floor(height / 2 + (r + 0.5 - rows / 2) * zoom);
    const x = Math.floor(width / 2 + (c + 0.5 - columns / 2) * zoom);
    found.push(pixels[4 * ((height - 1 - y) * width + x)]);
  }
  return found.join();
})()"""


def test_the_page_works_in_firefox(asker: Asker, tree: xr.DataTree, tmp_path: Path) -> None:
    volume = tree["volumes"].grey
    middle = volume.sizes["z"] // 2
    grey = volume.isel(state=1, z=middle).values
    with firefoxes.firefox(tmp_path) as page:
        page.tell("browsingContext.navigate", context=page.context, url=f"{asker.served.link}#labels=off&tab=table")
        page.shown("#view", f"0 xy {middle}")
        rows, columns = grey.shape
        seen = ""
        for _ in range(20):  # once a picture is on the screen its canvas may be emptied
            page.click("#states button", 0)
            page.shown("#view", f"0 xy {middle}")
            page.click("#states button", 1)
            page.wait("""document.querySelector('#view[data-ready="true"][data-shown^="1 xy"]')""")
            seen = page.value(PICTURE.replace("ROWS", str(rows)).replace("COLUMNS", str(columns)))
            if seen.strip("0,"):
                break
        assert np.ptp(grey) > 100
        np.testing.assert_allclose(np.array(seen.split(","), float).reshape(grey.shape), grey, atol=1)

        page.wait("document.querySelector('#table tbody tr')")
        label = page.value("document.querySelectorAll('#table tbody tr')[3].dataset.label")
        page.click("#table tbody tr", 3)
        page.shown("#particle", label)
        page.click("#tabs button", 0)
        page.shown("#filmstrip", f"{label} xy")
        page.click("#open-solid")
        page.wait("""document.querySelector('#solid canvas[data-fine="true"]')""")
        page.click("#filters input[type=checkbox]")
        tracked = int(tree["particles"].tracked.isel(state=0).sum())
        page.wait(f"document.getElementById('count').textContent.startsWith('{tracked} of')")
        page.click("#tabs button", 2)
        page.wait("""document.querySelector('#charts[data-shown^="1 "]')""")
        assert page.wrong == []
        home = asker.served.address
        assert [url for url in page.asked if not url.startswith((home, "data:", "blob:", "about:"))] == []
