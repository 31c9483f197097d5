"""Phase retrieval within a run: it undoes what the distance did, and blocks, slabs and notebooks have the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from scipy.ndimage import gaussian_filter

import crackdask
from crackdask.engine.checkpoints import Work
from crackdask.engine.scans import Scans
from crackdask.phantom.projected_scans import write_projections
from crackdask.recipe.recipe import RecipeError, check
from crackdask.schema import UnitKey
from crackdask.steps import projection_slabs
from crackdask.steps.reconstruct import COUNTED
from crackdask.steps.reconstruct_parameters import PhaseParams
from tests.support.projected import PROJECTED, content, run_recipe

#: A low pass of a length of about a pixel.
PHASE = {"delta_beta": 200.0, "energy_kev": 25.0, "distance_mm": 2.0, "pixel_um": 1.0}


def behind(transmission: np.ndarray, weight: float) -> np.ndarray:
    """Return projections as they are seen at a distance (transport of intensity), image by image."""
    wide = np.pad(transmission.astype(float), ((0, 0), (40, 40), (40, 40)), mode="edge")
    squares = [np.fft.fftfreq(n) ** 2 for n in wide.shape[1:]]
    lines = np.fft.fft2(wide) * (1 + weight * (squares[0][:, None] + squares[1]))
    return np.fft.ifft2(lines).real[:, 40:-40, 40:-40].astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return counts with zingers and full pixels, and transmissions of the same as they are and at a distance."""
    folder = tmp_path_factory.mktemp("phase")
    write_projections(PROJECTED, folder)
    with h5py.File(folder / "scans" / "pristine.nxs", "r+") as file:
        data, key = file["entry/instrument/detector/data"], file["entry/instrument/detector/image_key"][...]
        frames = data[...]
        first = np.flatnonzero(key == 0)[0]
        frames[first + 50, 4, 30] = frames[first + 63, 7, 33] = 64_000
        frames[first + 64, 3, 20:23] = 65_535
        data[...] = frames
    flat, dark = (frames[key == kind].mean(axis=0) for kind in (1, 2))
    beam = flat - dark
    beam[beam < 1000] = np.median(beam)
    # Smooth, as what light at a distance can show: no noise, and no pixel unlike its neighbours.
    through = gaussian_filter(np.clip((frames[key == 0] - dark) / beam, 0.05, 1.2), (0, 2, 2)).astype(np.float32)
    np.save(folder / "near.npy", through)
    np.save(folder / "far.npy", behind(through, PhaseParams(**PHASE).weight))
    return folder


def recipe(folder: Path, source: str, **keys: Any) -> dict[str, Any]:
    """Return a recipe of one state."""
    given = {"center": PROJECTED.axis, "rings": "none", "window": "none"}
    if source.endswith(".npy"):
        given |= {"rotation_angle": [0.0, 180.0], "flats": "none", "zingers": False}
    values = content(folder, reconstruct=given | keys)
    values["states"] = [values["states"][0] | {"source": source}]
    return values


def tomogram(folder: Path, store: Path, source: str, cluster: str = "synchronous", **keys: Any) -> np.ndarray:
    assert not run_recipe(recipe(folder, source, **keys), folder, store, cluster, "reconstruct").failures
    return np.asarray(zarr.open_array(str(Work.beside(store).volume("tomogram", 0)))[...])


def test_it_undoes_what_the_distance_did(folder: Path, tmp_path: Path) -> None:
    wanted = tomogram(folder, tmp_path / "near.zarr", "near.npy")
    blind = tomogram(folder, tmp_path / "blind.zarr", "far.npy")
    found = tomogram(folder, tmp_path / "far.zarr", "far.npy", phase=PHASE)
    spread = wanted.std()
    error = {name: np.sqrt(np.mean((image - wanted) ** 2)) for name, image in (("blind", blind), ("found", found))}
    assert error["blind"] > 0.1 * spread
    assert error["found"] < 0.1 * error["blind"]  # what is left comes from the edges of the frames


@pytest.mark.parametrize(("rows", "frames", "cluster"), [(1, 3, "synchronous"), (7, 17, "local")])
def test_blocks_of_frames_and_slabs_of_rows_do_not_show(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, frames: int, cluster: str
) -> None:
    wanted = tomogram(folder, tmp_path / "whole.zarr", "scans/pristine.nxs", phase=PHASE, rings="column")
    monkeypatch.setattr(projection_slabs, "MOST_ROWS", rows)
    monkeypatch.setattr(projection_slabs, "MOST_FRAMES", frames)
    store, keys = tmp_path / "cut.zarr", {"phase": PHASE, "rings": "column"}
    np.testing.assert_array_equal(tomogram(folder, store, "scans/pristine.nxs", cluster, **keys), wanted)
    np.testing.assert_array_equal(flaws_of(tmp_path / "cut.zarr"), flaws_of(tmp_path / "whole.zarr"))


def flaws_of(store: Path) -> np.ndarray:
    _, result = Work.beside(store).result(UnitKey("reconstruct", 0)) or ("", {})
    return result["flaws"]


def test_a_notebook_has_the_bits_of_a_run(folder: Path, tmp_path: Path) -> None:
    wanted = tomogram(folder, tmp_path / "run.zarr", "scans/pristine.nxs", phase=PHASE)
    keys = recipe(folder, "scans/pristine.nxs", phase=PHASE)["reconstruct"]
    found = crackdask.reconstruct(folder / "scans" / "pristine.nxs", **keys)
    np.testing.assert_array_equal(found[5:12].values, wanted[5:12])
    assert wanted[5:12].any()


def test_a_low_pass_that_passes_all_leaves_the_tomogram_and_what_was_flawed(folder: Path, tmp_path: Path) -> None:
    """Flats, darks, zingers, dead and full pixels are seen to before the filter as they are without it."""
    stores, source = [tmp_path / "plain.zarr", tmp_path / "phase.zarr"], "scans/pristine.nxs"
    plain = tomogram(folder, stores[0], source, angles="all")
    passed = tomogram(folder, stores[1], source, angles="all", phase=PHASE | {"distance_mm": 1e-6})
    np.testing.assert_allclose(passed, plain, atol=2e-5)
    np.testing.assert_array_equal(flaws_of(stores[1]), flaws_of(stores[0]))
    flaws = dict(zip(COUNTED, flaws_of(stores[0]).sum(axis=0).tolist(), strict=True))
    assert flaws["zingers"] >= 2
    assert flaws["saturated"] >= 3
    assert flaws["dead"] >= 20


def test_what_is_missing_or_does_not_fit_is_told(folder: Path) -> None:
    half = {name: value for name, value in PHASE.items() if name != "delta_beta"}
    with pytest.raises(RecipeError, match=r"reconstruct\.phase\.delta_beta: missing"):
        check(recipe(folder, "near.npy", phase=half))
    with pytest.raises(RecipeError, match=r"reconstruct\.phase\.energy_kev"):
        check(recipe(folder, "near.npy", phase=PHASE | {"energy_kev": 0.0}))
    plain, said = (
        Scans.of(check(recipe(folder, "near.npy", **keys)), folder)
        for keys in ({}, {"phase": PHASE | {"pixel_um": 2.0}})
    )
    assert [words for words in said.doubts() if "pixel_um is 2" in words]
    assert not [words for words in plain.doubts() if "pixel_um" in words]
    assert "phase" not in plain.recipe.reconstruct.deciding()  # type: ignore[union-attr]
    (wide,), (thin,) = said.projected, plain.projected
    assert wide.seconds > thin.seconds
    assert set(wide.pass_bytes) == {"phase", "slices"}
