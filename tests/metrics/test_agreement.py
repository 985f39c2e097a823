import math

import numpy as np
import pytest

from kidney_lab.data.annotations import Instance, annotator_label, find_instances
from kidney_lab.data.kits import Case, find_cases, grid_in_memory
from kidney_lab.data.nifti import read_grid, write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.metrics import dice, kits_scores
from kidney_lab.metrics.agreement import annotator_agreement, complete_annotators, pairwise_scores

GRID = grid_from_spacing((3, 8, 8), (3.0, 1.0, 1.0))


def label(first_row):
    """A kidney of four rows of eight voxels, from some row on."""
    array = np.zeros(GRID.shape, np.uint8)
    array[1, first_row : first_row + 4] = 1
    return array


def kidney_dice(prediction, reference, spacing_mm):
    return {("kidney", "dice"): dice(prediction, reference)}


def sensitivity(prediction, reference, spacing_mm):
    wanted = reference > 0
    return {("kidney", "sensitivity"): float((prediction[wanted] > 0).mean()) if wanted.any() else math.nan}


def write_case(root, name, annotators):
    """A case whose annotators drew the kidney shifted by one row each."""
    for annotator in annotators:
        path = root / name / "instances" / f"kidney_instance-1_annotation-{annotator}.nii.gz"
        write_volume(path, Volume(label(annotator), GRID))
    return Case(name, None, None, instances=find_instances(root / name))


def test_scores_are_the_mean_over_all_pairs():
    labels = [label(1), label(2), label(3)]  # neighbours share 3 of 4 rows, the outer two 2
    scores = pairwise_scores(labels, GRID.spacing, score=kidney_dice)
    assert scores == {("kidney", "dice"): pytest.approx((0.75 + 0.75 + 0.5) / 3)}


def test_a_score_that_is_not_symmetric_is_taken_both_ways():
    half = label(1)
    half[1, 3:] = 0
    one_way = pairwise_scores([label(1), half], GRID.spacing, score=sensitivity)
    both_ways = pairwise_scores([label(1), half], GRID.spacing, score=sensitivity, symmetric=False)
    assert one_way["kidney", "sensitivity"] == 0.5  # the first is the reference
    assert both_ways["kidney", "sensitivity"] == 0.75


def test_pairs_without_a_value_are_left_out_of_the_mean():
    nothing = np.zeros(GRID.shape, np.uint8)
    scores = pairwise_scores([label(1), nothing], GRID.spacing, score=sensitivity, symmetric=False)
    assert scores["kidney", "sensitivity"] == 0  # only with the first as the reference
    assert math.isnan(pairwise_scores([nothing, nothing], GRID.spacing, score=sensitivity)["kidney", "sensitivity"])


def test_who_did_not_draw_everything_is_not_compared(tmp_path):
    drawn = [("kidney", 1, 1), ("kidney", 1, 2), ("kidney", 1, 3), ("tumor", 1, 1), ("tumor", 1, 3), ("cyst", 1, 1)]
    instances = [Instance(kind, number, who, tmp_path / "x") for kind, number, who in drawn]
    assert complete_annotators(instances) == [1]
    assert complete_annotators(instances[:-1]) == [1, 3]
    assert complete_annotators([]) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_cases_of_a_single_annotator_are_left_out_and_named(tmp_path, workers):
    drawn = {"case_00000": [1, 2], "case_00001": [1], "case_00002": [1, 2, 3]}
    cases = [write_case(tmp_path, name, annotators) for name, annotators in drawn.items()]
    cases.append(Case("case_00003", None, None))
    agreement = annotator_agreement(cases, workers=workers)
    assert agreement.left_out == ("case_00001", "case_00003")
    dices = agreement.frame.query("region == 'kidney_and_mass' and metric == 'dice'").set_index("case")["value"]
    assert dices.to_dict() == {"case_00000": 0.75, "case_00002": pytest.approx(2 / 3)}


def test_a_folder_without_a_second_annotator_is_refused(tmp_path):
    with pytest.raises(InputError, match="None of 1 cases was drawn by two annotators: give a folder of KiTS21"):
        annotator_agreement([write_case(tmp_path, "case_00000", [1])])


def test_real_annotators_agree_as_well_as_the_literature_says(shared_data):
    names = ("case_00061", "case_00152", "case_00534")  # the last was drawn once
    cases = [case for case in find_cases(shared_data / "kits23", annotation="sampled") if case.id in names]
    agreement = annotator_agreement(cases)
    assert agreement.left_out == ("case_00534",)
    table = agreement.frame.set_index(["case", "region", "metric"])["value"]
    assert len(table) == 2 * 3 * 2
    assert table.xs("dice", level="metric").between(0.9, 0.999).all()
    assert table.xs("surface_dice", level="metric").between(0.8, 0.9999).all()

    folder = shared_data / "kits23" / "case_00061"
    instances = find_instances(folder)
    grid = grid_in_memory(read_grid(folder / "segmentation.nii.gz"))
    first, second, third = (annotator_label(instances, who, grid).array for who in (1, 2, 3))
    pairs = [kits_scores(a, b, grid.spacing) for a, b in ((first, second), (first, third), (second, third))]
    expected = np.mean([scores["tumor", "surface_dice"] for scores in pairs])
    assert table["case_00061", "tumor", "surface_dice"] == pytest.approx(expected, abs=1e-12)
