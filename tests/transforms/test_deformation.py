import monai.transforms as mt
import numpy as np
import pytest
import torch
from monai.transforms.utils import create_rotate
from scipy.interpolate import BSpline

from kidney_lab.transforms.deformation import (
    Deformation,
    control_shape,
    displacement,
    sampling_grid,
    source_shape,
    spline_weights,
)

CPU = torch.device("cpu")


def rotation(*radians):
    n = 3 if len(radians) == 3 else 2
    return create_rotate(n, radians)[:n, :n]


def voxels(grid, source):
    """Source index of every point, `(n, *shape)`, in the order of the axes."""
    size = torch.tensor(source)
    return (((grid.flip(-1) + 1) * size - 1) / 2).movedim(-1, 0).numpy()


@pytest.mark.parametrize(("size", "spacing"), [(9, 4.0), (20, 7.0), (1, 8.0), (33, 8.0)])
def test_spline_weights_are_scipy_s_cubic_b_splines(size, spacing):
    weights = spline_weights(size, spacing)
    points = weights.shape[1]
    knots = spacing * np.arange(-3, points + 1)
    expected = BSpline.design_matrix(np.arange(size), knots, 3).toarray()

    np.testing.assert_allclose(weights, expected[:, :points], atol=1e-6)


def test_the_displacement_is_the_spline_through_the_control_points_and_never_larger():
    shape, spacing = (6, 9, 7), (4.0, 3.0, 5.0)
    control = np.random.default_rng(0).uniform(-2, 2, (3, *control_shape(shape, spacing))).astype(np.float32)

    field = displacement(torch.from_numpy(control), shape, spacing).numpy()

    weights = [spline_weights(n, s) for n, s in zip(shape, spacing, strict=True)]
    np.testing.assert_allclose(field, np.einsum("kabc,da,hb,wc->kdhw", control, *weights), atol=1e-5)
    assert np.all(np.abs(field).max((1, 2, 3)) <= np.abs(control).max((1, 2, 3)))


def test_the_grid_of_the_identity_is_torch_s():
    shape = (4, 5, 6)

    grid = sampling_grid(Deformation(np.eye(3)), shape, shape, CPU)

    expected = torch.nn.functional.affine_grid(torch.eye(3, 4)[None], (1, 1, *shape), align_corners=False)
    torch.testing.assert_close(grid, expected[0])


@pytest.mark.parametrize("matrix", [rotation(0.3, -0.2, 0.4) @ np.diag([0.8, 1.3, 1.1]), rotation(0.7)])
def test_the_grid_maps_voxels_by_the_matrix_about_the_centre(matrix):
    n = len(matrix)
    shape, source = (4, 5, 7)[-n:], (10, 9, 11)[-n:]

    got = voxels(sampling_grid(Deformation(matrix), shape, source, CPU), source)

    centred = np.stack(np.meshgrid(*[np.arange(m) - (m - 1) / 2 for m in shape], indexing="ij"))
    expected = np.tensordot(matrix, centred, 1) + (np.reshape(source, (n, *[1] * n)) - 1) / 2
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_displacement_comes_before_the_matrix():
    shape, source, spacing = (4, 5, 7), (10, 9, 11), (3.0, 3.0, 3.0)
    matrix = rotation(0.3, -0.2, 0.4)
    control = np.random.default_rng(0).uniform(-1, 1, (3, *control_shape(shape, spacing))).astype(np.float32)

    got = voxels(sampling_grid(Deformation(matrix, control, spacing), shape, source, CPU), source)

    centred = np.stack(np.meshgrid(*[np.arange(m) - (m - 1) / 2 for m in shape], indexing="ij"))
    moved = centred + displacement(torch.from_numpy(control), shape, spacing).numpy()
    expected = np.tensordot(matrix, moved, 1) + (np.reshape(source, (3, 1, 1, 1)) - 1) / 2
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_matrix_is_that_of_monai_s_affine():
    angles, factors = (0.3, -0.2, 0.4), (0.8, 1.3, 1.1)
    grid, affine = mt.AffineGrid(rotate_params=angles, scale_params=factors)(spatial_size=(4, 5, 6))

    np.testing.assert_allclose(rotation(*angles) @ np.diag(factors), affine[:3, :3], atol=1e-6)
    assert grid.shape == (4, 4, 5, 6)


@pytest.mark.parametrize(
    ("matrix", "shape", "expected"),
    [
        (np.eye(3), (8, 9, 10), (8, 9, 10)),
        (rotation(np.pi / 2, 0, 0), (4, 8, 8), (4, 8, 8)),
        (rotation(np.pi / 2), (5, 9), (9, 9)),  # H now reads along W: 9 rows
        (2 * np.eye(2), (4, 5), (8, 9)),  # half extent 1.5 -> 3, 2 -> 4: 7 -> 8 rows to stay even, 9 columns
        (0.5 * np.eye(2), (4, 5), (4, 5)),
        (rotation(np.pi / 4), (11, 11), (17, 17)),  # half extent 5 * sqrt 2 = 7.07 -> 8
    ],
)
def test_the_source_box_is_the_smallest_about_the_same_centre(matrix, shape, expected):
    assert source_shape(Deformation(matrix), shape) == expected


@pytest.mark.parametrize("seed", range(20))
def test_nothing_beyond_the_source_box_is_read(seed):
    rng = np.random.default_rng(seed)
    shape, spacing = tuple(rng.integers(3, 12, 3)), (5.0, 4.0, 6.0)
    control = rng.uniform(-1.5, 1.5, (3, *control_shape(shape, spacing))).astype(np.float32)
    matrix = rotation(*rng.uniform(-1, 1, 3)) @ np.diag(rng.uniform(0.7, 1.4, 3))
    deformation = Deformation(matrix, control, spacing)

    box = source_shape(deformation, shape)

    places = voxels(sampling_grid(deformation, shape, box, CPU), box).reshape(3, -1)
    assert np.all(places.min(1) > -1e-3)
    assert np.all(places.max(1) < np.array(box) - 1 + 1e-3)
    assert all((b - n) % 2 == 0 for b, n in zip(box, shape, strict=True))
