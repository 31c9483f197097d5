"""What surrounds a command: locales without accents, a Python that optimises, outputs that cannot be written, pipes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from tests.support.tiny import Tiny

ROOT = Path(__file__).parents[2]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}


def shell(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which $CRACKDASK is the command."""
    command = f'"{sys.executable}" -m crackdask'
    there = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    whole = line.replace("$CRACKDASK", command)
    return subprocess.run(["bash", "-c", whole], cwd=folder, env=there, capture_output=True, check=False, timeout=300)


def test_a_locale_without_accents(tiny: Tiny) -> None:
    tiny.content["experiment"]["name"] = "naïve"
    tiny.content["states"] = [{**tiny.content["states"][0], "name": "é"}]
    ended = shell(
        tiny.folder,
        f"$CRACKDASK run {tiny.recipe.name} --store out.zarr --cluster synchronous && $CRACKDASK status out.zarr && "
        "$CRACKDASK export out.zarr --table particles --format csv --to tables",
        **ASCII,
    )
    assert ended.returncode == 0, ended.stderr
    assert rb"\xe9" in ended.stdout
    ended.stdout.decode("ascii")
    assert xr.open_zarr(tiny.store, group="particles").state.values.tolist() == ["é"]
    assert "é" in (tiny.folder / "tables" / "particles.csv").read_text(encoding="utf-8")
    ended = shell(tiny.folder, "$CRACKDASK export out.zarr --labels", **ASCII)
    assert ended.returncode == 2
    assert b"PYTHONUTF8=1" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_python_without_docstrings_is_refused(tiny: Tiny) -> None:
    ended = shell(tiny.folder, f"$CRACKDASK check {tiny.recipe.name}", PYTHONOPTIMIZE="2")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: ")
    assert b"PYTHONOPTIMIZE" in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["status STORE", "status STORE --json"])
def test_an_output_that_cannot_be_written_is_not_the_disk_of_the_store(finished: Tiny, command: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    ended = shell(finished.folder, f"$CRACKDASK {command.replace('STORE', finished.store.name)} > /dev/full")
    assert ended.returncode == 1
    assert ended.stderr == b"error: standard output cannot be written: No space left on device\n"


def test_a_reader_that_goes_wants_no_words(finished: Tiny) -> None:
    ended = shell(finished.folder, f"$CRACKDASK status {finished.store.name} | true; exit ${{PIPESTATUS[0]}}")
    assert ended.returncode == 1
    assert ended.stderr == b""


@pytest.mark.parametrize("option", ["RECIPE", "--cluster-config"])
def test_a_recipe_that_is_a_pipe_is_not_waited_for(tiny: Tiny, option: str) -> None:
    os.mkfifo(tiny.folder / "pipe.toml")
    pipe = tiny.folder / "pipe.toml"
    words = [pipe] if option == "RECIPE" else [tiny.recipe, "--cluster-config", pipe]
    said = tiny.crackdask("run", *words, "--store", tiny.store)
    assert said.code == 2
    assert "pipe.toml is a named pipe, wanted a file" in said.err


def test_a_home_that_nobody_has(tiny: Tiny) -> None:
    tiny.content["states"][1]["source"] = "~nobody-of-this-name/scan"
    said = tiny.crackdask("check", tiny.recipe)
    assert said.code == 2
    assert "states[1].source (4.2 V): ~nobody-of-this-name/scan: " in said.err
    tiny.content["states"][1]["source"] = "scans/b"
    site = tiny.folder / "site.toml"
    site.write_text('folder = "~nobody-of-this-name/run"')
    said = tiny.run("--cluster-config", str(site))
    assert said.code == 2
    assert "~nobody-of-this-name" in said.err
    assert not shutil.rmtree(tiny.folder / "~nobody-of-this-name", ignore_errors=True)
