"""What the README has people type in a notebook works, line by line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest

from crackdask.engine.crack_table import write_cracks
from crackdask.engine.executors import Serial
from crackdask.phantom import states
from tests.support.experiment import SMALL, Experiment, whole
from tests.support.silence import Silent

mpl.use("agg")
README = Path(__file__).parents[2] / "README.md"


def test_the_notebook_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    phantom = replace(SMALL, shape=(41, 71, 83), states=states(5), vanishing=0, leaving=0, max_shift=0.0)
    store = tmp_path / "nmc811.zarr"
    outcome, _ = Experiment.make(tmp_path, phantom).run(store, whole(phantom), register={"transform": "none"})
    assert not outcome.failures
    write_cracks(store, Serial(), Silent())
    _, _, section = README.read_text(encoding="utf-8").partition("## In a notebook\n")
    lines = re.findall(r"^    (.*)$", section.partition("\n## ")[0], re.MULTILINE)
    assert lines[0] == "import crackdask"
    assert len(lines) > 20
    known: dict[str, object] = {}
    for line in lines:
        exec(line, known)
    assert (tmp_path / "paths.svg").stat().st_size > 1000
    assert {"whole", "damage", "mask", "label", "table"} <= known.keys()
