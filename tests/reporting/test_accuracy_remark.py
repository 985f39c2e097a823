import math

import pytest

from kidney_lab.metrics import metrics_frame
from kidney_lab.reporting.accuracy_remark import accuracy_remark, trivial_accuracies, with_trivial_accuracy
from kidney_lab.reporting.published_scores import PublishedScore

KEY = ("kidney_and_mass", "pixel_accuracy", "case")


@pytest.fixture
def frames():
    return [metrics_frame({"a": {("kidney_and_mass", "background_accuracy"): value}}) for value in (0.97, 0.99)]


def published(row, value, metric="pixel_accuracy"):
    return PublishedScore("fig", row, "kits19", "kidney_and_mass", metric, "case", value)


def test_the_accuracy_of_an_empty_prediction_stands_behind_that_of_the_method():
    trivial = ("kidney_and_mass", "background_accuracy", "case")
    dice = ("tumor", "dice", "case")

    assert with_trivial_accuracy([KEY, dice]) == [KEY, trivial, dice]
    assert with_trivial_accuracy([KEY, dice, trivial]) == [KEY, dice, trivial]
    training = [(None, "train_accuracy", None), (None, "train_background_accuracy", None)]
    assert with_trivial_accuracy([training[0], dice]) == [*training, dice]


def test_the_remark_has_the_mean_of_all_cases_and_names_what_is_published_below_it(frames):
    numbers = [
        published("Ensemble", 0.92),
        published("Ensemble", 0.9, "val_accuracy"),  # of other slices than the cases
        published("U-Net", 0.99),
        published("V", None),
        published("W", 0.1, "f1"),
    ]

    assert trivial_accuracies(frames) == {"kidney_and_mass": pytest.approx(0.98)}
    assert accuracy_remark(["pixel_accuracy"], frames, numbers) == [
        "Pixel accuracy says little: nearly all voxels are background, so that a prediction that finds nothing "
        "reaches: on the cases scored here Kidney and mass 0.980.",
        "Published accuracies below that, if they are of whole scans as well: Ensemble (0.9200).",
    ]


def test_accuracies_of_training_and_validation_are_held_against_what_their_own_samples_give(frames):
    numbers = [
        *(published("Ensemble", value) for value in (0.92, 0.97)),
        *(published("Ensemble", value, "train_accuracy") for value in (0.92, 0.97)),
        *(published("U-Net", value, "val_accuracy") for value in (0.93, 0.94)),
    ]
    runs = [
        {"train_background_accuracy": first, "val_background_accuracy": second, "train_accuracy": 0.99}
        for first, second in ((0.94, 0.95), (0.96, math.nan), (math.nan, 0.93))
    ]

    assert accuracy_remark(["train_accuracy", "val_accuracy"], frames, numbers, runs) == [
        "Pixel accuracy says little: nearly all voxels are background, so that a prediction that finds nothing "
        "reaches: on the samples of training 0.950; on the samples of validation 0.940.",
        "Published accuracies below that, if they are of samples like these: Ensemble (0.9200), U-Net (0.9300).",
    ]
    (remark, *_) = accuracy_remark(["pixel_accuracy", "val_accuracy"], frames, (), runs)
    assert remark.endswith("on the cases scored here Kidney and mass 0.980; on the samples of validation 0.940.")


def test_accuracies_of_the_training_need_the_remark_too_and_other_metrics_do_not(frames):
    unknown = [metrics_frame({"a": {("tumor", "dice"): 0.5}})]
    (remark,) = accuracy_remark(["val_accuracy"], unknown, [], [{"val_background_accuracy": math.nan}])

    assert remark.endswith("a prediction that finds nothing is right on all of these.")
    assert accuracy_remark(["val_accuracy"], frames) == [remark]  # which are no samples of validation
    assert accuracy_remark(["dice", "f1"], frames) == []
    measured_by = "; metrics=background_accuracy measures what it reaches."
    assert accuracy_remark(["pixel_accuracy"], []) == [remark.removesuffix(".") + measured_by]
