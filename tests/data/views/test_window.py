import numpy as np
import pytest
import torch

from kidney_lab.data.views.boxes import read_sample
from kidney_lab.data.views.window import Scan, Window, batches, crop_to_box, whole, window_of

SHAPE = (7, 8, 9)
SCAN = Scan(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))


def box(*ends):
    return tuple(slice(*end) for end in ends)


def read(window) -> np.ndarray:
    return read_sample(SCAN, [], window.corner, window.shape)[0]


def test_the_whole_volume_is_a_window():
    window = window_of(whole(SHAPE), SHAPE, (1, 1, 1))

    assert window == Window((0, 0, 0), SHAPE, box((0, 7), (0, 8), (0, 9)))
    np.testing.assert_array_equal(read(window)[0], SCAN.image)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 20])
@pytest.mark.parametrize("place", [box((2, 4), (3, 6), (4, 5)), box((-2, 3), (5, 10), (7, 11))])
def test_what_is_read_beside_a_box_or_beyond_the_volume_is_cut_off_again(place, size):
    window = window_of(place, SHAPE, (size, size, size))

    seen = read(window)

    inside = tuple(slice(max(axis.start, 0), min(axis.stop, n)) for axis, n in zip(place, SHAPE, strict=True))
    assert window.box == inside
    assert seen.shape[1:] == tuple(max(size, axis.stop - axis.start) for axis in place)
    np.testing.assert_array_equal(crop_to_box(torch.from_numpy(seen), window)[0], SCAN.image[inside])


def test_a_small_box_is_enlarged_about_its_middle():
    window = window_of(box((2, 4), (3, 6), (4, 5)), SHAPE, (5, 4, 3))

    assert (window.corner, window.shape) == ((1, 3, 3), (5, 4, 3))


def of(*shapes) -> list[Window]:
    return [Window((number, 0, 0), shape, whole(SHAPE)) for number, shape in enumerate(shapes)]


def test_windows_of_one_shape_are_batched_up_to_a_number_of_voxels():
    windows = of(*[(4, 4)] * 7)

    assert [len(batch) for batch in batches(windows, 50)] == [3, 3, 1]
    assert [window for batch in batches(windows, 50) for window in batch] == windows


def test_a_window_larger_than_the_limit_goes_alone_and_so_does_one_of_another_shape():
    windows = of((9, 9), (2, 2), (2, 2), (3, 2), (2, 2))

    assert [len(batch) for batch in batches(windows, 8)] == [1, 2, 1, 1]
    assert list(batches([], 8)) == []
