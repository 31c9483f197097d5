"""Measurements against slow references, and their independence of the blocks."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from crackdask.blocks.dask_graph import lazy
from crackdask.blocks.in_memory import compute
from crackdask.blocks.passes import Array
from crackdask.grid import Grid, Triple
from crackdask.kernels.gaussian import gaussian, radius
from crackdask.schema import PARTICLES
from crackdask.steps.measure import AT_ONCE, MeasureParams, passes_in_ranges, passes_to_tables
from crackdask.steps.particle_columns import MEASURED, Groups, contacts, deepest_shell, finalise, survey
from tests.support.measured import DEEPEST, PARAMS, VOXEL, Scan, assert_same, scan, tallies_of


def grapes_shells(grey, label, particle):
    """GRAPES's radial layers from the edge, of one particle: what it does, in plain scipy."""
    inside = np.pad(label == particle, 1)
    distance = np.round(ndimage.distance_transform_edt(inside))
    values = np.pad(grey, 1).astype(np.int64)
    layers = range(1, int(distance.max()) + 1)
    return [
        (np.count_nonzero(at), values[at].sum(), (values[at] ** 2).sum())
        for at in (inside & (distance == layer) for layer in layers)
    ]


@pytest.fixture(scope="module")
def volumes() -> Scan:
    return scan()


@pytest.fixture(scope="module")
def groups(volumes: Scan) -> Groups:
    return finalise(tallies_of(*volumes, (11, 13, 34)), range(1, 17), VOXEL)


def test_shells_equal_grapes(volumes: Scan, groups: Groups) -> None:
    grey, label = volumes
    deepest = 0
    for row in range(16):
        expected = np.array(grapes_shells(grey, label, row + 1), np.int64)
        deepest = max(deepest, len(expected))
        for i, name in enumerate(("voxels", "grey_sum", "grey_sumsq")):
            shells = groups["shells"][name][row]
            np.testing.assert_array_equal(shells[: len(expected)], expected[:, i])
            assert not shells[len(expected) :].any()
    assert groups["shells"]["voxels"].shape == (16, deepest)
    assert deepest >= 5


def test_shells_and_histograms_add_up_to_the_totals(groups):
    particles, shells, levels = (groups[g] for g in ("particles", "shells", "histograms"))
    np.testing.assert_array_equal(shells["voxels"].sum(axis=1), particles["voxels"])
    np.testing.assert_array_equal(levels["voxels"].sum(axis=1), particles["voxels"])
    sums = levels["voxels"] @ np.arange(256, dtype=np.uint64)
    np.testing.assert_array_equal(shells["grey_sum"].sum(axis=1), sums)
    squares = levels["voxels"] @ np.arange(256, dtype=np.uint64) ** 2
    np.testing.assert_array_equal(shells["grey_sumsq"].sum(axis=1), squares)


def test_columns_equal_numpy(volumes: Scan, groups: Groups) -> None:
    grey, label = volumes
    particles = groups["particles"]
    outside = ndimage.binary_dilation(grey == 0, np.ones((3, 3, 3)))
    border = np.ones(label.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    for row in range(16):
        inside = label == row + 1
        at = np.argwhere(inside)
        values = grey[inside]
        expected = {
            "voxels": len(at),
            "volume_um3": len(at) * 0.325**3,
            "equivalent_diameter_um": (6 / np.pi * len(at)) ** (1 / 3) * 0.325,
            "max_depth_um": ndimage.distance_transform_edt(np.pad(inside, 1)).max() * 0.325,
            "grey_mean": values.mean(),
            "grey_std": values.std(),
            "grey_min": values.min(),
            "grey_max": values.max(),
            **{f"grey_p{p:02}": np.percentile(values, p) for p in (5, 50, 95)},
            "touches_border": inside[border].any(),
            "touches_invalid": inside[outside].any(),
        }
        for i, axis in enumerate("zyx"):
            expected[f"centroid_{axis}_um"] = (at[:, i].mean() + 0.5) * 0.325
            expected[f"bbox_{axis}0"] = at[:, i].min()
            expected[f"bbox_{axis}1"] = at[:, i].max() + 1
        moments = np.cov(at.T, bias=True) + np.eye(3) / 12
        axes = 2 * np.sqrt(5 * np.linalg.eigvalsh(moments)[::-1]) * 0.325
        expected |= {f"axis_{i + 1}_um": axes[i] for i in range(3)}
        expected |= {"elongation": axes[1] / axes[0], "flatness": axes[2] / axes[1]}
        for name, value in expected.items():
            np.testing.assert_allclose(particles[name][row], value, rtol=1e-12, err_msg=name)
        counts = groups["histograms"]["voxels"][row]
        np.testing.assert_array_equal(counts, np.bincount(values, minlength=256))
    assert 0 < particles["touches_border"].sum() < 16
    assert 0 < particles["touches_invalid"].sum() < 16


def test_contacts_equal_numpy(volumes: Scan, groups: Groups) -> None:
    grey, label = volumes
    pairs: dict[tuple[int, int], Array] = {}
    for axis in range(3):
        low, high = (np.moveaxis(label, axis, 0)[s].ravel() for s in (np.s_[:-1], np.s_[1:]))
        met = (low != high) & (low > 0) & (high > 0)
        for a, b in np.sort(np.stack([low[met], high[met]], axis=1), axis=1).tolist():
            pairs.setdefault((a, b), np.zeros(3, int))[axis] += 1
    table = contacts(tallies_of(grey, label, (9, 30, 12)), VOXEL)
    ordered = sorted(pairs)
    named = zip(table["particle_a"].tolist(), table["particle_b"].tolist(), strict=True)
    assert list(named) == ordered
    faces = np.array([pairs[p] for p in ordered])
    np.testing.assert_array_equal(table["faces"], faces.sum(axis=1))
    areas = np.linalg.norm(faces, axis=1) * 0.325**2
    np.testing.assert_allclose(table["area_um2"], areas, rtol=1e-12)
    for row in range(16):
        mine = [i for i, pair in enumerate(ordered) if row + 1 in pair]
        assert groups["particles"]["n_contacts"][row] == len(mine)
        found = groups["particles"]["contact_area_um2"][row]
        np.testing.assert_allclose(found, areas[mine].sum(), rtol=1e-12)
    assert len(ordered) > 10


def test_the_area_of_a_tilted_contact():
    z, y, x = np.indices((40, 40, 40)) - 19.5
    ball = z * z + y * y + x * x < 18.5**2
    label = np.where(ball, 1 + (z + y + x > 0.3), 0).astype(np.uint32)
    table = contacts(tallies_of(np.full(label.shape, 9, np.uint8), label, (40, 40, 40),
                                deepest=20), (1.0, 1.0, 1.0))  # fmt: skip
    disc = np.pi * 18.5**2
    assert table["area_um2"][0] == pytest.approx(disc, rel=0.02)
    assert table["faces"][0] > 1.6 * disc


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    block=st.tuples(*(st.integers(1, n + 3) for n in (17, 14, 19))),
    voxel_um=st.sampled_from([VOXEL, (0.3, 0.2, 0.2), (1.0, 1.1, 1.7)]),
)
def test_any_blocks_give_the_same_bits(seed, block, voxel_um):
    grey, label = scan(seed, (17, 14, 19), 6)
    while np.prod(Grid(label.shape, block).counts) > 400:
        block = tuple(2 * b for b in block)
    if Grid(label.shape, block).counts == (1, 1, 1):
        block = (5, 7, 6)
    grid = Grid(label.shape, block)
    cut = [np.unique(label[box.slices][label[box.slices] > 0]) for box in grid]
    _, blocks_of_each = np.unique(np.concatenate(cut), return_counts=True)
    assert (blocks_of_each > 1).any(), "no wall cuts a particle"
    assert len(np.unique(grey)) > 50
    ids = range(1, 8)  # the last is nowhere
    counting = passes_to_tables(PARAMS, voxel_um, 20, ids)
    _, expected = compute(counting, {"grey": grey, "label": label})
    _, found = compute(counting, {"grey": grey, "label": label}, block=block)
    assert_same(found, expected)


@settings(max_examples=6, deadline=None)
@given(
    block=st.tuples(*(st.integers(5, n + 3) for n in (17, 14, 19))),
    blur=st.sampled_from([0.4, 0.71, 2.0]),
    chunk=st.integers(3, 19),
)
def test_blurred_levels_are_the_same_bits_in_any_blocks(block: Triple, blur: float, chunk: int) -> None:
    grey, label = scan(4, (17, 14, 19), 6)
    if Grid(label.shape, block).counts == (1, 1, 1):
        block = (5, 7, 6)
    counting = passes_to_tables(PARAMS, VOXEL, 20, range(1, 8), 9, blur)
    _, expected = compute(counting, {"grey": grey, "label": label})
    _, found = compute(counting, {"grey": grey, "label": label}, block=block)
    assert_same(found, expected)
    arrays = {name: da.from_array(v, chunks=chunk) for name, v in (("grey", grey), ("label", label))}
    (found,) = dask.compute(lazy(counting, arrays, block=block)[1])
    assert_same(found, expected)


def test_blur_changes_grey_levels_and_nothing_else(volumes: Scan) -> None:
    grey, label = volumes
    blurred = np.zeros(grey.shape, np.uint8)
    reach = radius(0.9)
    blurred[:] = gaussian(np.pad(grey, reach, mode="reflect"), 0.9, 0)
    assert ((blurred == 0) == (grey == 0)).all()
    given = {"grey": grey, "label": label}
    _, sharp = compute(passes_to_tables(PARAMS, VOXEL, DEEPEST, range(1, 17), 9), given)
    _, found = compute(passes_to_tables(PARAMS, VOXEL, DEEPEST, range(1, 17), 9, 0.9), given)
    _, expected = compute(passes_to_tables(PARAMS, VOXEL, DEEPEST, range(1, 17), 9), given | {"grey": blurred})
    assert_same(found, expected)
    changed = {name for name in sharp if not np.array_equal(sharp[name], found[name], equal_nan=True)}
    assert changed
    assert all("grey" in name or name == "histograms.voxels" for name in changed)


@pytest.mark.parametrize(
    "ranges",
    [[range(1, 18)], [range(1, 4), range(4, 5), range(5, 18)], [range(k, k + 1) for k in range(1, 18)]],
)
def test_a_run_and_a_notebook_end_the_pass_with_the_same_tables(volumes: Scan, ranges: list[range]) -> None:
    """Also where there are more ranges than are merged at once."""
    assert 1 < AT_ONCE < 17
    grey, label = volumes
    width = deepest_shell(tallies_of(*volumes, (9, 10, 11)))
    given, handed = {"grey": grey, "label": label}, []
    in_ranges = passes_in_ranges(PARAMS, VOXEL, DEEPEST, ranges, lambda ids, groups: handed.append((ids, groups)))
    _, made = compute(in_ranges, given, block=(9, 10, 11))
    _, whole = compute(passes_to_tables(PARAMS, VOXEL, DEEPEST, range(1, 18), width), given)
    assert set(made) == set(in_ranges[0].makes)
    assert made["shells"] == width > 3
    assert len(made["faces"]) > 5, "no particles touch"
    assert [ids for ids, _ in handed] == ranges
    for name, column in whole.items():
        group, _, key = name.partition(".")
        parts = [made[key]] if group == "contacts" else [groups[group][key] for _, groups in handed]
        together = np.concatenate(parts)
        assert together.dtype == column.dtype, name
        np.testing.assert_array_equal(together, column, err_msg=name)


@pytest.mark.parametrize("block", [(1, 30, 34), (26, 1, 34), (26, 30, 1)])
def test_blocks_one_voxel_thick(volumes: Scan, groups: Groups, block: Triple) -> None:
    found = finalise(tallies_of(*volumes, block), range(1, 17), VOXEL)
    for group, columns in groups.items():
        assert_same(found[group], columns)


def test_the_order_of_the_tallies_does_not_matter(volumes: Scan, groups: Groups) -> None:
    tallies = tallies_of(*volumes, (10, 10, 10))
    np.random.default_rng(0).shuffle(tallies)
    found = finalise(tallies, range(1, 17), VOXEL)
    for group, columns in groups.items():
        assert_same(found[group], columns)


def test_ranges_of_ids_give_the_same_as_all_at_once(volumes: Scan, groups: Groups) -> None:
    tallies = tallies_of(*volumes, (10, 15, 20))
    width = deepest_shell(tallies)
    assert width == groups["shells"]["voxels"].shape[1]
    parts = [finalise(tallies, ids, VOXEL, width) for ids in (range(1, 4), range(4, 5), np.arange(5, 17))]
    for group, columns in groups.items():
        joined = {n: np.concatenate([part[group][n] for part in parts]) for n in columns}
        assert_same(joined, columns)
    with pytest.raises(ValueError, match="wanted at most 2"):
        finalise(tallies, range(1, 17), VOXEL, 2)
    with pytest.raises(ValueError, match="sorted"):
        finalise(tallies, np.array([3, 2]), VOXEL)


def test_a_range_reads_the_tallies_that_name_its_particles_and_no_others(volumes: Scan) -> None:
    """Also those where a particle is but one side of a contact; what is left out adds nothing."""
    tallies = tallies_of(*volumes, (9, 10, 11))
    ranges = [range(1, 4), range(4, 5), range(5, 18), range(18, 40)]
    seen = survey(tallies, ranges, VOXEL)
    shells, named_in = seen.shells, seen.named_in
    assert shells == deepest_shell(tallies)
    assert_same(seen.contacts, contacts(tallies, VOXEL))
    assert seen.corners.shape == (39, 2, 3)
    for label, (low, high) in enumerate(seen.corners, 1):
        there = np.argwhere(volumes[1] == label)
        assert (low > high).all() if not there.size else (*low, *high) == (*there.min(axis=0), *there.max(axis=0) + 1)
    for ids, numbers in zip(ranges, named_in, strict=True):
        named = [{*t["ids"].tolist(), *t["contact_a"].tolist(), *t["contact_b"].tolist()} for t in tallies]
        assert numbers == [n for n, names in enumerate(named) if names & set(ids)]
        found = finalise([tallies[n] for n in numbers], ids, VOXEL, shells)
        for group, expected in finalise(tallies, ids, VOXEL, shells).items():
            assert_same(found[group], expected)
    assert 0 < len(named_in[1]) < len(tallies)
    assert named_in[3] == []


def test_lazy_equals_compute(volumes):
    grey, label = volumes
    counting = passes_to_tables(PARAMS, VOXEL, DEEPEST, range(1, 17))
    _, expected = compute(counting, {"grey": grey, "label": label})
    arrays = {
        "grey": da.from_array(grey, chunks=(9, 10, 11)),
        "label": da.from_array(label, chunks=(13, 30, 7)),
    }
    _, tables = lazy(counting, arrays, block=(13, 15, 17))
    (found,) = dask.compute(tables)
    assert_same(found, expected)
    assert set(expected) == set(counting[0].makes)


def test_every_column_is_described(groups):
    assert tuple(groups["particles"]) == MEASURED
    for name, column in groups["particles"].items():
        assert column.dtype == PARTICLES[name].dtype, name


def test_sparse_and_missing_ids():
    grey, label = scan(3)
    names = np.sort(np.random.default_rng(0).choice(2**32 - 2, 17, replace=False)) + 1
    names[-1] = 2**32 - 1
    renamed = np.concatenate([[0], names])[label].astype(np.uint32)
    assert (renamed == 2**32 - 1).sum() == (label == 17).sum() == 0
    renamed[20:23, 20:23, 20:23] = label[20:23, 20:23, 20:23] = 0
    renamed[21, 21, 21], label[21, 21, 21] = 2**32 - 1, 17
    expected = finalise(tallies_of(grey, label, (13, 13, 13)), range(1, 18), VOXEL)
    found = finalise(tallies_of(grey, renamed, (13, 13, 13)), names, VOXEL)
    for group in expected:
        assert_same(found[group], expected[group])


def test_an_absent_particle_has_no_voxel_and_no_numbers(volumes: Scan) -> None:
    found = finalise(tallies_of(*volumes, (26, 30, 34)), np.array([3, 99]), VOXEL)
    for name, column in found["particles"].items():
        assert np.isnan(column[1]) if column.dtype.kind == "f" else column[1] == 0, name
        assert not np.isnan(column[0])
    assert not found["shells"]["voxels"][1].any()
    assert not found["histograms"]["voxels"][1].any()


def test_the_parameters_refuse_what_they_do_not_know():
    with pytest.raises(ValidationError):
        MeasureParams(shells=3)  # type: ignore[call-arg]  # what is refused
