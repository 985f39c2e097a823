import numpy as np
import pytest
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.inferers.utils import _get_scan_interval

from kidney_lab.methods.windows import rows_of_batches, shows_body, window_corners, window_size


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.6, 0.999, (0.0, 0.5, 0.25)])
@pytest.mark.parametrize("shape", [(4, 6, 6), (5, 6, 13), (19, 17, 6), (4, 40, 7)])
def test_windows_stand_where_monai_s_do_and_in_its_order(shape, overlap):
    roi = (4, 6, 6)
    each = overlap if isinstance(overlap, tuple) else (overlap,) * 3

    corners = window_corners(shape, roi, overlap)

    reference = dense_patch_slices(shape, roi, _get_scan_interval(shape, roi, 3, each))
    assert corners == [tuple(axis.start for axis in window) for window in reference]
    assert corners == sorted(corners)
    covered = np.zeros(shape, bool)
    for d, h, w in corners:
        covered[d : d + 4, h : h + 6, w : w + 6] = True
    assert covered.all()


@pytest.mark.parametrize(
    ("roi_size", "size"), [((4, 6, 5), (4, 6, 5)), (4, (4, 4, 4)), ((4, -1, 5), (4, 9, 5)), ((-1, 6, -1), (8, 6, 7))]
)
def test_a_window_is_as_large_as_monai_s(roi_size, size):
    assert window_size(SlidingWindowInferer(roi_size=roi_size), (8, 9, 7)) == size


@pytest.mark.parametrize(
    ("corner", "shown"),
    [((0, 0, 0), False), ((1, 1, 1), True), ((4, 4, 4), True), ((5, 0, 0), False), ((-2, 3, 3), False),
     ((3, 3, 7), True), ((9, 9, 9), False), ((-9, 0, 0), False)],
)  # fmt: skip
def test_a_window_shows_the_body_where_one_voxel_of_it_is_inside(corner, shown):
    image = np.full((8, 8, 8), -1000, np.int16)
    image[4, 4, 7] = -499  # the body
    image[0, 0, 0] = -500  # air still
    image[4, 4, 4] = 30

    assert shows_body(image, corner, (4, 4, 4)) is shown


def test_a_batch_holds_windows_of_one_first_slice():
    corners = [(0, 0, 0), (0, 0, 4), (0, 4, 0), (2, 0, 0), (5, 1, 1), (5, 1, 5)]

    assert list(rows_of_batches(corners, 2)) == [
        (0, [[(0, 0, 0), (0, 0, 4)], [(0, 4, 0)]]),
        (2, [[(2, 0, 0)]]),
        (5, [[(5, 1, 1), (5, 1, 5)]]),
    ]
    assert list(rows_of_batches([], 2)) == []
