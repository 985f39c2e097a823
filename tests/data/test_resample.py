import numpy as np
import pytest
from scipy import ndimage

from kidney_lab.data.resample import axis_operator, resample, resample_nearest

SHAPES = [(31, 20, 60), (10, 66, 41), (7, 5, 100), (40, 17, 23), (1, 1, 1), (20, 33, 42)]


def ct_like(shape=(20, 33, 41), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-1024, 3000, shape).astype(np.int16)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", [1, 3])
def test_values_are_scipys_within_a_hundredth_hu(shape, order):
    image = ct_like()
    factors = [m / n for m, n in zip(shape, image.shape, strict=True)]
    expected = ndimage.zoom(image.astype(np.float64), factors, order=order, grid_mode=True, mode="nearest")

    result = resample(image, shape, order=order)

    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=0.01)


def test_a_long_axis_is_cut_into_narrow_blocks_that_agree_with_scipy():
    line = ct_like((1, 1, 500))
    expected = ndimage.zoom(line.astype(np.float64), (1, 1, 701 / 500), order=3, grid_mode=True, mode="nearest")

    np.testing.assert_allclose(resample(line, (1, 1, 701)), expected, rtol=0, atol=0.01)
    operator = axis_operator(500, 701, 3)
    assert [block.rows.start for block in operator] == [0, *(block.rows.stop for block in operator[:-1])]
    assert operator[-1].rows.stop == 701
    assert max(block.weights.shape[1] for block in operator) < 64


def test_an_unchanged_shape_gives_the_very_values_in_a_new_array():
    image = ct_like().astype(np.float32)

    result = resample(image, image.shape)

    np.testing.assert_array_equal(result, image)
    assert not np.shares_memory(result, image)


def test_any_memory_order_gives_the_same_values():
    image = ct_like()

    expected = resample(image, (11, 40, 30))

    np.testing.assert_array_equal(resample(np.asfortranarray(image), (11, 40, 30)), expected)
    np.testing.assert_array_equal(resample(image[::-1][::-1], (11, 40, 30)), expected)


def test_an_axis_of_one_voxel_is_repeated():
    image = ct_like((1, 6, 6))

    result = resample(image, (4, 6, 6))

    np.testing.assert_allclose(result, np.repeat(image, 4, axis=0), atol=0.01)


def test_a_constant_stays_constant():
    np.testing.assert_allclose(resample(np.full((9, 9, 9), 1000, np.int16), (23, 5, 40)), 1000, atol=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_takes_the_voxel_that_the_new_centre_lies_in(shape):
    label = np.random.default_rng(1).integers(0, 4, (20, 33, 41)).astype(np.uint8)

    result = resample_nearest(label, shape)

    centres = [np.floor((np.arange(m) + 0.5) * n / m).astype(int) for n, m in zip(label.shape, shape, strict=True)]
    np.testing.assert_array_equal(result, label[np.ix_(*centres)])
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, label)


def test_nearest_is_scipys_where_no_centre_lies_on_a_border():
    label = np.random.default_rng(1).integers(0, 4, (20, 33, 41)).astype(np.uint8)
    shape = (60, 99, 123)  # odd factors
    expected = ndimage.zoom(label, 3, order=0, grid_mode=True, mode="nearest")

    np.testing.assert_array_equal(resample_nearest(label, shape), expected)


@pytest.mark.parametrize("shape", [(45, 33, 81), (10, 40, 27), (24, 31, 95)])
def test_a_label_stays_aligned_with_its_image(shape):
    old = (30, 44, 52)
    d, h, w = np.ogrid[0 : old[0], 0 : old[1], 0 : old[2]]
    ball = ((d - 13) ** 2 / 9 + (h - 25) ** 2 / 16 + (w - 20) ** 2 / 16) < 6

    image = resample(np.where(ball, 1000, 0).astype(np.int16), shape)
    label = resample_nearest(ball.astype(np.uint8), shape)

    apart = np.array(ndimage.center_of_mass(image)) - ndimage.center_of_mass(label)
    scale = np.array(old) / shape
    assert np.abs(apart * scale).max() < 0.35, "in old voxels"
    back = (np.array(ndimage.center_of_mass(image)) + 0.5) * scale - 0.5
    np.testing.assert_allclose(back, ndimage.center_of_mass(ball), atol=0.05)


@pytest.mark.parametrize(("n", "m"), [(40, 13), (33, 17), (20, 19)])
def test_an_antialiased_axis_is_scipy_s_gaussian_and_then_its_zoom(n, m):
    image = np.random.default_rng(3).normal(0, 100, (n, 5, 4)).astype(np.float32)
    smooth = ndimage.gaussian_filter1d(image.astype(np.float64), (n / m - 1) / 2, axis=0, mode="nearest")
    expected = ndimage.zoom(smooth, (m / n, 1, 1), order=3, mode="nearest", grid_mode=True)

    np.testing.assert_allclose(resample(image, (m, 5, 4), antialias=True), expected, atol=0.01)


def test_antialiasing_averages_noise_that_the_new_grid_cannot_hold():
    noise = np.random.default_rng(4).normal(0, 20, (60, 60, 60)).astype(np.float32)

    assert resample(noise, (20, 20, 20), antialias=True).std() < 0.35 * resample(noise, (20, 20, 20)).std()


def test_antialiasing_leaves_axes_that_grow_alone():
    image = np.random.default_rng(5).normal(0, 100, (6, 7, 8)).astype(np.float32)

    np.testing.assert_array_equal(resample(image, (9, 7, 12), antialias=True), resample(image, (9, 7, 12)))
