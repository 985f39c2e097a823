import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import distances, overlap, volume
from kidney_lab.metrics.dice import dice
from kidney_lab.metrics.lesions import LESION_METRICS, lesion_scores
from kidney_lab.metrics.measurement import Measurement
from kidney_lab.metrics.scoring import (
    COUNTS,
    MASK_METRICS,
    METRIC_TABLE,
    OFFICIAL_METRICS,
    choose_metrics,
    find_metric,
)
from kidney_lab.metrics.surface import surface_dice, surface_distances


def measure(prediction, reference, spacing_mm=(3.0, 1.0, 1.0)):
    return Measurement(prediction, reference, spacing_mm, tolerance_mm=1.1, voxels=prediction.size)


@pytest.fixture
def tumors(real_pair):
    prediction, reference, spacing_mm = real_pair
    return prediction == 2, reference == 2, spacing_mm


def test_every_value_is_that_of_the_metric_s_own_function(tumors):
    counts, found = overlap.confusion(*tumors[:2]), surface_distances(*tumors)
    lesions = lesion_scores(*(mask * 2 for mask in tumors[:2]), tumors[2])
    expected = {
        "dice": dice(*tumors[:2]),
        "surface_dice": surface_dice(found, 1.1),
        "jaccard": overlap.jaccard(counts),
        "sensitivity": overlap.sensitivity(counts),
        "specificity": overlap.specificity(counts),
        "precision": overlap.precision(counts),
        "f1": overlap.f1(counts),
        "pixel_accuracy": overlap.pixel_accuracy(counts),
        "background_accuracy": overlap.background_accuracy(counts),
        **dict(zip(COUNTS, (counts.tp, counts.fp, counts.fn, counts.tn), strict=True)),
        "rvd": volume.relative_volume_difference(*tumors[:2]),
        "false_positive_volume": volume.false_positive_volume_ml(*tumors),
        "assd": distances.average_symmetric_surface_distance(found),
        "hd": distances.hausdorff_distance(found),
        "hd95": distances.hausdorff_distance(found, percentile=95),
        **{metric: value for (_, metric), value in lesions.items()},
    }
    values = {name: metric.compute(measure(*tumors)) for name, metric in METRIC_TABLE.items()}
    assert list(values) == list(expected)
    assert values == expected
    assert all(math.isfinite(value) for value in values.values())


def test_metrics_that_are_called_symmetric_are_and_the_others_are_not():
    prediction, reference = np.zeros((2, 12, 24, 24), bool)
    reference[1:8, 2:12, 2:12] = reference[3:9, 15:22, 14:22] = True
    prediction[1:7, 4:11, 2:10] = True  # one lesion of two, and that in part
    for name, metric in METRIC_TABLE.items():
        one, other = (metric.compute(measure(*masks)) for masks in ((prediction, reference), (reference, prediction)))
        if name not in ("lesions_found", "lesion_dice"):  # equal, since matches are one to one
            assert (one == pytest.approx(other, abs=1e-12)) == metric.symmetric, name


def test_the_better_prediction_has_the_better_value():
    reference = np.zeros((6, 20, 20), bool)
    reference[1:5, 4:16, 4:16] = True
    good, bad = reference.copy(), reference.copy()
    good[:, 4:5] = False
    bad[:, 4:9], bad[0, 17:19, 17:19] = False, True
    lengths, counts = dict.fromkeys(("assd", "hd", "hd95"), "mm"), dict.fromkeys(COUNTS, "voxels")
    units = {"false_positive_volume": "ml", **lengths, **counts}
    for name in MASK_METRICS:
        metric = METRIC_TABLE[name]
        better, worse = (metric.compute(measure(mask, reference)) for mask in (good, bad))
        order = {
            "higher": better > worse,
            "lower": better < worse,
            "zero": abs(better) < abs(worse),
            "neither": better == worse or name in COUNTS,
        }
        assert order[metric.better], name
        assert metric.unit == units.get(name, "")


def test_distances_are_measured_once_and_only_where_they_are_needed(tumors, monkeypatch):
    calls, original = [], surface_distances
    monkeypatch.setattr(
        "kidney_lab.metrics.measurement.surface_distances", lambda *a, **k: calls.append(1) or original(*a, **k)
    )
    masks = measure(*tumors)
    for name in MASK_METRICS:
        if METRIC_TABLE[name].needs == "voxels":
            METRIC_TABLE[name].compute(masks)
    assert not calls
    for name in MASK_METRICS:
        METRIC_TABLE[name].compute(masks)
    assert len(calls) == 1


def test_empty_masks_are_one_and_zero_in_the_official_scores_and_undefined_in_distances():
    none, some = np.zeros((2, 4, 4, 4), bool)
    some[1:3, 1:3, 1:3] = True
    both, one = measure(none, none), measure(none, some)
    assert [METRIC_TABLE[name].compute(both) for name in OFFICIAL_METRICS] == [1, 1]
    assert [METRIC_TABLE[name].compute(one) for name in OFFICIAL_METRICS] == [0, 0]
    assert all(math.isnan(METRIC_TABLE[name].compute(masks)) for name in ("assd", "hd95") for masks in (both, one))
    assert math.isnan(METRIC_TABLE["jaccard"].compute(both))


def test_the_setting_takes_groups_and_names():
    assert choose_metrics("official") == ("dice", "surface_dice")
    assert choose_metrics("all") == MASK_METRICS
    assert choose_metrics("hd95") == ("hd95",)
    assert choose_metrics(["hd95", "dice", "hd95"]) == ("hd95", "dice")
    assert not set(MASK_METRICS) & set(LESION_METRICS)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            "hausdorff",
            r"The metric 'hausdorff' is unknown: choose official, all, or a list out of dice, surface_dice, ",
        ),
        (["dice", "iou"], r"The metric 'iou' is unknown: .* jaccard, .*, hd, hd95\.$"),
        (["lesion_dice"], r"'lesion_dice' is unknown here \(lesions=true brings it\)"),
        ([], "The list of metrics is empty: choose official"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(chosen, message):
    with pytest.raises(InputError, match=message):
        choose_metrics(chosen)


def test_names_in_tables_are_found():
    assert find_metric("hd95") is METRIC_TABLE["hd95"]
    assert find_metric("hd95_per_slice").title == "Hausdorff distance, 95th percentile, mean over slices"
    assert find_metric("hd95_per_slice").unit == "mm"
    assert find_metric("my_metric") is find_metric("my_metric_per_slice") is None
