import tracemalloc
from itertools import product

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


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_blocks_never_go_back_so_that_slices_pass_once(order, antialias):
    sizes = [1, 2, 3, 7, 12, 13, 31, 64, 101, 260]
    for n, m in product(sizes, sizes):
        blocks = axis_operator(n, m, order, antialias)
        columns = np.array([(block.columns.start, block.columns.stop) for block in blocks])

        assert (np.diff(columns, axis=0) >= 0).all(), (n, m)
        assert (columns[:, 0] < columns[:, 1]).all()
        assert sum(block.weights.shape[0] for block in blocks) == m


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("orders", [(0, 3, 3), (1, 3, 3), (3, 1, 0)])
def test_each_axis_takes_its_own_order(shape, orders):
    image = ct_like()
    expected = image.astype(np.float64)
    for axis, order in enumerate(orders):
        n, m = image.shape[axis], shape[axis]
        if order == 0:
            expected = expected.take(np.floor((np.arange(m) + 0.5) * n / m).astype(int), axis=axis)
        else:
            factors = [m / n if axis == other else 1 for other in range(3)]
            expected = ndimage.zoom(expected, factors, order=order, grid_mode=True, mode="nearest")

    np.testing.assert_allclose(resample(image, shape, order=orders), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("slices", [61, 9])
def test_thick_slices_follow_nnunets_rule(slices):
    """nnU-Net (`resample_data_or_seg`, separate z): splines of order 3 in each slice, then order 0 across them."""
    image = ct_like()
    within = np.stack(
        [ndimage.zoom(s.astype(np.float64), (40 / 33, 50 / 41), order=3, mode="nearest", grid_mode=True) for s in image]
    )
    centres = len(image) / slices * (np.arange(slices) + 0.5) - 0.5
    across = np.meshgrid(centres, np.arange(40), np.arange(50), indexing="ij")
    expected = ndimage.map_coordinates(within, across, order=0, mode="nearest")

    np.testing.assert_allclose(resample(image, (slices, 40, 50), order=(0, 3, 3)), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_neighbours_of_an_image_are_those_of_its_label(shape):
    image = ct_like()

    np.testing.assert_array_equal(resample(image, shape, order=0), resample_nearest(image, shape))


def test_whole_hounsfield_units_are_rounded_half_to_even_and_clipped():
    line = np.array([0, 1, 2, 3, 4, 40000, -40000], np.float32).reshape(7, 1, 1)

    whole = resample(line, (13, 1, 1), order=1, dtype=np.int16)

    assert whole.dtype == np.int16
    exact = ndimage.zoom(line.astype(np.float64), (13 / 7, 1, 1), order=1, grid_mode=True, mode="nearest")
    np.testing.assert_array_equal(whole, np.clip(np.rint(exact), -32768, 32767))
    halves = np.array([0.5, 1.5, -0.5, -1.5, 2.5], np.float32).reshape(5, 1, 1)
    np.testing.assert_array_equal(resample(halves, (5, 1, 1), dtype=np.int16).ravel(), [0, 2, 0, -2, 2])


def test_int16_is_the_rounded_float32():
    image = ct_like((20, 120, 130))  # more pixels than one block of them
    shape = (47, 110, 150)

    np.testing.assert_array_equal(resample(image, shape, dtype=np.int16), np.rint(resample(image, shape)))


def test_beside_image_and_result_there_are_a_few_dozen_slices_in_memory():
    image = ct_like((400, 50, 60))
    resample(image, (500, 60, 70))  # the operators are kept
    tracemalloc.start()
    try:
        result = resample(image, (500, 60, 70), dtype=np.int16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < result.nbytes + 200 * 60 * 70 * 4  # bytes of a float32 slice


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
