import numpy as np
import pytest

from kidney_lab.data.priors import Priors
from kidney_lab.errors import InputError
from kidney_lab.methods.earlier import Earlier
from kidney_lab.transforms import RandCorruptPriord

LABELS = ["kidney", "tumor", "cyst"]


@pytest.fixture
def priors(tmp_path) -> Priors:
    made = Priors(tmp_path)
    made.write("case_00000", np.ones((4, 4, 4), np.uint8))
    return made


@pytest.mark.parametrize(
    ("prior", "values"), [("none", []), *((kind, [1, 2, 3]) for kind in ("predicted", "out_of_fold", "reference"))]
)
def test_every_label_is_a_channel_unless_there_is_no_prior(prior, values):
    earlier = Earlier("coarse", LABELS, prior=prior)

    assert earlier.values == values
    assert earlier.channels == len(values)


@pytest.mark.parametrize(
    ("prior", "roi", "needed"),
    [
        ("predicted", "reference", True), ("out_of_fold", "reference", True), ("reference", "reference", False),
        ("none", "reference", False), ("none", "predicted", True), ("reference", "predicted", True),
        ("none", "none", False),
    ],
)  # fmt: skip
def test_training_cases_are_predicted_where_channels_or_boxes_need_it(prior, roi, needed):
    assert Earlier("coarse", LABELS, prior=prior, roi=roi).predicts_training_cases == needed


@pytest.mark.parametrize("prior", ["predicted", "out_of_fold", "reference", "none"])
@pytest.mark.parametrize("roi", ["reference", "predicted"])
def test_validation_always_shows_and_is_placed_by_predictions(prior, roi, priors):
    taken = Earlier("coarse", LABELS, prior=prior, roi=roi, corrupt=RandCorruptPriord()).for_validation(priors)

    assert taken.priors is priors
    assert not taken.reference
    assert taken.places
    assert taken.corrupt is None
    assert list(taken.labels) == ([] if prior == "none" else [1, 2, 3])


def test_validation_is_placed_by_nothing_where_the_stage_sees_whole_volumes(priors):
    assert not Earlier("coarse", LABELS, roi="none").for_validation(priors).places


@pytest.mark.parametrize(("prior", "reference"), [("predicted", False), ("out_of_fold", False), ("reference", True)])
def test_training_shows_what_was_asked_for(prior, reference, priors):
    corrupt = RandCorruptPriord()

    taken = Earlier("coarse", LABELS, prior=prior, corrupt=corrupt).for_training(priors)

    assert taken.reference == reference
    assert taken.corrupt is corrupt
    assert not taken.places  # boxes lie about the reference, and are moved
    assert taken.roi("case_00000") is None


def test_training_without_a_prior_shows_and_changes_none():
    taken = Earlier("coarse", LABELS, prior="none", corrupt=RandCorruptPriord()).for_training(None)

    assert list(taken.labels) == []
    assert taken.corrupt is None


def test_training_boxes_lie_about_predictions_where_that_is_asked_for(priors):
    taken = Earlier("coarse", LABELS, prior="reference", roi="predicted").for_training(priors)

    assert taken.roi("case_00000").foreground_box == (slice(0, 4),) * 3


@pytest.mark.parametrize(("key", "value", "kinds"), [
    ("prior", "soft", "predicted, out_of_fold, reference, none"), ("roi", "all", "reference, predicted, none"),
])  # fmt: skip
def test_an_unknown_kind_names_the_choices(key, value, kinds):
    with pytest.raises(InputError, match=rf"model\.{key}={value} is unknown: choose one of {kinds}\."):
        Earlier("coarse", LABELS, **{key: value})


def test_an_unknown_label_is_named():
    with pytest.raises(InputError, match="holds spleen: choose from kidney, tumor, cyst"):
        Earlier(stage="coarse", labels=["kidney", "spleen"])
