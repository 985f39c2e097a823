import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import overlap
from kidney_lab.metrics.dice import dice
from kidney_lab.metrics.overlap import Confusion, confusion

RATIOS = (
    overlap.jaccard,
    overlap.sensitivity,
    overlap.specificity,
    overlap.precision,
    overlap.f1,
    overlap.pixel_accuracy,
    overlap.background_accuracy,
)


def test_counts_of_two_bars_computed_by_hand():
    prediction, reference = np.zeros((2, 2, 3, 10), np.uint8)
    prediction[0, 1, 2:8] = 1  # 6 voxels
    reference[0, 1, 4:9] = 7  # 5 voxels, 4 of them shared
    counts = confusion(prediction, reference)
    assert counts == Confusion(tp=4, fp=2, fn=1, tn=53)
    values = [ratio(counts) for ratio in RATIOS]
    assert values == [4 / 7, 4 / 5, 53 / 55, 4 / 6, 8 / 11, 57 / 60, 55 / 60]


@pytest.mark.parametrize(
    ("inside", "wanted", "expected"),
    [  # jaccard, sensitivity, specificity, precision, f1, pixel accuracy, accuracy of an empty prediction
        (0, 0, (math.nan, math.nan, 1, math.nan, math.nan, 1, 1)),
        (0, 1, (0, 0, 1, math.nan, 0, 7 / 8, 7 / 8)),
        (1, 0, (0, math.nan, 7 / 8, 0, 0, 7 / 8, 1)),
        (8, 8, (1, 1, math.nan, 1, 1, 1, 0)),
    ],
)
def test_what_is_divided_by_zero_is_undefined(inside, wanted, expected):
    prediction, reference = (np.arange(8).reshape(2, 2, 2) < voxels for voxels in (inside, wanted))
    counts = confusion(prediction, reference)
    np.testing.assert_array_equal([ratio(counts) for ratio in RATIOS], expected)


@pytest.mark.parametrize("region", [(1, 2, 3), (2,)])
def test_real_masks_equal_scikit_learn(real_pair, region):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    prediction, reference = (np.isin(labels, region) for labels in real_pair[:2])
    counts = confusion(prediction, reference)
    truth, said = reference.ravel(), prediction.ravel()
    assert [counts.tn, counts.fp, counts.fn, counts.tp] == metrics.confusion_matrix(truth, said).ravel().tolist()
    expected = {
        overlap.jaccard: metrics.jaccard_score(truth, said),
        overlap.recall: metrics.recall_score(truth, said),
        overlap.specificity: metrics.recall_score(truth, said, pos_label=False),
        overlap.precision: metrics.precision_score(truth, said),
        overlap.f1: metrics.f1_score(truth, said),
        overlap.pixel_accuracy: metrics.accuracy_score(truth, said),
        overlap.background_accuracy: metrics.accuracy_score(truth, np.zeros_like(said)),
    }
    assert {ratio: ratio(counts) for ratio in expected} == pytest.approx(expected, abs=1e-12)
    assert overlap.f1(counts) == pytest.approx(dice(prediction, reference), abs=1e-15)
    assert 0.1 < overlap.jaccard(counts) < 0.95


def test_real_masks_equal_medpy(real_pair):
    binary = pytest.importorskip("medpy.metric.binary", reason="MedPy is not installed")
    prediction, reference = (labels > 0 for labels in real_pair[:2])
    counts = confusion(prediction, reference)
    assert overlap.jaccard(counts) == pytest.approx(binary.jc(prediction, reference), abs=1e-12)
    assert overlap.sensitivity(counts) == pytest.approx(binary.sensitivity(prediction, reference), abs=1e-12)
    assert overlap.specificity(counts) == pytest.approx(binary.specificity(prediction, reference), abs=1e-12)
    assert overlap.precision(counts) == pytest.approx(binary.precision(prediction, reference), abs=1e-12)


def test_pooled_counts_are_those_of_the_volumes_in_one():
    rng = np.random.default_rng(0)
    prediction, reference = rng.random((2, 6, 5, 4)) < 0.4
    halves = confusion(prediction[:2], reference[:2]) + confusion(prediction[2:], reference[2:])
    assert halves == confusion(prediction, reference)
    assert overlap.jaccard(halves) == pytest.approx(overlap.f1(halves) / (2 - overlap.f1(halves)))


def test_true_negatives_of_a_whole_scan_are_counted_outside_the_common_box():
    prediction, reference = np.zeros((2, 100, 64, 64), bool)
    prediction[50, 3, 4], reference[50, 3, 4:6] = True, True
    assert confusion(prediction, reference) == Confusion(1, 0, 1, 100 * 64 * 64 - 2)


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"\(1, 2, 2\) and the reference \(1, 2, 3\)"):
        confusion(np.ones((1, 2, 2)), np.ones((1, 2, 3)))
