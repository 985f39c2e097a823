import numpy as np
import pytest
from scipy import ndimage

from kidney_lab.data.kits import find_cases
from kidney_lab.data.nifti import read_volume
from kidney_lab.data.views.roi_boxes import SMALLEST_SHARE, centred, moved_inside, roi_boxes
from kidney_lab.geometry import reorient


def volume(shape, *boxes) -> np.ndarray:
    """A label map `(D, H, W)` of filled boxes, each (first, end) along every axis."""
    labels = np.zeros(shape, np.uint8)
    for k, box in enumerate(boxes):
        labels[tuple(slice(*axis) for axis in box)] = 1 + k % 3
    return labels


def corners(boxes) -> list[tuple[int, ...]]:
    return [tuple(axis.start for axis in box) for box in boxes]


def held(boxes, shape) -> np.ndarray:
    """Voxels of the volume that lie in a box."""
    inside = np.zeros(shape, bool)
    for box in boxes:
        inside[tuple(slice(max(0, axis.start), axis.stop) for axis in box)] = True
    return inside


def test_a_foreground_that_fits_gets_one_box_centred_on_it():
    labels = volume((30, 40, 50), [(5, 9), (10, 16), (6, 14)], [(10, 13), (12, 20), (30, 35)])  # [5:13, 10:20, 6:35]

    assert roi_boxes(labels, (12, 16, 32)) == [(slice(3, 15), slice(7, 23), slice(4, 36))]


def test_boxes_are_moved_into_the_volume_where_it_is_larger_and_hold_all_of_it_where_it_is_not():
    labels = volume((30, 40, 20), [(0, 4), (36, 40), (2, 6)])

    assert roi_boxes(labels, (12, 16, 24)) == [(slice(0, 12), slice(24, 40), slice(-4, 20))]


def test_an_empty_map_has_no_box():
    assert roi_boxes(np.zeros((4, 5, 6), np.uint8), (2, 2, 2)) == []


def test_two_kidneys_that_do_not_fit_together_get_a_box_each_the_larger_first():
    small, large = [(10, 16), (8, 14), (5, 11)], [(8, 18), (10, 20), (50, 58)]
    labels = volume((40, 40, 70), small, large)

    assert roi_boxes(labels, (16, 16, 16)) == [
        (slice(5, 21), slice(7, 23), slice(46, 62)),
        (slice(5, 21), slice(3, 19), slice(0, 16)),
    ]


def test_a_kidney_of_several_labels_is_one_component():
    labels = volume(
        (20, 20, 60), [(4, 10), (4, 10), (4, 10)], [(10, 12), (10, 12), (10, 12)], [(4, 10), (4, 10), (50, 56)]
    )

    assert len(roi_boxes(labels, (12, 12, 12))) == 2


def test_a_speck_far_away_takes_no_box_and_does_not_part_the_kidneys():
    kidneys = [[(10, 20), (10, 20), (10, 20)], [(10, 20), (10, 20), (25, 35)]]
    labels = volume((60, 40, 60), *kidneys, [(58, 60), (38, 40), (58, 60)])

    assert roi_boxes(labels, (16, 16, 32)) == roi_boxes(volume((60, 40, 60), *kidneys), (16, 16, 32))


@pytest.mark.parametrize(("length", "number"), [(9, 1), (10, 2)])  # of 100 voxels a tenth counts
def test_a_second_component_counts_from_a_tenth_of_the_first(length, number):
    assert SMALLEST_SHARE == 0.1
    labels = volume((10, 20, 60), [(0, 4), (0, 5), (0, 5)], [(0, 1), (0, 1), (40, 40 + length)])

    assert len(roi_boxes(labels, (10, 12, 12))) == number


def test_a_component_that_an_earlier_box_holds_adds_none():
    labels = volume((20, 20, 80), [(2, 12), (2, 12), (2, 12)], [(2, 12), (2, 12), (60, 69)], [(4, 9), (4, 9), (14, 16)])

    assert len(roi_boxes(labels, (16, 16, 24))) == 2


def test_a_component_larger_than_the_box_is_covered_by_as_few_boxes_as_do():
    labels = volume((20, 30, 60), [(4, 10), (4, 12), (5, 45)])  # one horseshoe, 40 long

    boxes = roi_boxes(labels, (16, 16, 16))

    assert corners(boxes) == [(0, 0, 5), (0, 0, 17), (0, 0, 29)]
    assert held(boxes, labels.shape)[labels > 0].all()


def test_of_the_boxes_of_a_large_component_those_that_hold_none_of_it_are_left_out():
    labels = volume((10, 60, 60), [(2, 8), (5, 45), (5, 10)], [(2, 8), (40, 45), (5, 45)])  # an L

    boxes = roi_boxes(labels, (10, 20, 20))

    assert corners(boxes) == [(0, 5, 5), (0, 25, 5), (0, 25, 25)]
    assert held(boxes, labels.shape)[labels > 0].all()


@pytest.mark.parametrize("seed", range(30))
def test_every_voxel_of_the_components_that_count_is_in_a_box(seed):
    rng = np.random.default_rng(seed)
    shape, size = rng.integers(20, 50, 3), rng.integers(5, 30, 3)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(1, 4))
    labels = (noise > np.quantile(noise, rng.uniform(0.8, 0.99))).astype(np.uint8)

    boxes = roi_boxes(labels, size)

    components, _ = ndimage.label(labels, np.ones((3, 3, 3)))
    voxels = np.bincount(components.ravel())[1:]
    counting = 1 + np.flatnonzero(voxels >= 0.1 * voxels.max())
    assert held(boxes, shape)[np.isin(components, counting)].all()
    for box in boxes:
        for axis, n, length in zip(box, size, shape, strict=True):
            assert axis.stop - axis.start == n
            assert min(0, length - n) <= axis.start <= max(0, length - n)
    assert roi_boxes(labels.copy(order="F"), size) == boxes


def test_the_middle_is_rounded_down_and_a_move_is_the_least():
    assert centred((slice(0, 5), slice(2, 4), slice(3, 8)), (4, 4, 4)) == (slice(0, 4), slice(1, 5), slice(3, 7))
    room = (slice(0, 10), slice(2, 6), slice(-4, 20))
    assert moved_inside((-3, 4, 8), (4, 8, 12), room) == (0, 2, 8)  # larger than the room along H: keeps covering it


def test_the_kidneys_of_a_real_case_get_a_box_each_where_one_is_too_small(shared_data):
    case = find_cases(shared_data / "kits19", label_files=["segmentation.nii.gz"], synthesize_missing_images=True)[0]
    labels = reorient(read_volume(case.label, dtype=np.uint8)).array

    first, second = roi_boxes(labels, (300, 120, 130))

    assert held([first, second], labels.shape)[labels > 0].all()
    for box in (first, second):
        assert 0.25 < np.count_nonzero(labels[box]) / np.count_nonzero(labels) < 0.75
