import numpy as np
import pytest
from scipy import ndimage

from kidney_lab.data.views.planes import median_filter, padding_to_aspect, resize_label, resize_planes


def test_slices_are_resized_by_the_mean_over_each_pixel_s_area():
    planes = np.random.default_rng(0).integers(-900, 900, (3, 12, 8)).astype(np.int16)

    resized = resize_planes(planes, (6, 4))

    expected = planes.reshape(3, 6, 2, 4, 2).mean(axis=(2, 4))
    assert resized.dtype == np.int16
    assert np.abs(resized - expected).max() <= 0.5


def test_resizing_to_the_same_size_changes_nothing():
    planes = np.random.default_rng(0).integers(-900, 900, (2, 9, 7)).astype(np.int16)

    np.testing.assert_array_equal(resize_planes(planes, (9, 7)), planes)


def test_proportions_are_kept_by_air_on_both_sides():
    resized = resize_planes(np.full((1, 8, 16), 100, np.int16), (4, 4))

    assert resized[0].tolist() == [[-1000] * 4, [100] * 4, [100] * 4, [-1000] * 4]


@pytest.mark.parametrize(
    ("shape", "size", "corner", "canvas"),
    [
        ((512, 512), (128, 128), (0, 0), (512, 512)),
        ((512, 796), (128, 128), (-142, 0), (796, 796)),  # KiTS19's case_00160
        ((31, 20), (128, 64), (-4, 0), (40, 20)),
        ((20, 31), (64, 128), (0, -4), (20, 40)),
        ((33, 20), (64, 64), (0, -6), (33, 33)),
    ],
)
def test_the_canvas_is_the_smallest_of_the_proportions_that_are_wanted(shape, size, corner, canvas):
    assert padding_to_aspect(shape, size) == (corner, canvas)


def test_a_pixel_gets_the_label_that_covers_most_of_it():
    label = np.zeros((1, 4, 4), np.uint8)
    label[0, :2, :2] = [[1, 1], [1, 2]]
    label[0, :2, 2:] = [[3, 3], [0, 3]]
    label[0, 2:, :2] = [[0, 2], [2, 0]]  # a tie goes to the lower label
    label[0, 2:, 2:] = [[2, 0], [0, 0]]

    assert resize_label(label, (2, 2)).tolist() == [[[1, 3], [0, 0]]]


def test_resized_labels_are_the_largest_of_every_class_s_area():
    label = np.random.default_rng(3).integers(0, 4, (2, 30, 30)).astype(np.uint8)

    shares = np.stack([(label == value).reshape(2, 6, 5, 6, 5).mean(axis=(2, 4)) for value in range(4)])

    np.testing.assert_array_equal(resize_label(label, (6, 6)), shares.argmax(axis=0))


def test_a_circle_survives_being_made_smaller_and_larger():
    h, w = np.ogrid[:512, :512]
    circle = (((h - 200) ** 2 + (w - 300) ** 2) < 60**2).astype(np.uint8)[None]

    small = resize_label(circle, (128, 128))
    back = ndimage.zoom(small[0].astype(float), 4, order=1, grid_mode=True, mode="nearest") > 0.5

    assert 2 * (back & (circle[0] > 0)).sum() / (back.sum() + circle.sum()) > 0.98


def test_the_median_is_taken_within_slices():
    planes = np.zeros((3, 5, 5), np.int16)
    planes[1, 2, 2] = 500  # a single bright pixel
    planes[2] = np.arange(25).reshape(5, 5)

    filtered = median_filter(planes)

    assert not filtered[:2].any()
    assert filtered[2, 1:4, 1:4].tolist() == planes[2, 1:4, 1:4].tolist()
