import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.generalized_dice import WEIGHTS, generalized_dice
from kidney_lab.metrics.overlap import confusion, f1


def assert_equals_monai(prediction, reference, labels, weight_type):
    import torch
    from monai.metrics import compute_generalized_dice

    one_hot = [torch.as_tensor(np.stack([m == label for label in labels])[None] * 1.0) for m in (prediction, reference)]
    expected = compute_generalized_dice(*one_hot, weight_type=weight_type, sum_over_classes=True).item()
    assert generalized_dice(prediction, reference, labels, weight_type=weight_type) == pytest.approx(expected, rel=1e-6)
    return expected


@pytest.mark.parametrize("weight_type", list(WEIGHTS))
@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (1, 2), (2,)])
def test_real_label_maps_equal_monai(real_pair, labels, weight_type):
    assert 0.1 < assert_equals_monai(*real_pair[:2], labels, weight_type) < 1


@pytest.mark.parametrize("weight_type", list(WEIGHTS))
@pytest.mark.parametrize("wanted", [(0, 1), (0, 2), (0, 1, 3)])
def test_labels_that_the_reference_lacks_weigh_as_in_monai(weight_type, wanted):
    rng = np.random.default_rng(4)
    prediction, reference = rng.choice(4, (3, 5, 6)), rng.choice(wanted, (3, 5, 6))
    assert_equals_monai(prediction, reference, (0, 1, 2, 3), weight_type)


def test_small_labels_weigh_as_much_as_large_ones_computed_by_hand():
    prediction, reference = np.zeros((2, 1, 3, 10), int)
    reference[0, 0, :8], reference[0, 2, :2] = 1, 2
    prediction[0, 0, :8], prediction[0, 2, 1:3] = 1, 2
    # weights 1/64 and 1/4: 2 (8/64 + 1/4) / (16/64 + 4/4)
    assert generalized_dice(prediction, reference, (1, 2)) == pytest.approx(2 * (8 / 64 + 1 / 4) / (16 / 64 + 4 / 4))
    assert generalized_dice(prediction, reference, (1, 2), weight_type="uniform") == pytest.approx(2 * 9 / 20)


def test_of_one_label_it_is_dice(real_pair):
    prediction, reference, _ = real_pair
    assert generalized_dice(prediction, reference, (2,)) == pytest.approx(
        f1(confusion(prediction == 2, reference == 2))
    )


def test_a_label_that_is_predicted_alone_costs_and_one_that_both_lack_does_not():
    reference = np.zeros((1, 1, 8), int)
    reference[..., :4] = 1
    prediction = reference.copy()
    assert generalized_dice(prediction, reference, (1, 2)) == 1.0
    prediction[..., 6:] = 2  # both weigh 1/16: 2 * 4 / (4 + 4 + 2)
    assert generalized_dice(prediction, reference, (1, 2)) == pytest.approx(8 / 10)


def test_labels_in_neither_map_leave_it_undefined_and_in_the_prediction_alone_give_zero():
    empty, filled = np.zeros((1, 2, 2), int), np.full((1, 2, 2), 2)
    assert math.isnan(generalized_dice(empty, empty, (1, 2)))
    assert generalized_dice(filled, empty, (1, 2)) == 0.0


def test_wrong_arguments_are_refused():
    labels = np.zeros((1, 2, 2), int)
    with pytest.raises(InputError, match="'cubic' is unknown: choose out of square, simple, uniform"):
        generalized_dice(labels, labels, weight_type="cubic")
    with pytest.raises(InputError, match="list of labels is empty"):
        generalized_dice(labels, labels, ())
    with pytest.raises(InputError, match="must be the same"):
        generalized_dice(labels, labels[0])
