"""Volumes as notebooks hand them over: what is taken, what is refused, and voxel edges from coordinates."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from crackdask.blocks.xarrays import check, each_state, edges, like, number_of, reference_volume
from crackdask.schema import SPATIAL, VOLUME, VOLUMES


def one(shape=(3, 4, 5), dtype="uint8", **coords):
    return xr.DataArray(da.zeros(shape, dtype=dtype, chunks=2), dims=SPATIAL, coords=coords)


def several(names=("a", "b", "c")):
    voxels = np.arange(len(names), dtype=np.uint8)[:, None, None, None] * np.ones((3, 4, 5), np.uint8)
    return xr.DataArray(voxels, dims=VOLUME, coords={"state": list(names), "x": np.arange(5) * 0.5})


@pytest.mark.parametrize("state", [None, False])
def test_one_state_is_taken(state):
    assert check(one(), "grey", "uint8", state) is not None
    assert check(one().compute(), "grey", "uint8", state).chunks is not None


@pytest.mark.parametrize("state", [None, True])
def test_several_states_are_taken(state):
    taken = check(several(), "grey", "uint8", state)
    assert taken.dims == VOLUME
    assert taken.chunks is not None


@pytest.mark.parametrize(
    ("array", "state", "error", "message"),
    [
        (np.zeros((3, 4, 5), np.uint8), None, TypeError, r"grey must be an xarray.DataArray, not ndarray"),
        (one(dtype="uint16"), None, TypeError, r"grey must be uint8, not uint16; convert it with .astype\('uint8'\)"),
        (
            one().transpose("x", "y", "z"),
            None,
            ValueError,
            r"dims \('z', 'y', 'x'\) or \('state', 'z', 'y', 'x'\), not",
        ),
        (one(), True, ValueError, r"must have the dims \('state', 'z', 'y', 'x'\), not \('z', 'y', 'x'\)"),
        (several(), False, ValueError, r"must have the dims \('z', 'y', 'x'\), not \('state'"),
        (one().isel(z=0), None, ValueError, r"not \('y', 'x'\)"),
    ],
)
def test_anything_else_is_refused(array, state, error, message):
    with pytest.raises(error, match=message):
        check(array, "grey", "uint8", state)


@pytest.mark.parametrize("first", [0.0, 0.1625, 4000.0])
@pytest.mark.parametrize("edge", [0.325, 1 / 3, 2.0])
def test_edges_are_the_steps_of_the_coordinates(first, edge):
    places = first + np.arange(400) * edge
    array = one((3, 4, 400), z=[0.0, 1.5, 3.0], y=[5.0, 7.0, 9.0, 11.0], x=places)
    assert edges(array)[:2] == (1.5, 2.0)
    assert edges(array)[2] == pytest.approx(edge, rel=1e-6)
    assert edges(array.isel(x=slice(100, 103)))[2] == pytest.approx(edge, rel=1e-6)


def test_edges_where_there_are_none():
    assert edges(one()) == (1.0, 1.0, 1.0)
    flat = one((1, 4, 5), z=[0.5], y=np.arange(4) * 0.5, x=np.arange(5) * 0.5)
    assert edges(flat) == (0.5, 0.5, 0.5)  # one slice says nothing: as along y
    assert edges(one((1, 1, 1), z=[0.5], y=[0.5], x=[0.5])) == (1.0, 1.0, 1.0)


def test_uneven_steps_are_no_voxels():
    with pytest.raises(ValueError, match="coordinate y must be evenly spaced"):
        edges(one(y=[0.0, 1.0, 2.0, 4.0]))


def test_results_look_like_their_input():
    array = several()
    made = like(array, array.chunk().data, "denoised")
    assert made.name == "denoised"
    assert made.attrs == VOLUMES["denoised"].attributes
    xr.testing.assert_equal(made.drop_attrs(), array)


def test_a_function_is_applied_to_every_state():
    array = several().chunk(x=2)
    seen = []

    def function(state):
        seen.append(state.shape)
        return (state + 1).astype("uint8")

    made = each_state(array, "grey", function)
    assert seen == [(3, 4, 5)] * 3
    assert made.chunks is not None
    assert made.chunks[0] == (1, 1, 1)
    xr.testing.assert_equal(made, array + np.uint8(1))
    single = each_state(one(x=np.arange(5) * 2.0), "grey", function)
    assert single.dims == SPATIAL
    assert bool((single == 1).all())
    np.testing.assert_array_equal(single.x, np.arange(5) * 2.0)


def test_the_reference_is_found_by_name_and_number():
    array = several().chunk()
    assert [number_of(array, name) for name in ("a", "c", 1, -1)] == [0, 2, 1, 2]
    assert np.unique(np.asarray(reference_volume(array, "b"))).tolist() == [1]
    assert np.unique(np.asarray(reference_volume(one(), 5))).tolist() == [0]  # its own
    with pytest.raises(ValueError, match="no state is named 'd'; there are a, b, c"):
        number_of(array, "d")
    with pytest.raises(ValueError, match=r"there are 3 states, found number 3"):
        number_of(array, 3)
