from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage

from kidney_lab.errors import InputError
from kidney_lab.labels import CYST, KIDNEY, TUMOR
from kidney_lab.metrics import TOLERANCES_MM, kits_scores
from kidney_lab.metrics.dice import dice

SPACING_MM = (3.0, 1.0, 1.0)


def kidney_with_tumor() -> np.ndarray:
    labels = np.zeros((8, 12, 12), dtype=np.uint8)
    labels[1:7, 2:10, 2:10] = KIDNEY
    labels[3:5, 4:7, 4:7] = TUMOR
    return labels


def test_perfect_prediction_scores_one_everywhere_in_official_order():
    scores = kits_scores(kidney_with_tumor(), kidney_with_tumor(), SPACING_MM)
    regions = ("kidney_and_mass", "mass", "tumor")
    assert list(scores) == [(region, metric) for region in regions for metric in ("dice", "surface_dice")]
    assert set(scores.values()) == {1.0}


def test_regions_are_unions_of_labels():
    prediction, reference = kidney_with_tumor(), kidney_with_tumor()
    prediction[prediction == TUMOR] = CYST  # right as a mass, wrong as a tumor
    scores = kits_scores(prediction, reference, SPACING_MM)
    assert scores["kidney_and_mass", "dice"] == scores["mass", "surface_dice"] == 1.0
    assert scores["tumor", "dice"] == scores["tumor", "surface_dice"] == 0.0


def test_regions_empty_in_both_score_one():
    healthy = kidney_with_tumor()
    healthy[healthy == TUMOR] = KIDNEY
    assert set(kits_scores(healthy, healthy, SPACING_MM).values()) == {1.0}
    assert set(kits_scores(healthy * 0, healthy * 0, SPACING_MM).values()) == {1.0}


def test_chosen_regions_only_are_scored():
    scores = kits_scores(kidney_with_tumor(), kidney_with_tumor(), SPACING_MM, regions=["kidney", "tumor"])
    assert {region for region, _ in scores} == {"kidney", "tumor"}


def test_number_type_of_the_file_does_not_matter():
    prediction, reference = kidney_with_tumor(), np.roll(kidney_with_tumor(), 1, axis=1)
    expected = kits_scores(prediction, reference, SPACING_MM)
    assert kits_scores(prediction.astype(np.float32), reference.astype(np.uint16), SPACING_MM) == expected


@pytest.mark.parametrize("value", [4, -1, 0.5, 256])
def test_unknown_label_is_refused(value):
    wrong = kidney_with_tumor().astype(np.float32)
    wrong[4, 4, 4] = value
    with pytest.raises(InputError, match=f"The prediction holds the value {value}, but"):
        kits_scores(wrong, kidney_with_tumor(), SPACING_MM)


def test_shape_mismatch_is_refused():
    with pytest.raises(InputError, match=r"\(8, 12, 12\) and the reference \(7, 12, 12\)"):
        kits_scores(kidney_with_tumor(), kidney_with_tumor()[1:], SPACING_MM)


def test_unknown_region_is_refused():
    with pytest.raises(InputError, match="'liver' is unknown: choose out of kidney_and_mass"):
        kits_scores(kidney_with_tumor(), kidney_with_tumor(), SPACING_MM, regions=["liver"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
def test_real_label_maps_score_as_the_official_evaluation(shared_data: Path):
    package = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    file = nib.load(shared_data / "kits23" / "case_00038" / "segmentation.nii.gz")
    labels = np.asanyarray(file.dataobj).astype(np.uint8)
    tumor = scipy.ndimage.find_objects(labels)[TUMOR - 1]
    reference = labels[tuple(slice(max(s.start - 6, 0), s.stop + 6) for s in tumor)]
    prediction = np.roll(reference, (1, 2), axis=(0, 1))
    spacing_mm = tuple(float(step) for step in np.linalg.norm(file.affine[:3, :3], axis=0))
    scores = kits_scores(prediction, reference, spacing_mm)
    for region, ids in {"kidney_and_mass": (1, 2, 3), "mass": (2, 3), "tumor": (2,)}.items():
        inside, target = np.isin(prediction, ids), np.isin(reference, ids)
        distances = package.compute_surface_distances(target, inside, spacing_mm)
        expected = package.compute_surface_dice_at_tolerance(distances, TOLERANCES_MM[region])
        assert scores[region, "surface_dice"] == pytest.approx(expected, abs=1e-9)
        assert scores[region, "dice"] == dice(inside, target)
        assert 0 < expected < 1
