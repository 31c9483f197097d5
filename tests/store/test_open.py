"""A finished store in other people's hands: plain xarray and zarr, the DataTree, windows of particles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from scipy import ndimage
from zarr.core.metadata import ArrayV3Metadata

import crackdask
from crackdask import schema
from crackdask.recipe.recipe import check, load
from tests.support.tiny import BALLS, Tiny, assert_same_store
from tests.support.tiny import crackdask as command

GROUPS = {
    "volumes": schema.VOLUMES,
    "particles": schema.PARTICLES,
    "shells": schema.SHELLS,
    "histograms": schema.HISTOGRAMS,
    "contacts": schema.CONTACTS,
    "transforms": schema.TRANSFORMS,
}


@pytest.fixture(scope="module")
def tree(finished: Tiny) -> xr.DataTree:
    return crackdask.open(finished.store)


# ---------------------------------------------------------------- without crackdask


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_opens_with_plain_xarray(finished: Tiny, group: str) -> None:
    found = xr.open_zarr(finished.store, group=group)  # a warning would be an error
    kept = {name: v for name, v in GROUPS[group].items() if name not in ("denoised", "mask")}
    assert set(kept) - set(found.coords) == set(found.data_vars)
    for name, variable in kept.items():
        assert found[name].dims == variable.dims, name
        if variable.dtype != "str":
            assert found[name].dtype == np.dtype(variable.dtype), name
    for name, values in found.variables.items():
        assert set(values.attrs) >= {"units", "long_name"}, name
        assert all(isinstance(values.attrs[key], str) and values.attrs[key] for key in ("units", "long_name"))
    found.load()


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "contacts"])
def test_states_are_coordinates(finished: Tiny, group: str) -> None:
    found = xr.open_zarr(finished.store, group=group)
    assert {"state", "voltage", "step", "cycle"} <= set(found.coords)
    assert [str(name) for name in found.state.values] == ["pristine", "4.2 V"]
    assert found.voltage.values.tolist() == [3.0, 4.2]
    assert [str(step) for step in found.step.values] == ["pristine", "charge"]
    assert found.cycle.values.tolist() == [0, 1]
    assert float(found.sel(state="4.2 V").voltage) == 4.2


def test_other_coordinates(finished: Tiny) -> None:
    volumes = xr.open_zarr(finished.store, group="volumes")
    assert volumes.z.values[:2].tolist() == [0.25, 0.75]
    assert volumes.z.attrs["units"] == "um"
    shells = xr.open_zarr(finished.store, group="shells")
    assert shells.particle.values.tolist() == [1, 2, 3]
    assert shells.shell.values[0] == 1
    histograms = xr.open_zarr(finished.store, group="histograms")
    assert histograms.grey.values.tolist() == list(range(256))
    contacts = xr.open_zarr(finished.store, group="contacts").load()
    assert contacts.sizes["contact"] > 0
    assert (contacts.particle_a < contacts.particle_b).all()
    assert {str(name) for name in contacts.state.values} == {"pristine", "4.2 V"}


def test_the_format_on_disk(finished: Tiny) -> None:
    root = zarr.open_group(str(finished.store), mode="r", use_consolidated=False)
    assert root.metadata.zarr_format == 3
    arrays = {name: array for name, array in root.members(max_depth=None) if isinstance(array, zarr.Array)}
    assert len(arrays) > 60
    for name, array in arrays.items():
        meta = json.loads((finished.store / name / "zarr.json").read_text())
        assert meta["zarr_format"] == 3
        assert meta["codecs"][-1]["name"] == "crc32c", name
        assert isinstance(array.metadata, ArrayV3Metadata)
        assert array.metadata.dimension_names == tuple(meta["dimension_names"])
        if meta["dimension_names"][0] == "state" and len(meta["shape"]) > 1 and not name.startswith("transforms/"):
            assert array.chunks[0] == 1, name
        if name.endswith(("/state", "/step")):
            assert meta["data_type"] == "string"
    for group in ("", *GROUPS):
        meta = json.loads((finished.store / group / "zarr.json").read_text())
        assert meta["consolidated_metadata"]["metadata"], group


def test_root_attributes(finished: Tiny) -> None:
    said: dict[str, Any] = dict(zarr.open_group(str(finished.store), mode="r").attrs)
    assert said["format_version"] == schema.FORMAT_VERSION
    assert said["crackdask_version"] == crackdask.__version__
    assert {"numpy", "dask", "zarr", "python"} <= set(said["libraries"])
    assert said["recipe"]["experiment"]["voxel_um"] == [0.5, 0.5, 0.5]
    assert check(said["recipe"]) == load(finished.folder / "recipe.toml")
    assert set(said["steps"]) >= {"read-0", "grey-1", "labels-0", "transfer-1", "track-0"}
    assert all(set(step) >= {"fingerprint", "seconds"} for step in said["steps"].values())


# ---------------------------------------------------------------- the tree


def test_the_tree_has_every_group_lazily(tree: xr.DataTree, finished: Tiny) -> None:
    assert set(tree.children) == {*GROUPS, "levels", "labels"}
    assert tree["volumes"].grey.chunks is not None
    assert tree["volumes"].grey.sel(state="4.2 V").shape == (20, 28, 32)
    for group in GROUPS:
        xr.testing.assert_identical(tree[group].to_dataset().load(), xr.open_zarr(finished.store, group=group).load())


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no store at .*; `crackdask run RECIPE --store"):
        crackdask.open(tmp_path / "none.zarr")


@pytest.mark.parametrize("state", ["pristine", "4.2 V"])
@pytest.mark.parametrize("particle", [1, 2, 3])
def test_a_window_is_the_volumes(tree: xr.DataTree, particle: int, state: str) -> None:
    found = tree.crackdask.windows(particle, state, margin=3)
    volumes = tree["volumes"].to_dataset().sel(state=state).load()
    inside = (volumes.label == particle).values
    low, high = (np.array(ends) for ends in zip(*((i.min(), i.max() + 1) for i in np.nonzero(inside)), strict=True))
    place = tuple(slice(max(0, a - 3), b + 3) for a, b in zip(low, high, strict=True))
    np.testing.assert_array_equal(found.grey, volumes.grey.values[place])
    np.testing.assert_array_equal(found.inside, inside[place])
    assert (found.grey.dtype, found.inside.dtype) == (np.uint8, bool)
    assert found.z.values.tolist() == volumes.z.values[place[0]].tolist()
    alone = np.pad(inside, 1)
    exact = ndimage.distance_transform_edt(alone, sampling=0.5)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(found.depth_um, exact[place], rtol=1e-12)
    assert float(found.depth_um.max()) == pytest.approx(
        float(tree["particles"].to_dataset().max_depth_um.sel(state=state, particle=particle))
    )
    for variable in found.variables.values():
        assert {"units", "long_name"} <= set(variable.attrs)


def test_a_window_at_the_image_edge_ends_there(tree: xr.DataTree) -> None:
    found = tree.crackdask.windows(1, "pristine", margin=100)
    assert found.grey.shape == tuple(tree["volumes"].sizes[axis] for axis in "zyx")


@pytest.mark.parametrize(
    ("particle", "state", "said"),
    [
        (1, "5 V", "no state '5 V'; there are pristine, 4.2 V"),
        (0, "pristine", "no particle 0; labels go from 1 to 3"),
        (4, "pristine", "no particle 4; labels go from 1 to 3"),
    ],
)
def test_windows_that_are_not_there(tree: xr.DataTree, particle: int, state: str, said: str) -> None:
    with pytest.raises(KeyError, match=said):
        tree.crackdask.windows(particle, state)


def test_a_particle_that_is_gone(tiny: Tiny) -> None:
    voxels = tiny.scan(1)
    (cz, cy, cx), radius = BALLS[2]
    reach = int(radius) + 1
    z, y, x = (slice(max(0, c - reach), c + reach + 1) for c in (cz, cy, cx))
    voxels[z, y, x] = np.minimum(voxels[z, y, x], 1100)
    tiny.write_slices(tiny.folder / "scans" / "b", voxels)
    said = tiny.run()
    assert said.code == 0, said.err
    tree = crackdask.open(tiny.store)
    absent = tree["particles"].to_dataset().voxels.sel(state="4.2 V").load() == 0
    gone = int(absent.particle[absent].values[0])
    with pytest.raises(KeyError, match=f"particle {gone} is absent in state '4.2 V'"):
        tree.crackdask.windows(gone, "4.2 V")
    assert tree.crackdask.windows(gone, "pristine").inside.any()
    assert not bool(tree["particles"].to_dataset().tracked.sel(state="pristine", particle=gone))
    assert "1 absent in some state" in said.out


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("how", ["torn", "lost"])
def test_a_damaged_chunk_is_found_and_can_be_made_anew(ran: Tiny, finished: Tiny, how: str) -> None:
    chunk = max((ran.store / "volumes/label/c/1").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    if how == "torn":
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 0xFF
        chunk.write_bytes(data)
        with pytest.raises(ValueError, match="checksum"):
            xr.open_zarr(ran.store, group="volumes").label.load()
    else:
        chunk.unlink()
    said = command("export", ran.store, "--labels", "--to", ran.folder / "labels")
    record = ran.store.with_name("out.zarr.work") / "results" / "transfer-1"
    assert said.code == 2
    assert f"{ran.store}/volumes/label: damaged on the disk or by a copy" in said.err
    assert f"remove {record} and run again" in said.err
    record.unlink()
    assert ran.run().code == 0
    assert_same_store(ran.store, finished.store)


def test_a_store_may_be_moved_without_its_work(finished: Tiny, tmp_path: Path) -> None:
    shutil.copytree(finished.store, tmp_path / "copy.zarr")
    assert "complete" in command("status", tmp_path / "copy.zarr").out
    assert crackdask.open(tmp_path / "copy.zarr")["particles"].sizes["particle"] == 3
    assert not (tmp_path / "copy.zarr.work").exists()
