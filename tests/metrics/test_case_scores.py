import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.case_scores import Scoring, case_scores, choose_regions, whole_labels
from kidney_lab.metrics.kits import kits_scores
from kidney_lab.metrics.kits19 import kits19_scores
from kidney_lab.metrics.lesions import LESION_METRICS, lesion_scores
from kidney_lab.metrics.overlap import confusion, sensitivity, specificity
from kidney_lab.metrics.scoring import MASK_METRICS
from kidney_lab.metrics.slices import slice_mean
from kidney_lab.metrics.surface import contour_distances, surface_dice, surface_distances
from kidney_lab.metrics.tolerances import TOLERANCES_MM


def test_official_scores_are_part_of_all_scores(real_pair):
    everything = case_scores(*real_pair, Scoring(metrics=MASK_METRICS))
    official = kits_scores(*real_pair)
    assert {key: everything[key] for key in official} == official
    assert list(everything) == [(r, m) for r in ("kidney_and_mass", "mass", "tumor") for m in MASK_METRICS]


def test_counts_are_those_of_the_whole_scan_although_a_box_is_looked_at(real_pair):
    prediction, reference, spacing_mm = real_pair
    wide = [np.pad(labels, 7) for labels in (prediction, reference)]
    scores = case_scores(*wide, spacing_mm, Scoring(("tumor",), ("specificity", "pixel_accuracy")))
    assert scores["tumor", "specificity"] == specificity(confusion(*(labels == 2 for labels in wide)))
    narrow = case_scores(prediction, reference, spacing_mm, Scoring(("tumor",), ("specificity", "pixel_accuracy")))
    assert scores["tumor", "pixel_accuracy"] > narrow["tumor", "pixel_accuracy"]


def test_the_order_of_axes_in_memory_does_not_matter(real_pair):
    prediction, reference, spacing_mm = real_pair
    turned = case_scores(np.asfortranarray(prediction), reference, spacing_mm, Scoring(metrics=MASK_METRICS))
    assert turned == case_scores(prediction, reference, spacing_mm, Scoring(metrics=MASK_METRICS))


@pytest.mark.parametrize("surface", ["surfel", "voxel"])
def test_the_surface_can_be_chosen(real_pair, surface):
    scores = case_scores(*real_pair, Scoring(("tumor",), surface=surface))
    found = surface_distances(*(labels == 2 for labels in real_pair[:2]), real_pair[2], surface=surface)
    assert scores["tumor", "surface_dice"] == surface_dice(found, TOLERANCES_MM["tumor"])


def test_means_over_slices_stand_beside_the_scores_of_the_case(real_pair):
    prediction, reference, spacing_mm = real_pair
    metrics = ("sensitivity", "specificity", "surface_dice")
    scores = case_scores(*real_pair, Scoring(("tumor",), metrics, level="slice"))
    masks = prediction == 2, reference == 2
    assert list(scores) == [("tumor", name) for name in (*metrics, *(f"{metric}_per_slice" for metric in metrics))]
    assert scores["tumor", "sensitivity"] == sensitivity(confusion(*masks))
    for name, function in (("sensitivity", sensitivity), ("specificity", specificity)):
        expected = slice_mean(lambda p, r, function=function: function(confusion(p, r)), *masks).mean
        assert scores["tumor", f"{name}_per_slice"] == pytest.approx(expected, abs=1e-12)
    expected = slice_mean(
        lambda p, r: surface_dice(contour_distances(p, r, spacing_mm), TOLERANCES_MM["tumor"]), *masks
    ).mean
    assert scores["tumor", "surface_dice_per_slice"] == pytest.approx(expected, abs=1e-12)


def test_lesions_are_scored_where_there_can_be_any(real_pair):
    scores = case_scores(*real_pair, Scoring(("kidney", "tumor", "mass"), ("dice",), lesions=True))
    assert [region for region, metric in scores if metric == "lesion_count"] == ["tumor", "mass"]
    expected = lesion_scores(*real_pair, regions=("tumor", "mass"))
    assert {key: value for key, value in scores.items() if key[1] in LESION_METRICS} == expected


def test_kits19_s_score_is_the_mean_of_kidney_and_tumor(real_pair):
    prediction, reference, _ = real_pair
    scores = case_scores(*real_pair, Scoring(("kidney_and_mass", "tumor"), score="kits19"))
    assert scores["mean", "dice"] == (scores["kidney_and_mass", "dice"] + scores["tumor", "dice"]) / 2
    assert kits19_scores(prediction, reference).items() <= scores.items()
    assert ("tumor", "surface_dice") in scores


def test_empty_label_maps_have_scores():
    nothing = np.zeros((3, 4, 5), np.uint8)
    scores = case_scores(nothing, nothing, (1, 1, 1), Scoring(metrics=MASK_METRICS, level="slice", lesions=True))
    assert scores["tumor", "dice"] == scores["tumor", "surface_dice"] == scores["tumor", "specificity"] == 1
    assert np.isnan(scores["tumor", "dice_per_slice"])  # no slice holds it
    assert scores["tumor", "lesion_count"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regions": ("liver",)}, "The region 'liver' is unknown: choose out of kidney_and_mass"),
        ({"regions": ()}, "The list of regions is empty: choose out of"),
        ({"metrics": ("volume",)}, "The metric 'volume' is unknown"),
        ({"surface": "mesh"}, "surface=mesh is unknown: choose surfel or voxel."),
        ({"level": "patient"}, "level=patient is unknown: choose case or slice."),
        ({"score": "kits22"}, "score=kits22 is unknown: choose kits23 or kits19."),
        ({"regions": ("kidney",), "lesions": True}, r"but regions=\['kidney'\]: add one of mass, tumor, cyst"),
    ],
)
def test_unknown_settings_are_refused_with_those_that_are_known(settings, message):
    with pytest.raises(InputError, match=message):
        Scoring(**settings)


def test_one_region_needs_no_list():
    assert choose_regions("tumor") == choose_regions(["tumor", "tumor"]) == ("tumor",)


@pytest.mark.parametrize("number", [np.int8, np.int64, np.float32, np.float64, bool])
def test_whole_numbers_are_labels_whatever_their_type(number):
    labels = np.array([[[0, 1, 1]]], number)
    assert whole_labels(labels, "It").dtype == np.uint8
    assert whole_labels(labels, "It").tolist() == [[[0, 1, 1]]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 4], "It holds the value 4, but the labels are 0 background, 1 kidney, 2 tumor, 3 cyst: map them first."),
        ([255.0, -1.0], "It holds the values -1, 255, but"),
        ([256, 1], "It holds the value 256, but"),
        ([float("nan"), 0.5], "It holds the values 0.5, nan, but"),
    ],
)
def test_other_values_are_named(values, message):
    with pytest.raises(InputError, match=message):
        whole_labels(np.array(values), "It")
