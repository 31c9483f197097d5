"""A sample that deforms between its scans, run by the default recipe and held against what is true of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.spatial import cKDTree

import crackdask
from crackdask.analysis.findings import of_store
from crackdask.figures.local_motion import collect_uneven_motion, draw_uneven_motion
from crackdask.phantom import Alterations, Phantom, states, write
from tests.support.shared import made_once
from tests.support.tiny import crackdask as command

PHANTOM = Phantom(
    shape=(72, 104, 112), states=states(3), seed=4, vanishing=0, leaving=0,
    alterations=Alterations(local_motion=(0.0, 2.5, 0.0), swelling=(1.0, 1.0, 1.015), jitter=(0.0, 0.5, 0.0)),
)  # fmt: skip


def run(folder: Path, name: str, *words: str, compute: str = "") -> xr.DataTree:
    recipe = folder / f"{name}.toml"
    recipe.write_text((folder / "recipe.toml").read_text() + f"\n[compute]\nchunk = 24\n{compute}\n")
    said = command("run", recipe, "--store", folder / f"{name}.zarr", "--cluster", *words)
    assert said.code == 0, said.err
    return crackdask.open(str(folder / f"{name}.zarr"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        write(PHANTOM, folder)
        run(folder, "whole", "synchronous", compute="block = [72, 120, 120]")

    return made_once(tmp_path_factory, "deforming", make)


@pytest.fixture(scope="module")
def store(scans: Path) -> xr.DataTree:
    return crackdask.open(str(scans / "whole.zarr"))


def displaced(store: xr.DataTree, state: int) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much the places of tracked particles in a scan are wrong, (n, 3), and their places in the truth."""
    truth, table = PHANTOM.truth(), store["particles"].to_dataset().load()
    centres = np.stack([truth[f"centre_{a}"].values for a in "zyx"], axis=1)
    edge = PHANTOM.voxel_um
    mine = np.stack([table[f"centroid_{a}_um"].values[0] for a in "zyx"], axis=1) / edge - 0.5
    moved = np.stack([table[f"displacement_{a}_um"].values[state] for a in "zyx"], axis=1) / edge
    apart, row = cKDTree(centres).query(np.nan_to_num(mine, nan=-99.0))
    known = (apart < 2) & table.tracked.values[0]
    assert known.sum() > 40
    found = store["transforms"].matrix.values[state][:3, :3] @ moved[known].T
    found += _place(store["transforms"].matrix.values[state], centres[row[known]]).T
    wanted = _place(PHANTOM.matrix(state), centres[row[known]] + truth.displacement.values[state][row[known]])
    return found.T - wanted, row[known]


def _place(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def test_particles_are_found_where_they_went(store: xr.DataTree) -> None:
    for state in (1, 2):
        off = np.sqrt((displaced(store, state)[0] ** 2).sum(axis=1))
        assert np.sqrt((off**2).mean()) < 0.055, state  # 0.061 where particles are taken to be stretched as the scan is
        assert off.max() < 0.15


def test_each_state_gets_what_it_needs_and_says_so(store: xr.DataTree) -> None:
    table = store["transforms"].to_dataset().load()
    assert table.transform.values[2] == "affine"
    assert table.bent.values.tolist() == [False, True, False]
    rigid, _, local = table.chain_residual_voxels.values[1]
    assert local < 0.5 < 0.8 < rigid
    assert np.isfinite(table.displacement_error.values[1]).all()
    assert not table.displacement.values[2].any()
    told = {(each.code, each.state) for each in of_store(store.attrs)}
    assert {("local-motion", "4.2 V"), ("deformed", "4.4 V")} <= told
    assert "pristine" not in {state for _, state in told}


def test_swelling_of_the_whole_is_strain_around_every_particle(store: xr.DataTree) -> None:
    table = store["particles"].to_dataset().load()
    strain = table.volumetric_strain.values[2][table.tracked.values[0]]
    assert strain == pytest.approx(1.015**3 - 1, abs=1e-3)
    error = table.volumetric_strain_error.values[2][table.tracked.values[0]]
    assert (error < 1e-3).all()
    assert not table.volumetric_strain.values[0][table.tracked.values[0]].any()


def test_strain_around_particles_is_within_its_error(store: xr.DataTree) -> None:
    table, (off, row) = store["particles"].to_dataset().load(), displaced(store, 1)
    assert len(off) > 40
    truth = PHANTOM.truth()
    centres = np.stack([truth[f"centre_{a}"].values for a in "zyx"], axis=1)[row]
    steps = np.eye(3)
    slopes = np.stack([PHANTOM.field(1, centres + e)[0] - PHANTOM.field(1, centres - e)[0] for e in steps], axis=-1) / 2
    wanted = np.linalg.det(np.eye(3) + slopes) - 1
    edge = PHANTOM.voxel_um
    mine = np.stack([table[f"centroid_{a}_um"].values[0] for a in "zyx"], axis=1) / edge - 0.5
    _, own = cKDTree(np.nan_to_num(mine, nan=-99.0)).query(centres)
    found, error = (table[name].values[1][own] for name in ("volumetric_strain", "volumetric_strain_error"))
    # Particles that move by themselves, half a voxel, are all that tells.
    assert np.abs(wanted).max() > 0.02
    assert np.sqrt(((found - wanted) ** 2).mean()) < 0.03
    assert (np.abs(found - wanted) < 2 * error).mean() > 0.8


def test_uneven_motion_can_be_drawn(store: xr.DataTree) -> None:
    numbers = collect_uneven_motion(store)
    assert numbers.state.values.tolist() == ["4.2 V"]
    assert float(numbers["size"].max()) > 0.3 * PHANTOM.voxel_um
    assert len(draw_uneven_motion(numbers).axes) == 4


def test_no_block_and_no_worker_shows(scans: Path, store: xr.DataTree) -> None:
    cut = run(scans, "cut", "threads", "--workers", "2", compute="block = [24, 48, 48]")
    for group in ("volumes", "particles", "shells", "histograms", "contacts", "transforms"):
        for name, values in store[group].to_dataset().variables.items():
            np.testing.assert_array_equal(
                cut[group].to_dataset()[name].values, values.values, err_msg=f"{group}/{name}"
            )
