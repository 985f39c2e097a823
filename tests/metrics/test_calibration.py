import math
import tracemalloc

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.calibration import expected_calibration_error

SHAPE = (4, 6, 7)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=0))
    return (powers / powers.sum(axis=0)).astype(np.float32)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_classes_equal_torchmetrics(bins):
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    rng = np.random.default_rng(0)
    probs, labels = softmax(2 * rng.normal(size=(4, *SHAPE))), rng.integers(4, size=SHAPE)
    expected = multiclass_calibration_error(
        torch.as_tensor(probs)[None], torch.as_tensor(labels)[None], num_classes=4, n_bins=bins, norm="l1"
    ).item()
    assert expected_calibration_error(probs, labels, bins=bins) == pytest.approx(expected, abs=1e-6)
    assert expected > 0.05


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_a_region_equals_torchmetrics(bins):
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(1)
    probs = rng.random(SHAPE).astype(np.float32)
    mask = rng.random(SHAPE) < probs**2
    expected = binary_calibration_error(torch.as_tensor(probs), torch.as_tensor(mask).int(), bins, norm="l1").item()
    assert expected_calibration_error(probs, mask, bins=bins) == pytest.approx(expected, abs=1e-6)
    assert expected > 0.05


def test_two_bins_computed_by_hand():
    probs = np.array([0.1, 0.3, 0.8, 0.9, 1.0]).reshape(1, 1, 5)
    mask = np.array([0, 1, 1, 0, 1]).reshape(1, 1, 5)
    # below 0.5: 1 of 2 is inside, 0.4 were expected; above: 2 of 3, 2.7 expected
    assert expected_calibration_error(probs, mask, bins=2) == pytest.approx((0.6 + 0.7) / 5)


def test_certainty_that_is_right_costs_nothing_and_that_is_wrong_everything():
    labels = np.random.default_rng(2).integers(3, size=SHAPE)
    certain = np.stack([labels == label for label in range(3)]).astype(np.float16)
    assert expected_calibration_error(certain, labels) == 0.0
    assert expected_calibration_error(certain, (labels + 1) % 3) == 1.0


def test_of_the_foreground_box_only_what_lies_in_it_counts():
    probs, mask = np.zeros((2, 8, 8, 8))
    mask[2:4, 3:6, 5] = 1
    probs[2:4, 3:6, 5] = 0.75
    probs[0, 0, 0] = 1.0  # far away and wrong
    assert expected_calibration_error(probs, mask, foreground_box=True) == pytest.approx(0.25)
    assert expected_calibration_error(probs, mask) == pytest.approx((6 * 0.25 + 1) / 512)
    assert math.isnan(expected_calibration_error(probs, mask * 0, foreground_box=True))


def test_memory_is_that_of_a_slice():
    probs, labels = np.full((3, 60, 64, 64), 1 / 3, np.float32), np.zeros((60, 64, 64), np.uint8)
    tracemalloc.start()
    expected_calibration_error(probs, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 3 * 64 * 64 * 8  # a dozen slices in float64; the volume has 60


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (np.full((2, *SHAPE), 3.0), r"between 3 and 3, but must lie in \[0, 1\]"),
        (np.full(SHAPE, -0.1), "apply softmax or sigmoid"),
        (np.full(SHAPE, np.nan), "between nan and nan"),
        (np.full((2, *SHAPE), 0.9), "add up to 1.8, but must add up to 1"),
        (np.full((2, 3, 6, 7), 0.5), r"shape \(2, 3, 6, 7\) and the reference \(4, 6, 7\)"),
        (np.full((6, 7), 0.5), r"must be \(C, D, H, W\)"),
    ],
)
def test_values_that_are_no_probabilities_are_refused(probs, message):
    with pytest.raises(InputError, match=message):
        expected_calibration_error(probs, np.zeros(SHAPE, int))


def test_no_bins_are_refused():
    with pytest.raises(InputError, match="number of bins is 0"):
        expected_calibration_error(np.full(SHAPE, 0.5), np.zeros(SHAPE, int), bins=0)
