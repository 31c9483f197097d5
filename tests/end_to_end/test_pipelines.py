"""The notebooks of `pipelines/`: every cell runs on a store, from first to last."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from crackdask import analyse

mpl.use("agg")
FOLDER = Path(__file__).parents[2] / "pipelines"


def cells(name: str) -> list[tuple[int, str, bool]]:
    """Return the cells of a notebook: line, text, and whether it is code."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    starts = [m.start() for m in re.finditer(r"^# %%", text, re.MULTILINE)]
    parts = [text[a:b] for a, b in zip([0, *starts], [*starts, len(text)], strict=True)]
    lines = [text[:a].count("\n") for a in [0, *starts]]
    return [(n, part, "[markdown]" not in part.partition("\n")[0]) for n, part in zip(lines, parts, strict=True)]


def execute(name: str) -> dict[str, object]:
    """Run the cells of a notebook one after the other, and return what they defined."""
    known: dict[str, object] = {"__name__": "__main__"}
    for line, text, code in cells(name):
        if code:
            exec(compile("\n" * line + text, str(FOLDER / name), "exec"), known)
    return known


@pytest.fixture(autouse=True)
def _on_a_small_store(whole_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import matplotlib.pyplot as plt

    monkeypatch.setenv("CRACKDASK_STORE", str(whole_store))
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")


def test_selecting_particles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = execute("particles.py")
    particles, chosen = known["particles"], known["round_and_large"]
    assert isinstance(particles, xr.Dataset)
    assert isinstance(chosen, xr.Dataset)
    first = particles.isel(state=0)
    radius = first.equivalent_diameter_um / 2
    wanted = first.tracked & (radius > np.median(radius[first.tracked])) & (first.sphericity > 0.8)
    assert 0 < int(wanted.sum()) < int(first.tracked.sum())
    assert chosen.particle.values.tolist() == particles.particle.values[wanted].tolist()
    assert f"{particles.sizes['particle']} particles, {int(first.tracked.sum())} tracked" in capsys.readouterr().out
    written = pd.read_csv(tmp_path / "selection.csv")
    assert len(written) == chosen.sizes["particle"] * chosen.sizes["state"]


def test_damage_of_ones_own(tmp_path: Path) -> None:
    before = set(analyse.DAMAGE_FACTORS)
    try:
        known = execute("damage.py")
    finally:
        for name in set(analyse.DAMAGE_FACTORS) - before:
            del analyse.DAMAGE_FACTORS[name]
    found, worse = known["found"], known["worse"]
    assert isinstance(found, dict)
    assert isinstance(worse, dict)
    assert list(found) == known["names"] == list(worse)
    lost = found["whole_darkening"].damage
    assert not lost[0].any()
    assert float(np.abs(lost[1:]).max()) > 1
    painted = np.asarray(zarr.open_array(tmp_path / "painted" / "core_contrast.ome.zarr" / "0", mode="r"))
    assert set(np.unique(painted[np.isfinite(painted)])) == set(
        np.unique(found["core_contrast"].damage.values.astype(np.float32))
    )
    windows = known["windows"]
    assert isinstance(windows, dict)
    assert all(window.inside.any() for window in windows.values())
    cracks = known["cracks"]
    assert isinstance(cracks, dict)
    assert any(one.crack.any() for one in cracks.values())


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")))
def test_notebooks_read_well(name: str) -> None:
    found = cells(name)
    text = sum(not code for _, _, code in found)
    assert text >= 5
    for line, part, code in found:
        code_lines = [row for row in part.splitlines() if row.strip() and not row.startswith("#")]
        assert not code or len(code_lines) <= 16, f"{name}:{line} is a long cell"
