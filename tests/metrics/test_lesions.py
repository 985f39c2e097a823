import math

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.labels import CYST, KIDNEY, TUMOR
from kidney_lab.metrics.lesions import LESION_METRICS, detect_lesions, lesion_scores

SPACING_MM = (2.0, 5.0, 5.0)  # 0.05 ml per voxel
SHAPE = (6, 12, 20)


def mask(*boxes):
    drawn = np.zeros(SHAPE, np.uint8)
    for box in boxes:
        drawn[box] = 1
    return drawn


LEFT, RIGHT = np.s_[1:5, 2:8, 2:7], np.s_[1:5, 2:8, 12:18]  # 120 and 144 voxels


def test_equal_masks_find_every_lesion():
    both = mask(LEFT, RIGHT)
    lesions = detect_lesions(both, both, SPACING_MM)
    assert [lesion.dice for lesion in lesions.reference] == [1, 1]
    assert [lesion.volume_ml for lesion in lesions.found] == pytest.approx([7.2, 6.0])  # largest first
    assert lesions.found[0].diameter_mm == pytest.approx(math.hypot(30, 30))
    assert (lesions.sensitivity, lesions.dice) == (1, 1)
    assert lesions.missed == lesions.false_positives == ()


def test_a_missed_lesion_is_listed_with_its_size():
    lesions = detect_lesions(mask(LEFT), mask(LEFT, RIGHT), SPACING_MM)
    (missed,) = lesions.missed
    assert missed.volume_ml == pytest.approx(7.2)
    assert missed.diameter_mm == pytest.approx(math.hypot(30, 30))
    assert missed.covered == 0
    assert math.isnan(missed.dice)
    assert lesions.sensitivity == 0.5
    assert lesions.dice == 1


def test_a_claim_without_a_lesion_is_a_false_positive():
    lesions = detect_lesions(mask(LEFT, RIGHT), mask(LEFT), SPACING_MM)
    (false_positive,) = lesions.false_positives
    assert false_positive.volume_ml == pytest.approx(7.2)
    assert lesions.sensitivity == 1


def test_of_two_lesions_that_are_merged_one_is_found():
    bridge = np.s_[1:5, 2:8, 2:18]  # 384 voxels over both
    lesions = detect_lesions(mask(bridge), mask(LEFT, RIGHT), SPACING_MM)
    (found,), (missed,) = lesions.found, lesions.missed
    assert found.dice == pytest.approx(2 * 144 / (144 + 384))  # the larger of both has the larger Dice
    assert missed.volume_ml == pytest.approx(6.0)
    assert missed.covered == 1  # it was seen, only not as a lesion of its own
    assert lesions.false_positives == ()


def test_of_two_parts_of_a_split_lesion_one_is_a_false_positive():
    parts = mask(np.s_[1:5, 2:8, 12:15], np.s_[1:5, 2:8, 16:18])  # 72 and 48 of 144 voxels
    lesions = detect_lesions(parts, mask(RIGHT), SPACING_MM)
    (found,), (rest,) = lesions.found, lesions.false_positives
    assert found.dice == pytest.approx(2 * 72 / (72 + 144))
    assert found.covered == pytest.approx(120 / 144)  # by both parts
    assert rest.volume_ml == pytest.approx(2.4)
    assert rest.covered == 1


def test_lesions_that_touch_by_a_corner_are_one():
    touching = mask(np.s_[0:2, 0:3, 0:3], np.s_[2:4, 3:6, 3:6])
    apart = mask(np.s_[0:2, 0:3, 0:3], np.s_[3:5, 3:6, 3:6])
    assert len(detect_lesions(touching, touching, SPACING_MM).reference) == 1
    assert len(detect_lesions(apart, apart, SPACING_MM).reference) == 2


def test_the_pair_of_largest_dice_is_matched_first():
    reference = mask(np.s_[0:2, 0:4, 0:4], np.s_[0:2, 0:4, 6:20])  # 32 and 112 voxels
    prediction = mask(np.s_[0:2, 0:4, 3:12], np.s_[0:2, 0:4, 14:20])  # 72 (8 and 48 of them) and 48 voxels
    lesions = detect_lesions(prediction, reference, SPACING_MM)
    large, small = lesions.reference
    # Dice of the large lesion: 2*48/(112+48) = 0.6 with the second, 2*48/(112+72) = 0.52 with the first
    assert large.dice == pytest.approx(0.6)
    assert small.dice == pytest.approx(2 * 8 / (32 + 72))
    assert lesions.sensitivity == 1
    assert lesions.false_positives == ()


def test_an_overlap_below_the_least_dice_finds_nothing():
    shifted = mask(np.s_[1:5, 2:8, 6:11])  # 24 of 120 voxels in common: Dice 0.2
    assert detect_lesions(shifted, mask(LEFT), SPACING_MM).sensitivity == 1
    assert detect_lesions(shifted, mask(LEFT), SPACING_MM, min_dice=0.2).sensitivity == 1
    strict = detect_lesions(shifted, mask(LEFT), SPACING_MM, min_dice=0.21)
    assert strict.sensitivity == 0
    assert len(strict.false_positives) == 1
    assert strict.missed[0].covered == pytest.approx(0.2)


def test_specks_are_neither_missed_nor_false_positives_but_counted():
    speck = np.s_[0:1, 11:12, 19:20]  # 0.05 ml
    lesions = detect_lesions(mask(LEFT), mask(LEFT, speck), SPACING_MM)
    assert (lesions.sensitivity, lesions.reference_specks, lesions.predicted_specks) == (1, 1, 0)
    lesions = detect_lesions(mask(LEFT, speck), mask(LEFT), SPACING_MM)
    assert (lesions.false_positives, lesions.predicted_specks) == ((), 1)
    assert detect_lesions(mask(LEFT), mask(LEFT, speck), SPACING_MM, min_volume_ml=0).sensitivity == 0.5


def test_without_lesions_sensitivity_is_undefined_and_claims_are_still_false():
    nothing = detect_lesions(mask(), mask(), SPACING_MM)
    assert math.isnan(nothing.sensitivity)
    assert math.isnan(nothing.dice)
    claimed = detect_lesions(mask(LEFT), mask(), SPACING_MM)
    assert math.isnan(claimed.sensitivity)
    assert len(claimed.false_positives) == 1
    assert detect_lesions(mask(), mask(LEFT), SPACING_MM).sensitivity == 0


def test_scores_are_rows_of_the_table_by_region():
    reference, prediction = mask(np.s_[:]) * KIDNEY, mask(np.s_[:]) * KIDNEY
    reference[LEFT], reference[RIGHT] = TUMOR, CYST
    prediction[LEFT] = CYST
    scores = lesion_scores(prediction, reference, SPACING_MM, regions=("tumor", "mass"))
    assert list(scores) == [(region, metric) for region in ("tumor", "mass") for metric in LESION_METRICS]
    assert [scores["mass", metric] for metric in LESION_METRICS] == [2, 1, 0.5, 0, 1]
    assert [scores["tumor", metric] for metric in list(LESION_METRICS)[:4]] == [1, 0, 0, 0]
    assert math.isnan(scores["tumor", "lesion_dice"])


def test_impossible_arguments_are_refused():
    with pytest.raises(InputError, match=r"min_dice=1\.5 is no Dice"):
        detect_lesions(mask(LEFT), mask(LEFT), SPACING_MM, min_dice=1.5)
    with pytest.raises(InputError, match="'liver' is unknown"):
        lesion_scores(mask(), mask(), SPACING_MM, regions=("liver",))
    with pytest.raises(InputError, match="both must be the same"):
        detect_lesions(mask()[1:], mask(), SPACING_MM)
