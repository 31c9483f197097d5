"""The report in a real browser: it asks for nothing, complains about nothing, and shows every picture."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from crackdask.report.page import report
from tests.support.pictured import PARTICLES, electrode

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# Without the background services a browser asks for nothing on its own.
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
#: Tells, when the page is there, what it loaded and how its pictures came out, as an attribute of its root.
PROBE = """<script>
var errors = [], blocked = [];
addEventListener("error", event => errors.push(String(event.message || event.target.src).slice(0, 200)), true);
addEventListener("securitypolicyviolation", event => blocked.push(event.blockedURI));
addEventListener("load", () => Promise.allSettled([...document.images].map(image => image.decode())).then(done => {
  document.documentElement.dataset.seen = btoa(JSON.stringify({
    images: done.map((one, k) => [one.status, document.images[k].naturalWidth, document.images[k].naturalHeight]),
    requests: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !/^data:/.test(name)),
    blocked: blocked, errors: errors, wide: document.documentElement.scrollWidth, window: innerWidth,
  }));
}));
</script>"""


needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium is installed (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(electrode(tracked=np.zeros(PARTICLES, bool)), tmp_path_factory.mktemp("page")).page


def visit(page: Path, folder: Path, width: int) -> tuple[dict[str, object], str]:
    """Return what a browser saw of a page, and what it wrote to its console."""
    assert BROWSER is not None
    said = subprocess.run(
        [BROWSER, *QUIET, f"--user-data-dir={folder}", f"--window-size={width},900", "--enable-logging=stderr",
         "--virtual-time-budget=20000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    found = re.search(r'data-seen="([^"]+)"', said.stdout)
    assert found, said.stderr[-2000:]
    console = "\n".join(line for line in said.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(base64.b64decode(found[1])), console


@needs_browser
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_the_whole_page(page: Path, tmp_path: Path, width: int) -> None:
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{PROBE}"), encoding="utf-8")
    seen, console = visit(probed, tmp_path, width)
    assert seen["requests"] == []
    assert seen["blocked"] == []
    assert seen["errors"] == []
    assert console == ""
    images = seen["images"]
    assert isinstance(images, list)
    assert len(images) == page.read_text(encoding="utf-8").count("<img ") >= 5
    assert all(status == "fulfilled" and wide > 100 and high > 100 for status, wide, high in images)
    assert seen["wide"] <= seen["window"]  # type: ignore[operator]  # nothing sticks out sideways


@needs_browser
def test_the_probe_sees_what_is_wrong(page: Path, tmp_path: Path) -> None:
    (policy,) = re.findall(r"<meta http-equiv[^>]*>", page.read_text(encoding="utf-8"))
    wrong = (
        '<img src="http://127.0.0.1:9/a.png"><img src="data:image/svg+xml;base64,AAAA"><i style="padding: 900px"></i>'
    )
    probed = page.with_name("wrong.html")
    probed.write_text(f"<!DOCTYPE html><html><head>{PROBE}{policy}</head><body>{wrong}</body></html>", encoding="utf-8")
    seen, console = visit(probed, tmp_path, 800)
    assert seen["blocked"] == ["http://127.0.0.1:9/a.png"]
    assert len(seen["errors"]) == 2  # type: ignore[arg-type]
    assert "Content Security Policy" in console
    assert [status for status, *_ in seen["images"]] == ["rejected", "rejected"]  # type: ignore[attr-defined]
    assert seen["wide"] > seen["window"]  # type: ignore[operator]
