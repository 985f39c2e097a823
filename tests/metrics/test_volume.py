import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.volume import false_positive_volume_ml, relative_volume_difference, volume_ml


def mask(voxels: int) -> np.ndarray:
    return (np.arange(60) < voxels).reshape(3, 4, 5)


def test_volume_counts_voxels_of_any_nonzero_value():
    assert volume_ml(mask(10) * np.uint8(3), (5.0, 0.5, 0.8)) == pytest.approx(10 * 2.0 / 1000)
    assert volume_ml(mask(0), (5.0, 0.5, 0.8)) == 0.0


@pytest.mark.parametrize(
    ("predicted", "wanted", "expected"), [(15, 10, 0.5), (5, 10, -0.5), (10, 10, 0.0), (0, 10, -1.0), (50, 10, 4.0)]
)
def test_difference_is_signed_and_a_fraction_of_the_reference(predicted, wanted, expected):
    assert relative_volume_difference(mask(predicted), mask(wanted)) == expected


@pytest.mark.parametrize("predicted", [0, 10])
def test_an_empty_reference_leaves_it_undefined(predicted):
    assert math.isnan(relative_volume_difference(mask(predicted), mask(0)))


def test_real_masks_equal_medpy(real_pair):
    binary = pytest.importorskip("medpy.metric.binary", reason="MedPy is not installed")
    prediction, reference = (labels == 2 for labels in real_pair[:2])
    expected = binary.ravd(prediction, reference)
    assert relative_volume_difference(prediction, reference) == pytest.approx(expected, abs=1e-12)
    assert expected != 0


def test_falsely_positive_are_the_voxels_beyond_the_reference():
    prediction, reference = mask(25), mask(60) ^ mask(15)  # voxels 0 to 24, voxels 15 to 59: 15 too many of 2 mm3

    assert false_positive_volume_ml(prediction, reference, (5.0, 0.5, 0.8)) == pytest.approx(15 * 2.0 / 1000)
    assert false_positive_volume_ml(prediction, mask(0), (5.0, 0.5, 0.8)) == pytest.approx(25 * 2.0 / 1000)
    assert false_positive_volume_ml(mask(0), reference, (5.0, 0.5, 0.8)) == 0
    assert false_positive_volume_ml(reference, reference, (5.0, 0.5, 0.8)) == 0


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="must be the same"):
        relative_volume_difference(mask(1), mask(1)[:2])
