"""Scans that are dark about their axis: flattened on request, told of, drawn, and the same for any blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crackdask
from crackdask import analyse, figures
from crackdask.analysis.findings import of_store
from crackdask.engine.executors import Serial
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.phantom import Alterations, Phantom, write
from crackdask.phantom.cell_states import states
from crackdask.recipe.recipe import Recipe, load
from tests.support.compared import Compared, compared_with_truth
from tests.support.experiment import CUT, Experiment, differences, whole
from tests.support.experiment import load as arrays_of
from tests.support.silence import Silent
from tests.support.tiny import Tiny

CUPPED = Phantom((72, 120, 120), states=states(2), seed=1, alterations=Alterations(cupping=(0.0, 0.05)))
RINGED = Phantom((72, 120, 120), states=states(2), seed=2, alterations=Alterations(rings=0.1))
SMALL = Phantom(
    shape=(41, 59, 67), states=states(2), seed=3, dtype="uint16", max_shift=2.0, radius_median=6.0,
    radius_range=(4.0, 9.0), alterations=Alterations(cupping=(0.03, 0.08)),
)  # fmt: skip


def compared(folder: Path, phantom: Phantom, **grey: Any) -> Compared:
    """Run a phantom, its scans written once, and hold it against its truth."""
    path = folder / "recipe.toml"
    recipe = load(path if path.exists() else write(phantom, folder))
    changed = Recipe.model_validate({**recipe.model_dump(by_alias=True), "grey": grey})
    store = folder / f"store-{'-'.join(grey)}.zarr"
    outcome = Run(Scans.of(changed, folder), store, Serial(), Silent())(None)
    assert not outcome.failures
    return compared_with_truth(store, phantom)


def scores(seen: Compared) -> tuple[float, float, float, float]:
    """Return of the change: median bias, slope, share covered, and scatter."""
    found, true = (analyse.changes(each, since="pristine").isel(state=0) for each in (seen.found, seen.true))
    change, really, error = found.change.values, true.change.values, found.standard_error.values
    wrong = change - really
    covered = float((np.abs(wrong) <= 1.96 * error).mean())
    return float(np.median(wrong)), float(np.polyfit(really, change, 1)[0]), covered, float(wrong.std())


@pytest.fixture(scope="module")
def cupped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Compared, Compared, Path]:
    folder = tmp_path_factory.mktemp("cupped")
    return compared(folder, CUPPED), compared(folder, CUPPED, flatten=True), folder / "store-flatten.zarr"


def test_flattening_makes_changes_right_and_is_noted(cupped: tuple[Compared, Compared, Path]) -> None:
    as_it_is, flat, _ = cupped
    assert [each.state for each in as_it_is.findings if each.code == "cupping"] == ["4.2 V"]
    codes = {(each.code, each.state): each for each in flat.findings}
    assert not [each for each in flat.findings if each.code in ("cupping", "not-flattened")]
    note = codes["flattened", "4.2 V"]
    assert note.kind.note
    assert 0.03 < note.figure < 0.07
    assert note.limit < 0.01
    before, after = scores(as_it_is), scores(flat)
    assert len(flat.radius) >= 50
    assert abs(after[0]) < 0.004
    assert after[1] == pytest.approx(1, abs=0.05)
    assert after[2] >= 0.9
    assert after[3] < 0.75 * before[3], "particles at the rim and at the axis are measured alike"


def test_what_was_taken_off_is_kept_and_drawn(cupped: tuple[Compared, Compared, Path]) -> None:
    tree = crackdask.open(cupped[2])
    found = tree.attrs["found"]
    field = found["flat_field"]["4.2 V"]
    solid = dict(zip(field["terms"], field["solid"], strict=True))
    level = field["to"][1]
    # Cupping of 5% along a parabola that ends in the corners: half of it along either axis.
    assert solid["y y"] / level == pytest.approx(0.025, abs=0.005)
    assert solid["x x"] / level == pytest.approx(0.025, abs=0.005)
    assert abs(solid["z z"]) / level < 0.005
    across = found["across_scan"]["4.2 V"]
    before, after = (np.ptp(np.array(across[when]["y"], float)) for when in ("before", "after"))
    assert after < 0.3 * before
    assert len(figures.levels_across_scan(tree).axes) == 6


def test_errors_count_rings(tmp_path: Path) -> None:
    seen = compared(tmp_path, RINGED)
    assert set(seen.found_of_run["rings"]) == {"pristine", "4.2 V"}
    assert len(seen.radius) >= 50
    bias, slope, covered, _ = scores(seen)
    assert abs(bias) < 0.004
    assert slope == pytest.approx(1, abs=0.08)
    assert covered >= 0.9
    bare = crackdask.open(tmp_path / "store-.zarr")
    bare.attrs["found"] = {name: each for name, each in bare.attrs["found"].items() if name != "rings"}
    without, with_rings = (analyse.damage(tree).scan_error for tree in (bare, crackdask.open(tmp_path / "store-.zarr")))
    assert (with_rings >= without).all()
    assert float((with_rings / without).median()) > 1.15


def test_blocks_do_not_show_in_flattened_scans(tmp_path: Path) -> None:
    experiment = Experiment.make(tmp_path, SMALL)
    stores = []
    for name, compute in (("whole", whole(SMALL)), ("cut", {**CUT, "keep_intermediate": False})):
        outcome, _ = experiment.run(tmp_path / f"{name}.zarr", compute, grey={"flatten": True})
        assert not outcome.failures
        stores.append(tmp_path / f"{name}.zarr")
    assert {each.code for each in of_store(crackdask.open(stores[0]).attrs)} >= {"flattened"}
    one, other = (arrays_of(store) for store in stores)
    assert differences(one, other) == []
    outcome, _ = experiment.run(tmp_path / "even.zarr", whole(SMALL))
    assert not outcome.failures
    assert (arrays_of(tmp_path / "even.zarr")["volumes"].grey.values != one["volumes"].grey.values).mean() > 0.2


def test_a_scan_with_too_little_to_tell_its_trend_is_measured_as_it_is(tiny: Tiny) -> None:
    shape = tiny.scan(0).shape
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    ball = sum((g - c) ** 2 for g, c in zip(grid, (10, 13, 22), strict=True)) <= 5.0**2
    for number, name in enumerate("ab"):
        voxels = np.where(ball, 3000.0, 1000.0) + np.random.default_rng(number).normal(0, 120, shape)
        tiny.write_slices(tiny.folder / "scans" / name, voxels.astype(np.uint16))
    tiny.change("grey", flatten=True, normalise="none")
    said = tiny.run()
    assert said.code == 0, said.err
    tree = crackdask.open(tiny.store)
    told = [(each.code, each.state) for each in of_store(tree.attrs) if each.code == "not-flattened"]
    assert told == [("not-flattened", "pristine"), ("not-flattened", "4.2 V")]
    assert "flat_field" not in tree.attrs["found"]
    asked = tiny.contents(tiny.store)
    tiny.change("grey", flatten=False)
    assert tiny.run().code == 0
    np.testing.assert_array_equal(tiny.contents(tiny.store)["volumes/grey"], asked["volumes/grey"])
