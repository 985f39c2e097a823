import math

import numpy as np
import pytest

from kidney_lab.metrics import Scoring, case_scores, metrics_frame, pooled_scores, summarize
from kidney_lab.metrics.overlap import confusion, f1, jaccard, pixel_accuracy, precision, sensitivity
from kidney_lab.metrics.pooled import case_counts, of_counts
from kidney_lab.metrics.scoring import COUNTS

COUNTED = ("dice", "jaccard", "sensitivity", "precision", "f1", "pixel_accuracy", "background_accuracy", "rvd")


@pytest.fixture
def frame():
    """Two cases: a large kidney that is found nearly whole, and a small one that is found half."""

    def scores(tp, fp, fn, tn):
        values = dict(zip(COUNTS, (tp, fp, fn, tn), strict=True))
        return {("kidney_and_mass", name): value for name, value in {**dict.fromkeys(COUNTED, 0.5), **values}.items()}

    return metrics_frame({"large": scores(90, 10, 0, 900), "small": scores(5, 0, 5, 90)})


def test_pooled_scores_are_those_of_the_summed_counts(frame):
    # 95 true positives, 10 false positives, 5 false negatives, 990 true negatives
    assert pooled_scores(frame) == {
        ("kidney_and_mass", name): pytest.approx(value)
        for name, value in {
            "dice": 190 / 205,
            "jaccard": 95 / 110,
            "sensitivity": 95 / 100,
            "precision": 95 / 105,
            "f1": 190 / 205,
            "pixel_accuracy": 1085 / 1100,
            "background_accuracy": 1000 / 1100,
            "rvd": 5 / 100,
        }.items()
    }


def test_pooled_scores_obey_the_laws_that_means_over_cases_break(frame):
    found = {metric: value for (_, metric), value in pooled_scores(frame).items()}
    p, s = found["precision"], found["sensitivity"]

    assert found["jaccard"] == pytest.approx(found["f1"] / (2 - found["f1"]))
    assert found["f1"] == pytest.approx(2 * p * s / (p + s))
    means = [np.mean([f(c) for c in map(confusion_of, frame.groupby("case")["value"])]) for f in (jaccard, f1)]
    assert means[0] > means[1] / (2 - means[1]) + 0.01


def confusion_of(group):
    _, values = group
    prediction, reference = np.zeros((2, 1, 1, int(values.iloc[-4:].sum())), bool)
    tp, fp, fn, _ = values.iloc[-4:].astype(int)
    prediction[..., : tp + fp], reference[..., fp : tp + fp + fn] = True, True
    return confusion(prediction, reference)


def test_label_maps_that_are_scored_one_by_one_pool_to_those_of_one_long_scan():
    rng = np.random.default_rng(0)
    cases = [rng.integers(0, 3, (2, depth, 9, 8)) for depth in (3, 7)]
    scoring = Scoring(regions=("tumor",), metrics=("f1", "precision", *COUNTS))
    frame = metrics_frame({str(k): case_scores(*pair, (1, 1, 1), scoring) for k, pair in enumerate(cases)})

    whole = confusion(*(np.concatenate([pair[side] for pair in cases]) == 2 for side in (0, 1)))
    assert pooled_scores(frame) == {("tumor", "f1"): f1(whole), ("tumor", "precision"): precision(whole)}
    assert case_counts(frame, "tumor").sum().tolist() == [whole.tp, whole.fp, whole.fn, whole.tn]


def test_many_totals_are_scored_at_once():
    counts = np.array([[[1, 1, 0, 2], [0, 0, 0, 4]], [[4, 0, 4, 0], [0, 3, 0, 1]]])

    np.testing.assert_array_equal(of_counts(counts, "precision"), [[1 / 2, math.nan], [1, 0]])
    np.testing.assert_array_equal(of_counts(counts, "sensitivity"), [[1, math.nan], [1 / 2, math.nan]])
    with pytest.raises(ValueError, match="hd95 is not made of counts"):
        of_counts(counts, "hd95")


def test_nothing_is_pooled_where_a_count_is_missing(frame):
    incomplete = frame[~((frame["case"] == "small") & (frame["metric"] == "true_negatives"))]

    assert pooled_scores(incomplete) == {}
    assert pooled_scores(frame[~frame["metric"].isin(COUNTS)]) == {}
    assert case_counts(frame, "tumor").empty


def test_the_summary_has_pooled_values_beside_its_five_figures_and_none_where_they_are_undefined(frame):
    summary = summarize(frame)["kidney_and_mass"]
    nothing = zip((*COUNTS, "f1"), (0, 0, 0, 9, math.nan), strict=True)
    empty = summarize(metrics_frame({"a": {("tumor", name): value for name, value in nothing}}))

    assert summary["jaccard"] == {
        **{"mean": 0.5, "std": 0.0, "median": 0.5, "n": 2, "n_undefined": 0},
        "pooled": pytest.approx(95 / 110),
    }
    assert "pooled" not in summary["true_positives"]
    assert empty["tumor"]["f1"]["pooled"] is None


def test_an_empty_prediction_has_the_accuracy_of_the_background_and_a_bad_one_less():
    reference = np.zeros((4, 10, 10), bool)
    reference[1, 2:6, 2:4] = True  # 8 of 400 voxels
    nothing, bad = np.zeros_like(reference), np.roll(reference, 5, axis=2)
    scoring = Scoring(regions=("kidney_and_mass",), metrics=("pixel_accuracy", "background_accuracy"))

    empty, moved = (list(case_scores(p * 1, reference * 1, (1, 1, 1), scoring).values()) for p in (nothing, bad))
    assert empty == [0.98, 0.98]
    assert moved == [0.96, 0.98]
    assert pixel_accuracy(confusion(bad, reference)) == 0.96
    assert sensitivity(confusion(nothing, reference)) == 0
