"""Cracks: planted volumes, the table whatever the blocks, and what is refused."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import ndimage

import crackdask
from crackdask import figures
from crackdask.analysis.cracks import TRACED, cracks_of, table
from crackdask.analysis.parameters import AnalysisError
from crackdask.analysis.solid_grey import solid
from crackdask.engine import crack_table as tracing
from crackdask.engine.checkpoints import Work
from crackdask.engine.crack_table import write_cracks
from crackdask.engine.executors import Executor, Serial, Threads
from crackdask.kernels import crack_skeleton
from crackdask.storage.bucket import Prefix
from crackdask.store.root import set_attributes
from tests.support.bucket import assert_alike, upload
from tests.support.pictured import faults, texts
from tests.support.silence import Silent
from tests.support.tabled import VOXEL_UM, balls, replaced, tables
from tests.support.tiny import Tiny
from tests.support.tiny import crackdask as command

UNIT = (1, 1, 1), 1


EDGES = (0.5, 0.5, 0.5)


SHAPE = (36, 60, 84)


RADII = (12.0, 9.5, 11.0, 10.0, 8.0)


CENTRES = ((17, 16, 16), (18, 44, 15), (17, 17, 45), (17, 44, 42), (18, 30, 68))


# ---------------------------------------------------------------- void by partial volume


def test_void_volume_of_planted_tables_and_its_error():
    """Uncracked particles have about 0, cracked ones what was planted, with a rim and noise on."""
    rng = np.random.default_rng(8)
    radii, noise, void_grey = rng.uniform(8, 16, 500), 6.0, 60.0
    voxels = balls(radii, 5)
    shell = np.arange(voxels.shape[2] + 1)
    core = 2 * shell[1:] > np.floor(radii)[:, None]
    own = 150 + rng.normal(0, 1.0, radii.size)
    rim = 36 * crack_skeleton.rim_shape(shell.size, np.cbrt(voxels[0].sum(axis=1) * 3 / 4 / np.pi), 2.0)[:, 1:]
    void = np.zeros((5, radii.size))
    void[1:] = rng.uniform(0.02, 0.2, (4, radii.size))
    grey = own[:, None] + rim - np.where(core, void[..., None] * (own[:, None] - void_grey), 0)
    grey = grey + rng.normal(0, 1, grey.shape) * noise / np.sqrt(np.maximum(voxels, 1))
    found = solid(tables(voxels, grey, noise=noise))
    planted = void * np.where(core, voxels, 0).sum(axis=2) * VOXEL_UM**3
    volume, error = found.crack_volume_partial_um3.values, found.crack_volume_partial_error_um3.values
    np.testing.assert_allclose(volume[1:].sum(axis=1), planted[1:].sum(axis=1), rtol=0.02)
    assert abs(volume[0].sum()) < 0.02 * planted[1].sum()
    assert np.mean(np.abs(volume - planted) < 2 * error) > 0.88
    assert found.attrs["rim_spread"] == pytest.approx(2.0, abs=0.25)
    assert (found.solid_grey.values.std(axis=1) > 0.6).all(), "the levels are the particles' own"
    dark = tables(voxels, 255 - grey, noise=noise, found={"noise": noise, "background": 255 - void_grey})
    np.testing.assert_allclose(solid(dark).crack_volume_partial_um3, volume, atol=0.2)


def test_a_void_among_the_solid_levels_is_refused():
    voxels = balls(np.linspace(8, 12, 30), 5)
    with pytest.raises(AnalysisError, match=r"of a void, 200 \(given\), is not outside those .*give void_grey"):
        solid(tables(voxels, 200 + 0 * voxels), void_grey=200)


# ---------------------------------------------------------------- a store with planted cracks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished store of five balls; in the second state, two rods of void cross in their inner halves."""
    made = Tiny(tmp_path_factory.mktemp("cracks"))
    grid = np.indices(SHAPE)
    rng = np.random.default_rng(4)
    for state, name in enumerate("ab"):
        density = np.zeros(SHAPE)
        for centre, radius in zip(CENTRES, RADII, strict=True):
            away = [g - c for g, c in zip(grid, centre, strict=True)]
            square = sum(a * a for a in away)
            density[square <= radius**2] = 1
            if state:
                near = [np.abs(a) <= 1 for a in away]
                density[(square <= (0.42 * radius) ** 2) & near[0] & (near[1] | near[2])] = 0
        voxels = 1000 + 2000 * ndimage.gaussian_filter(density, 0.6) + rng.normal(0, 120, SHAPE)
        made.write_slices(made.folder / "scans" / name, voxels.astype(np.uint16))
        if state:
            np.save(made.folder / "density.npy", density)
    made.content |= {"labels": {"max_radius": 16}, "compute": {"chunk": list(SHAPE), "block": list(SHAPE)}}
    said = made.run()
    assert said.code == 0, said.err
    return made


@pytest.fixture
def copy(store: Tiny, tmp_path: Path) -> Path:
    shutil.copytree(store.store, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


def written(path: Path, executor: Executor | None = None, states: Sequence[str] = (), **more: Any) -> xr.Dataset:
    write_cracks(path, executor or Serial(), Silent(), states, **more)
    return table(crackdask.open(path)).load()


def test_planted_cracks_are_found(store: Tiny, copy: Path) -> None:
    found = written(copy)
    tree = crackdask.open(copy)
    label = tree["volumes"].label.isel(state=1).values
    density = np.load(store.folder / "density.npy")
    true = np.array([(1 - density)[label == i].sum() for i in found.particle.values])
    inner = np.array([((1 - density) * _core(label == i)).sum() for i in found.particle.values]) * 0.5**3
    assert found.sizes["particle"] == 5
    assert (true > 30).all()
    cracked, before = found.isel(state=1), found.isel(state=0)
    assert float(cracked.crack_volume_partial_um3.sum()) == pytest.approx(inner.sum(), rel=0.1)
    assert abs(float(before.crack_volume_partial_um3.sum())) < 0.05 * inner.sum()
    assert int(before.crack_voxels.sum()) < 0.01 * int(cracked.crack_voxels.sum())
    assert int((cracked.skeleton_length_um > 4).sum()) >= 3  # rods of 8 voxels and more, 0.5 um each
    assert (cracked.thickness_max_um <= 5).all()
    for name, column in found.variables.items():
        assert {"units", "long_name"} <= set(column.attrs), name


def _core(mine):
    depth = np.rint(ndimage.distance_transform_edt(np.pad(mine, 1))[1:-1, 1:-1, 1:-1])
    return 2 * depth > depth.max()


@pytest.mark.parametrize(
    ("block", "together", "executor"),
    [((9, 14, 17), 5, Serial()), ((64, 64, 64), 1, Threads(3)), ((36, 30, 40), 3, Threads(2))],
)
def test_blocks_and_workers_do_not_show(
    copy: Path, block: tuple[int, int, int], together: int, executor: Executor
) -> None:
    tree = crackdask.open(copy)
    levels = solid(tree).load()
    parts = list(tracing.crack_blocks(copy, tree, levels, 1, block))
    assert sum(part.rows.size for part in parts) == 5
    assert len(parts) == together
    found = written(copy, executor, block=block)
    for state, particle in product(found.state.values, found.particle.values.tolist()):
        alone = cracks_of(tree, particle, str(state))
        row = found.sel(state=state, particle=particle)
        for name in (*TRACED, "solid_grey", "crack_volume_partial_um3"):
            np.testing.assert_array_equal(float(row[name]), float(alone.attrs[name]), err_msg=name)
        assert int(alone.crack.sum()) == int(row.crack_voxels)
        assert bool(((alone.thickness_um > 0) == alone.skeleton).all())


def test_figures_of_planted_cracks(store: Tiny) -> None:
    tree = crackdask.open(store.store)
    numbers = figures.cracks.collect_cracks(tree, states=["pristine", "4.2 V"])
    volume = solid(tree).crack_volume_partial_um3
    assert numbers.particle == int((volume.max("state") - volume.min("state")).idxmax())
    alone = cracks_of(tree, numbers.particle, "4.2 V")
    assert int(numbers.crack[1].sum()) == alone.attrs["crack_voxels"] > 30
    assert np.count_nonzero(numbers.thickness_um[1]) == alone.attrs["skeleton_voxels"] > 4
    for draw in (figures.cracks.draw_crack_surface, figures.cracks.draw_crack_skeleton):
        for some in (numbers, numbers.isel(z=[numbers.sizes["z"] // 2])):  # also of a particle one voxel thin
            made = draw(some)
            FigureCanvasAgg(made).draw()
            made.set_layout_engine("none")
            assert faults(made) == []
            bare, cracked = ([len(axes.collections) for axes in made.axes])[:2]
            assert cracked > bare == 1  # the particle alone
    seen = " ".join(text.get_text() for text in texts(made))
    assert f"{float(numbers.skeleton_length_um[1]):.3g} µm" in seen
    assert f"{int(numbers.branch_points[1])} branch point" in seen


def test_states_are_added_kept_and_made_anew(copy: Path) -> None:
    assert write_cracks(copy, Serial(), Silent(), ["4.2 V"]) == (["4.2 V"], [])
    half = table(crackdask.open(copy)).load()
    assert half.computed.values.tolist() == [False, True]
    assert np.isnan(half.crack_volume_um3.sel(state="pristine")).all()
    assert write_cracks(copy, Serial(), Silent()) == (["pristine"], ["4.2 V"])
    both = table(crackdask.open(copy)).load()
    xr.testing.assert_identical(both.sel(state="4.2 V"), half.sel(state="4.2 V"))
    assert write_cracks(copy, Serial(), Silent(), crack_threshold=0.4)[0] == ["pristine", "4.2 V"]
    fewer = table(crackdask.open(copy)).load()
    assert 0 < int(fewer.crack_voxels.sum()) < int(both.crack_voxels.sum())
    steps = dict(crackdask.open(copy).attrs["steps"])
    set_attributes(copy, {"steps": {**steps, "track-0": {**steps["track-0"], "fingerprint": "another"}}})
    with pytest.raises(AnalysisError, match="the store was run again since: `crackdask cracks STORE` makes it"):
        table(crackdask.open(copy))
    assert write_cracks(copy, Serial(), Silent(), ["pristine"])[0] == ["pristine"]


KILLED = """
import os, signal, sys
from pathlib import Path
from crackdask.engine import crack_table as tracing
from crackdask.engine import table_writer as tables
from crackdask.engine.executors import Serial
from tests.support.silence import Silent
class Dying(tables.CracksWriter):
    def write(self, state, columns):
        if state == int(sys.argv[2]):
            tables.flush_all = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
        super().write(state, columns)
tracing.CracksWriter = Dying
tracing.write_cracks(Path(sys.argv[1]), Serial(), Silent())
"""


@pytest.mark.parametrize("state", [0, 1])
def test_killed_while_a_state_is_written(store: Tiny, copy: Path, state: int) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, copy, str(state)], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = xr.open_zarr(copy, group="cracks").computed.values
    assert there.tolist() == [state > 0, False]
    for group in ("particles", "shells"):
        xr.testing.assert_identical(
            xr.open_zarr(copy, group=group).load(), xr.open_zarr(store.store, group=group).load()
        )
    assert command("status", copy).code == 0
    done, kept = write_cracks(copy, Serial(), Silent())
    assert (len(done), len(kept)) == (2 - state, state)
    whole = copy.with_name("again.zarr")
    shutil.copytree(store.store, whole)
    xr.testing.assert_identical(table(crackdask.open(copy)).load(), written(whole))


# ---------------------------------------------------------------- the command, and what is refused


def test_the_command(copy: Path) -> None:
    said = command("cracks", copy, "--cluster", "synchronous", "--state", "4.2 V")
    assert said.code == 0, said.err
    assert "1 state done" in said.out
    assert "void: by partial volume" in " ".join(said.out.split())
    again = command("cracks", copy, "--cluster", "synchronous", "--state", "4.2 V")
    assert "nothing to do" in again.out


def test_nothing_is_not_told_as_less(finished: Tiny, tmp_path: Path) -> None:
    shutil.copytree(finished.store, tmp_path / "copy.zarr")
    said = command("cracks", tmp_path / "copy.zarr", "--cluster", "synchronous")
    assert float(table(crackdask.open(tmp_path / "copy.zarr")).crack_volume_partial_um3.sum("particle").min()) < 0
    assert " 0 " in said.out
    assert " -0 " not in said.out


def test_the_table_in_a_bucket_is_the_table_on_a_disk(copy: Path, bucket: Prefix) -> None:
    there = upload(copy, bucket / "copy.zarr")
    for words in (["--state", "4.2 V"], [], ["--threshold", "0.4"]):
        for store in (copy, there):
            said = command("cracks", str(store), "--cluster", "synchronous", *words)
            assert said.code == 0, said.err
        assert_alike(there, copy)
        assert int(table(crackdask.open(str(there))).crack_voxels.sum()) > 30
    assert "nothing to do" in command("cracks", str(there), "--cluster", "synchronous", "--threshold", "0.4").out
    assert [found for found in there.with_name("copy.zarr.work").files() if found.name == "lock"] == []


def test_a_mistake_is_told_before_workers_start(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr("crackdask.cluster.launch.connect", started)
    for words, error in (
        (("--state", "5 V"), "no state is named '5 V'; there are pristine, 4.2 V"),
        (("--threshold", "1.5"), "crack_threshold"),
    ):
        said = command("cracks", copy, *words)
        assert said.code == 2, said.out
        assert error in said.err
    set_attributes(copy, {"complete": False})
    assert "the run of this store is not finished" in command("cracks", copy).err


def test_what_is_refused(copy: Path) -> None:
    def refused(*words: str) -> str:
        said = command("cracks", copy, "--cluster", "synchronous", *words)
        assert said.code == 2, said.out
        return said.err

    assert "no state is named '5 V'; there are pristine, 4.2 V" in refused("--state", "5 V")
    assert "crack_threshold" in refused("--threshold", "1.5")
    with Work.beside(copy).held():
        assert "another run is writing this store" in refused()
    set_attributes(copy, {"complete": False})
    assert "the run of this store is not finished" in refused()
    assert not (copy / "cracks").exists()
    shutil.rmtree(copy)
    assert "there is no store" in refused()


def test_particles_that_are_not_there(copy: Path) -> None:
    tree = crackdask.open(copy)
    with pytest.raises(AnalysisError, match="no particle 6; labels go from 1 to 5"):
        cracks_of(tree, 6, "pristine")
    with pytest.raises(AnalysisError, match=r"no state '5 V'; there are pristine, 4\.2 V"):
        cracks_of(tree, 1, "5 V")
    with pytest.raises(AnalysisError, match="no table of cracks yet"):
        table(tree)
    gone = tree["shells"].to_dataset().load().copy(deep=True)
    gone.voxels[1, 2], gone.grey_sum[1, 2] = 0, 0
    with pytest.raises(AnalysisError, match=r"particle 3 is absent in state '4\.2 V'"):
        cracks_of(replaced(tree, shells=gone), 3, "4.2 V")
