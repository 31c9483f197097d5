"""The command `explore`: what it says, how it ends, what it refuses."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.support.tiny import Tiny, crackdask


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_asked_to_stop(finished: Tiny, ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "crackdask", "explore", str(finished.store), "--no-browser", "--port", "0"]
    command += ["--particle", "2", "--show", "#solid=all&plane=yz"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            link = next(line.strip() for line in server.stdout if "token=" in line)
            assert link.endswith("#particle=2&solid=all&plane=yz")
            page = link.partition("#")[0]
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            with browser.open(page, timeout=60) as answer:
                assert answer.url == page.partition("?")[0]  # the token has gone from the address
                assert b'<canvas id="view"' in answer.read()
            with browser.open(f"{answer.url}api/column?column=damage.damage&state=0", timeout=60) as answer:
                assert len(answer.read()) == 4 * 4
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(page.partition("?")[0], timeout=60)
            refused.value.close()
            server.send_signal(ending)
            said, wrong = server.communicate(timeout=60)
        finally:
            server.kill()
    assert server.returncode == 0
    assert said.strip().endswith("closed")
    assert wrong == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "is not this machine alone"),
        (["--keyfile", "key.pem"], "give --certfile too"),
        (["--certfile", "no.pem"], "--certfile: there is no file no.pem"),
    ],
)
def test_what_cannot_be_served_is_refused(finished: Tiny, words: list[str], said: str) -> None:
    found = crackdask("explore", finished.store, "--no-browser", *words)
    assert found.code == 2
    assert said in found.err


def test_without_a_store_the_way_out_is_told(tmp_path: Path) -> None:
    found = crackdask("explore", tmp_path / "none.zarr", "--no-browser")
    assert found.code == 2
    assert "there is no store at" in found.err
    (tmp_path / "folder.zarr").mkdir()
    assert crackdask("explore", tmp_path / "folder.zarr", "--no-browser").code == 2
