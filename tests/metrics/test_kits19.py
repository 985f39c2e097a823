import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.kits19 import kits19_scores

KIDNEY, TUMOR, MEAN = ("kidney_and_mass", "dice"), ("tumor", "dice"), ("mean", "dice")


def starter_code(prediction, reference):
    """What neheller/kits19 `starter_code/evaluation.py` computes: labels above 0, labels above 1."""
    values = []
    for below in (0, 1):
        p, r = prediction > below, reference > below
        values.append(2 * np.logical_and(p, r).sum() / (p.sum() + r.sum()))
    return values


def test_real_label_maps_score_as_by_the_starter_code(real_pair):
    prediction, reference = (np.minimum(labels, 2) for labels in real_pair[:2])
    kidney, tumor = starter_code(prediction, reference)
    scores = kits19_scores(prediction, reference)
    assert scores == pytest.approx({KIDNEY: kidney, TUMOR: tumor, MEAN: (kidney + tumor) / 2}, abs=1e-12)
    assert 0.1 < tumor < 1


def test_scores_computed_by_hand():
    reference = np.array([1, 1, 1, 1, 2, 2, 0, 0]).reshape(1, 2, 4)
    prediction = np.array([1, 1, 0, 2, 2, 0, 0, 0]).reshape(1, 2, 4)
    # kidney with tumor: 4 shared of 4 and 6; tumor: 1 shared of 2 and 2
    assert kits19_scores(prediction, reference) == {KIDNEY: 0.8, TUMOR: 0.5, MEAN: 0.65}


def test_a_cyst_is_kidney():
    reference = np.array([1, 1, 2]).reshape(1, 1, 3)
    prediction = np.array([1, 3, 2]).reshape(1, 1, 3)
    assert set(kits19_scores(prediction, reference).values()) == {1.0}


def test_a_region_in_neither_map_leaves_its_dice_and_the_mean_undefined():
    kidney = np.ones((1, 2, 2), np.uint8)
    scores = kits19_scores(kidney, kidney)
    assert scores[KIDNEY] == 1.0
    assert math.isnan(scores[TUMOR])
    assert math.isnan(scores[MEAN])


def test_a_tumor_in_one_map_alone_scores_zero():
    kidney = np.ones((1, 2, 2), np.uint8)
    with_tumor = kidney.copy()
    with_tumor[0, 0, 0] = 2
    assert (
        kits19_scores(kidney, with_tumor) == kits19_scores(with_tumor, kidney) == {KIDNEY: 1.0, TUMOR: 0.0, MEAN: 0.5}
    )


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="must be the same"):
        kits19_scores(np.ones((1, 2, 2)), np.ones((1, 2, 3)))
