"""Metrics of the user's own are named by the import path of a function."""

import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.case_scores import Scoring, case_scores
from kidney_lab.metrics.own import import_metric
from kidney_lab.metrics.scoring import choose_metrics

CODE = """
import math

LIMIT = 3

def predicted_ml(masks):
    return masks.prediction.sum() * math.prod(masks.spacing_mm) / 1000

def dice(masks):
    return 0.0

def nothing(masks):
    pass

def broken(masks):
    return {}["x"]
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "lab_of_test_own.py").write_text(CODE)
    (tmp_path / "lab_of_test_other.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    return "lab_of_test_own"


def test_it_is_scored_beside_the_others_under_its_own_name(package):
    prediction, reference = np.zeros((2, 3, 3), np.uint8), np.ones((2, 3, 3), np.uint8)
    prediction[0] = 1
    scoring = Scoring(("kidney",), choose_metrics([f"{package}.predicted_ml", "dice"]), level="slice")

    scores = case_scores(prediction, reference, (10.0, 10.0, 10.0), scoring)

    assert scores["kidney", "predicted_ml"] == pytest.approx(9.0)
    assert scores["kidney", "predicted_ml_per_slice"] == pytest.approx(4.5)  # 9 ml and none
    assert scores["kidney", "dice"] == pytest.approx(2 * 9 / (9 + 18))
    assert not any(map(math.isnan, scores.values()))


@pytest.mark.parametrize("name", ["no_such_lab.score", "lab_of_test_own.no_score", "lab_of_test_own.", ".score"])
def test_what_cannot_be_imported_is_told(package, name):
    with pytest.raises(InputError, match=r"cannot be imported .*: name package\.module\.function"):
        choose_metrics([name])


def test_what_cannot_be_called_is_no_metric(package):
    with pytest.raises(InputError, match="is a int: name a function"):
        import_metric(f"{package}.LIMIT")


def test_two_metrics_of_the_same_name_are_refused(package):
    with pytest.raises(InputError, match="would be a second dice"):
        choose_metrics([f"{package}.dice"])
    with pytest.raises(InputError, match="would be a second predicted_ml"):
        choose_metrics([f"{package}.predicted_ml", "lab_of_test_other.predicted_ml"])


@pytest.mark.parametrize(("name", "error"), [("nothing", "TypeError"), ("broken", "KeyError: 'x'")])
def test_a_metric_that_gives_no_number_is_named(package, name, error):
    mask = np.ones((2, 3, 3), np.uint8)
    scoring = Scoring(("kidney",), choose_metrics([f"{package}.{name}"]))

    with pytest.raises(InputError, match=rf"The metric 'lab_of_test_own\.{name}' gives no number .*{error}"):
        case_scores(mask, mask, (1.0, 1.0, 1.0), scoring)
