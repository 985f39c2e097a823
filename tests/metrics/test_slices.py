import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.distances import average_symmetric_surface_distance, hausdorff_distance
from kidney_lab.metrics.overlap import confusion, f1, sensitivity
from kidney_lab.metrics.slices import SliceMean, occupied_slices, slice_mean
from kidney_lab.metrics.surface import contour_distances


def dice_of(prediction, reference):
    return f1(confusion(prediction, reference))


def sensitivity_of(prediction, reference):
    return sensitivity(confusion(prediction, reference))


@pytest.fixture
def masks():
    """Slices: none, reference alone, both by half, prediction alone, none."""
    prediction, reference = np.zeros((2, 5, 3, 4), np.uint8)
    reference[1, 1, 1], reference[2, 1, 1:3], prediction[2, 1, 2:4], prediction[3, 0, 0] = 1, 1, 1, 1
    return prediction, reference


def test_slices_that_either_mask_reaches_count(masks):
    assert slice_mean(dice_of, *masks) == SliceMean(mean=(0 + 0.5 + 0) / 3, n=3, n_undefined=0)


def test_slices_where_the_metric_is_undefined_are_left_out_and_counted(masks):
    assert slice_mean(sensitivity_of, *masks) == SliceMean(mean=(0 + 0.5) / 2, n=2, n_undefined=1)


def test_slices_come_in_order_as_views_of_one_slice(masks):
    found = list(occupied_slices(*masks))
    assert [pair[0].shape for pair in found] == [(1, 3, 4)] * 3
    for d, pair in zip((1, 2, 3), found, strict=True):
        for mask, whole in zip(pair, masks, strict=True):
            assert np.shares_memory(mask, whole)
            np.testing.assert_array_equal(mask[0], whole[d])


def test_empty_masks_leave_the_mean_undefined():
    result = slice_mean(dice_of, *np.zeros((2, 3, 4, 4)))
    assert math.isnan(result.mean)
    assert (result.n, result.n_undefined) == (0, 0)


def test_distances_per_slice_of_real_masks_equal_medpy_in_two_dimensions(real_pair):
    binary = pytest.importorskip("medpy.metric.binary", reason="MedPy is not installed")
    prediction, reference = (labels == 2 for labels in real_pair[:2])
    spacing = real_pair[2]
    for ours, theirs in [
        (average_symmetric_surface_distance, binary.assd),
        (hausdorff_distance, binary.hd),
    ]:
        result = slice_mean(
            lambda p, r, metric=ours: metric(contour_distances(p, r, spacing, surface="voxel")), prediction, reference
        )
        expected = [
            theirs(p, r, spacing[1:]) for p, r in zip(prediction, reference, strict=True) if p.any() and r.any()
        ]
        assert result.mean == pytest.approx(np.mean(expected), abs=1e-9)
        assert result.n == len(expected) > 5
        assert result.n_undefined == sum(p.any() != r.any() for p, r in zip(prediction, reference, strict=True))


def test_dice_per_slice_of_real_masks_equals_a_plain_loop(real_pair):
    prediction, reference = (labels > 0 for labels in real_pair[:2])
    expected = [
        2 * np.sum(p & r) / (p.sum() + r.sum()) for p, r in zip(prediction, reference, strict=True) if (p | r).any()
    ]
    assert slice_mean(dice_of, prediction, reference).mean == pytest.approx(np.mean(expected))


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="must be the same"):
        slice_mean(dice_of, np.ones((2, 3, 3)), np.ones((3, 3, 3)))
