import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.inference.postprocessing import choose_rule, keep_two_kidneys


def with_boxes(*boxes):
    """A label map of boxes `(corner, size, value)`, later ones over earlier ones."""
    labels = np.zeros((20, 30, 40), np.uint8)
    for (d, h, w), size, value in boxes:
        labels[d : d + size, h : h + size, w : w + size] = value
    return labels


LEFT, RIGHT = ((2, 2, 2), 8, 1), ((2, 2, 25), 7, 1)
TUMOR = ((4, 8, 4), 4, 2)  # half inside the left kidney


def test_two_kidneys_and_the_tumor_on_one_of_them_stay():
    labels = with_boxes(LEFT, RIGHT, TUMOR)

    np.testing.assert_array_equal(keep_two_kidneys(labels), labels)


def test_what_lies_apart_from_both_kidneys_goes():
    apart = ((14, 20, 15), 4, 2)

    np.testing.assert_array_equal(
        keep_two_kidneys(with_boxes(LEFT, RIGHT, TUMOR, apart)), with_boxes(LEFT, RIGHT, TUMOR)
    )


def test_a_second_component_below_a_tenth_of_the_first_is_no_kidney():
    crumb = ((15, 20, 30), 3, 1)  # 27 of 512 voxels

    np.testing.assert_array_equal(keep_two_kidneys(with_boxes(LEFT, crumb)), with_boxes(LEFT))


def test_a_horseshoe_kidney_is_one_component():
    labels = with_boxes(LEFT, RIGHT)
    labels[4, 4, 5:30] = 1

    np.testing.assert_array_equal(keep_two_kidneys(labels), labels)


def test_voxels_that_touch_by_a_corner_are_joined():
    labels = with_boxes(LEFT, ((10, 10, 10), 1, 2), RIGHT)

    np.testing.assert_array_equal(keep_two_kidneys(labels), labels)


def test_an_empty_prediction_stays_empty():
    assert not keep_two_kidneys(with_boxes()).any()


def test_every_real_mask_is_kept_whole_but_for_crumbs(shared_data):
    import nibabel as nib

    for number in (3, 7):
        labels = np.asarray(nib.load(shared_data / "kits19" / f"case_{number:05d}" / "segmentation.nii.gz").dataobj)
        labels = labels[:, ::2, ::2].astype(np.uint8)
        assert (keep_two_kidneys(labels) > 0).sum() > 0.999 * (labels > 0).sum()


def test_an_unknown_rule_names_the_choices():
    with pytest.raises(InputError, match=r"postprocessing\.keep=largest is unknown: choose one of two_kidneys, all"):
        choose_rule("largest")
