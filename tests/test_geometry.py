import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kidney_lab.geometry import IN_MEMORY, Grid, Volume, grid_from_spacing, reorient

AXES = (("R", "L"), ("A", "P"), ("S", "I"))
ORIENTATIONS = [
    tuple(AXES[i][s] for i, s in zip(order, signs, strict=True))
    for order in itertools.permutations(range(3))
    for signs in itertools.product((0, 1), repeat=3)
]
SHAPE = (3, 4, 5)


def volume(orientation, rotation=(0.0, 0.0, 0.0)) -> Volume:
    """Every voxel has a value of its own; the axes grow in the directions named, turned by degrees about x, y, z."""
    directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    columns = np.array([directions[letter] for letter in orientation], dtype=float).T * (3.0, 0.7, 0.9)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() @ columns
    affine[:3, 3] = (-31.0, 17.5, 402.25)
    return Volume(np.arange(60).reshape(SHAPE), Grid(SHAPE, affine))


def places(of: Volume) -> dict[int, np.ndarray]:
    """World coordinates in mm of every voxel, by the voxel's value."""
    indices = np.argwhere(np.ones(of.array.shape, bool))
    world = indices @ of.grid.affine[:3, :3].T + of.grid.affine[:3, 3]
    return {int(of.array[tuple(index)]): place for index, place in zip(indices, world, strict=True)}


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
@pytest.mark.parametrize("rotation", [(0, 0, 0), (12, -7, 20)], ids=["straight", "oblique"])
def test_reorienting_leaves_every_voxel_at_its_place_in_space(orientation, rotation):
    original = volume(orientation, rotation)

    turned = reorient(original)

    assert turned.grid.orientation == IN_MEMORY
    assert turned.grid.shape == turned.array.shape
    before, after = places(original), places(turned)
    assert before.keys() == after.keys()
    np.testing.assert_allclose([after[value] for value in before], list(before.values()), atol=1e-9)


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
def test_reorienting_back_gives_the_volume_back(orientation):
    original = volume(orientation, (5, 10, -15))

    back = reorient(reorient(original), original.grid.orientation)

    np.testing.assert_array_equal(back.array, original.array)
    assert back.grid.same_as(original.grid, 1e-9)


@pytest.mark.parametrize("rotation", [(45, 0, 0), (0, 45, 0), (0, 0, 45), (0, 0, -45)])
@pytest.mark.parametrize("orientation", [("I", "P", "L"), ("R", "A", "S"), ("L", "P", "S")], ids="".join)
def test_halfway_between_two_axes_the_way_back_is_still_the_way_there_reversed(orientation, rotation):
    original = volume(orientation, rotation)

    back = reorient(reorient(original), original.grid.orientation)

    np.testing.assert_array_equal(back.array, original.array)
    assert back.grid.same_as(original.grid, 1e-9)


def test_a_volume_in_memory_order_is_not_copied():
    original = volume(IN_MEMORY)

    assert np.shares_memory(reorient(original).array, original.array)


def test_a_grid_from_a_spacing_lies_in_memory_order():
    grid = grid_from_spacing((2, 3, 4), (5.0, 0.5, 0.75))

    assert grid.orientation == ("I", "P", "L")
    assert grid.spacing == (5.0, 0.5, 0.75)
    # One slice further is 5 mm down, one row further 0.5 mm to the back, one column further 0.75 mm to the left.
    np.testing.assert_array_equal(grid.affine @ [1, 1, 1, 1], [-0.75, -0.5, -5.0, 1])


def test_the_spacing_of_an_oblique_grid_is_measured_along_its_axes():
    assert volume(("L", "P", "S"), (30, 40, 50)).grid.spacing == pytest.approx((3.0, 0.7, 0.9))


def test_the_distance_of_two_grids_is_that_of_the_corners_that_lie_furthest_apart():
    grid = grid_from_spacing((11, 6, 6), (1.0, 1.0, 1.0))
    stretched = Grid(grid.shape, grid.affine @ np.diag([1.3, 1, 1, 1]))
    shifted = Grid(grid.shape, grid.affine + np.array([[0, 0, 0, 3.0], [0, 0, 0, 4.0], [0] * 4, [0] * 4]))

    assert grid.distance_to(stretched) == pytest.approx(10 * 0.3)  # ten steps from the first slice to the last
    assert grid.distance_to(shifted) == pytest.approx(5.0)


def test_grids_are_the_same_within_the_tolerance_and_of_one_shape():
    grid = grid_from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    nudged = Grid(grid.shape, grid.affine + np.array([[0, 0, 0, 0.01], [0] * 4, [0] * 4, [0] * 4]))

    assert grid.same_as(nudged, 0.02)
    assert not grid.same_as(nudged, 0.005)
    assert not grid.same_as(nudged)
    assert not grid.same_as(grid_from_spacing((4, 4, 5), (1.0, 1.0, 1.0)), 100.0)


def test_axes_at_right_angles_have_no_skew_wherever_they_point():
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] * [3.0, 0.8, 0.7]
    affine = np.eye(4)
    affine[:3, :3] = turned

    assert Grid((2, 3, 4), affine).skew_degrees == pytest.approx(0, abs=1e-6)
    affine[:3, 0] = turned[:, 0] + 3.0 * np.tan(np.radians(20)) * turned[:, 1] / 0.8
    assert Grid((2, 3, 4), affine).skew_degrees == pytest.approx(20)
