"""Surface, axes and sphericity of particles: spheres, ellipsoids, single voxels, and what touches the edge."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from crackdask.steps.measure import passes
from crackdask.steps.particle_columns import finalise
from tests.support.measured import PARAMS, VOXEL, ball, tallies_of


def test_a_particle_of_one_voxel():
    label = np.zeros((5, 5, 5), np.uint32)
    label[2, 3, 1] = 1
    grey = np.full((5, 5, 5), 77, np.uint8)
    found = finalise(tallies_of(grey, label, (2, 2, 2)), range(1, 2), (1.0, 1.0, 1.0))
    row = {name: column[0] for name, column in found["particles"].items()}
    assert (row["voxels"], row["max_depth_um"], row["grey_mean"], row["grey_std"]) == (1, 1, 77, 0)
    assert row["grey_p05"] == row["grey_p50"] == row["grey_p95"] == 77
    assert [row[f"centroid_{a}_um"] for a in "zyx"] == [2.5, 3.5, 1.5]
    assert [row[f"axis_{i}_um"] for i in (1, 2, 3)] == pytest.approx([2 * (5 / 12) ** 0.5] * 3)
    assert not row["touches_border"]
    assert found["shells"]["voxels"].tolist() == [[1]]


@pytest.mark.parametrize("offset", list(product((-1, 0, 1), repeat=3)))
@pytest.mark.parametrize("block", [(7, 7, 7), (3, 3, 3)])
def test_touching_the_invalid_region(offset, block):
    label = np.zeros((7, 7, 7), np.uint32)
    label[3, 3, 3] = 1
    grey = np.full((7, 7, 7), 50, np.uint8)
    grey[tuple(3 + o for o in offset)] = 0
    found = finalise(tallies_of(grey, label, block), range(1, 2), VOXEL)
    assert found["particles"]["touches_invalid"][0]
    grey[:] = 50
    grey[tuple(3 + 2 * o for o in offset)] = 0
    found = finalise(tallies_of(grey, label, block), range(1, 2), VOXEL)
    assert found["particles"]["touches_invalid"][0] == (offset == (0, 0, 0))


def shape_of(label, deepest, voxel_um=(1.0, 1.0, 1.0)):
    grey = np.ones(label.shape, np.uint8)
    found = finalise(tallies_of(grey, label, label.shape, voxel_um, deepest), range(1, 2), voxel_um)
    return {name: column[0] for name, column in found["particles"].items()}


@pytest.mark.parametrize("radius", [6, 7, 8, 9.5, 12, 16, 22, 30])
def test_surface_and_sphericity_of_spheres(radius):
    rng = np.random.default_rng(int(radius))
    centres = [*rng.random((4, 3))]
    if radius == int(radius):  # else the ball of voxels is itself up to 5% larger than the sphere
        centres += [np.zeros(3), np.full(3, 0.5)]
    for centre in centres:
        row = shape_of(ball(radius, centre), 32)
        assert row["surface_area_um2"] == pytest.approx(4 * np.pi * radius**2, rel=0.02)
        assert row["sphericity"] == pytest.approx(1, abs=0.02)
        assert row["elongation"] == pytest.approx(1, abs=0.02)
        assert row["axis_1_um"] == pytest.approx(2 * radius, rel=0.03)


@pytest.mark.parametrize("stretch", [(1, 1, 1.5), (1, 1.4, 1.7), (1, 2, 2)])
def test_surface_and_axes_of_ellipsoids(stretch):
    a, b, c = sorted((12.0 * s for s in stretch), reverse=True)
    u, v = (np.arange(800) + 0.5) / 800, (np.arange(800) + 0.5) / 800
    theta, phi = np.pi * u[:, None], 2 * np.pi * v
    normal = np.stack(np.broadcast_arrays(
        b * c * np.sin(theta) * np.cos(phi),
        a * c * np.sin(theta) * np.sin(phi),
        a * b * np.cos(theta),
    ))  # fmt: skip
    element = np.linalg.norm(normal, axis=0) * np.sin(theta)
    surface = element.mean() * 2 * np.pi**2
    row = shape_of(ball(12, (0.2, 0.4, 0.3), stretch), 30)
    assert row["surface_area_um2"] == pytest.approx(surface, rel=0.02)
    axes = [row[f"axis_{i}_um"] for i in (1, 2, 3)]
    assert axes == pytest.approx([2 * a, 2 * b, 2 * c], rel=0.01)


def test_surface_of_a_sphere_of_anisotropic_voxels():
    voxel_um = (1.5, 1.0, 1.2)
    row = shape_of(ball(15, (0.2, 0.3, 0.1), voxel_um=voxel_um), 16, voxel_um)
    assert row["surface_area_um2"] == pytest.approx(4 * np.pi * 225, rel=0.02)
    assert row["equivalent_diameter_um"] == pytest.approx(30, rel=0.01)


def test_a_particle_deeper_than_planned_is_an_error():
    with pytest.raises(ValueError, match="particle 1 is deeper than the 5 voxels"):
        shape_of(ball(8, (0, 0, 0)), 5)
    with pytest.raises(ValueError, match="deepest is 0"):
        passes(PARAMS, VOXEL, 0)
