import pickle

import numpy as np
import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.postprocessing import (
    PostProcessing,
    choose_rule,
    drop_detached_lesions,
    keep_all,
    keep_largest,
    keep_largest_per_label,
    keep_two_kidneys,
)

STEPS = (keep_all, keep_two_kidneys, keep_largest, keep_largest_per_label, drop_detached_lesions)


def with_boxes(*boxes):
    """A label map of boxes `(corner, size, value)`, later ones over earlier ones."""
    labels = np.zeros((20, 30, 40), np.uint8)
    for (d, h, w), size, value in boxes:
        labels[d : d + size, h : h + size, w : w + size] = value
    return labels


def real_mask(folder, dataset, number):
    """A reference of KiTS within its foreground's slices, every second row and column."""
    import nibabel as nib

    file = folder / dataset / f"case_{number:05d}" / "segmentation.nii.gz"
    labels = np.asanyarray(nib.load(file).dataobj).astype(np.uint8)[:, ::2, ::2]
    return labels[labels.any(axis=(1, 2))]


def kept_share(labels, rule):
    return np.count_nonzero(rule(labels)) / np.count_nonzero(labels)


LEFT, RIGHT = ((2, 2, 2), 8, 1), ((2, 2, 25), 7, 1)  # 512 and 343 voxels
TUMOR = ((4, 8, 4), 4, 2)  # half inside the left kidney
TUMOR_APART, CYST_APART = ((14, 20, 15), 4, 2), ((14, 2, 15), 4, 3)


@pytest.mark.parametrize("rule", [PostProcessing(), keep_two_kidneys, drop_detached_lesions, keep_all])
def test_two_kidneys_and_the_tumor_on_one_of_them_stay(rule):
    labels = with_boxes(LEFT, RIGHT, TUMOR)

    np.testing.assert_array_equal(rule(labels), labels)


def test_one_kidney_stays_and_what_lies_far_from_it_goes():
    far = ((15, 20, 30), 3, 1)  # 27 of 512 voxels

    np.testing.assert_array_equal(PostProcessing()(with_boxes(LEFT)), with_boxes(LEFT))
    np.testing.assert_array_equal(PostProcessing()(with_boxes(LEFT, far)), with_boxes(LEFT))


@pytest.mark.parametrize(("voxels", "stays"), [(51, False), (52, True)])
def test_a_second_component_needs_a_tenth_of_the_renal_tissue_of_the_first(voxels, stays):
    labels = with_boxes(LEFT)  # 51.2
    labels[19, 0:2, :26].flat[:voxels] = 1

    assert bool(keep_two_kidneys(labels)[19].any()) is stays


def test_a_kidney_opposite_to_a_huge_tumor_stays():
    labels = np.zeros((30, 60, 60), np.uint8)
    labels[:, :, :40] = 2  # 72000 voxels
    labels[:4, :20, 36:40] = 1  # on 320 of the kidney that bears it
    labels[:10, :10, 45:55] = 1  # the other kidney: 1000, less than a tenth of the first component

    np.testing.assert_array_equal(PostProcessing()(labels), labels)


def test_of_three_components_the_smallest_goes():
    np.testing.assert_array_equal(
        keep_two_kidneys(with_boxes(LEFT, RIGHT, TUMOR, TUMOR_APART)), with_boxes(LEFT, RIGHT, TUMOR)
    )


def test_a_horseshoe_kidney_is_one_component():
    labels = with_boxes(LEFT, RIGHT)
    labels[4, 4, 5:30] = 1

    for rule in (PostProcessing(), keep_largest):
        np.testing.assert_array_equal(rule(labels), labels)


def test_voxels_that_touch_by_a_corner_are_joined():
    labels = with_boxes(LEFT, ((10, 10, 10), 1, 2), RIGHT)

    for rule in (keep_two_kidneys, drop_detached_lesions):
        np.testing.assert_array_equal(rule(labels), labels)


def test_all_tumors_of_a_multifocal_case_stay_but_in_the_largest_of_each_label():
    second = ((3, 3, 3), 2, 2)
    labels = with_boxes(LEFT, RIGHT, TUMOR, second)

    np.testing.assert_array_equal(PostProcessing()(labels), labels)
    assert np.count_nonzero(labels == 2) == 72
    assert np.count_nonzero(keep_largest_per_label(labels) == 2) == 64


def test_the_largest_keeps_one_kidney_with_its_tumor():
    np.testing.assert_array_equal(keep_largest(with_boxes(LEFT, RIGHT, TUMOR)), with_boxes(LEFT, TUMOR))


def test_the_largest_of_each_label_may_lie_in_different_places():
    labels = with_boxes(LEFT, RIGHT, ((14, 20, 30), 2, 2), TUMOR_APART, CYST_APART, ((18, 28, 38), 1, 3))

    np.testing.assert_array_equal(keep_largest_per_label(labels), with_boxes(LEFT, TUMOR_APART, CYST_APART))


@pytest.mark.parametrize("lesion", [TUMOR_APART, CYST_APART])
def test_a_lesion_apart_from_two_kidneys_is_dropped_with_a_warning(lesion, caplog):
    labels = with_boxes(LEFT, RIGHT, TUMOR, lesion)

    np.testing.assert_array_equal(drop_detached_lesions(labels), with_boxes(LEFT, RIGHT, TUMOR))
    (record,) = caplog.records
    assert record.getMessage() == (
        "A lesion of 64 voxels touches neither of the two kidneys and is dropped: "
        "set postprocessing.drop_detached_lesions=false to keep it."
    )


def test_small_lesions_apart_go_without_a_word_and_kidney_apart_is_not_their_matter(caplog):
    crumb = ((18, 28, 38), 1, 1)
    labels = with_boxes(LEFT, RIGHT, crumb, ((16, 10, 10), 2, 3))

    np.testing.assert_array_equal(drop_detached_lesions(labels), with_boxes(LEFT, RIGHT, crumb))
    assert not caplog.records


def test_a_tumor_that_touches_the_kidney_through_a_cyst_stays():
    labels = with_boxes(LEFT, RIGHT, ((10, 5, 5), 2, 3), ((12, 5, 5), 3, 2))

    np.testing.assert_array_equal(drop_detached_lesions(labels), labels)


def test_a_large_mistake_does_not_take_the_place_of_a_kidney():
    labels = with_boxes(LEFT, RIGHT, ((10, 15, 10), 9, 2))  # 729 voxels, more than either kidney

    assert not keep_two_kidneys(labels)[:, :15, 25:].any()
    np.testing.assert_array_equal(PostProcessing()(labels), with_boxes(LEFT, RIGHT))


@pytest.mark.parametrize("values", [(1, 2), (2, 1), (2, 2), (3, 2)])
def test_lesions_that_replace_whole_kidneys_stay(values, caplog):
    labels = with_boxes((*LEFT[:2], values[0]), (*RIGHT[:2], values[1]))
    crumb = ((18, 28, 38), 1, 1)  # the only renal tissue, where both are replaced

    np.testing.assert_array_equal(PostProcessing()(labels), labels)
    np.testing.assert_array_equal(PostProcessing()(labels | with_boxes(crumb)), labels)
    assert not caplog.records


def test_beside_one_kidney_one_lesion_may_be_the_other():
    labels = with_boxes(LEFT, TUMOR_APART, ((14, 10, 30), 5, 3))

    np.testing.assert_array_equal(drop_detached_lesions(labels), with_boxes(LEFT, ((14, 10, 30), 5, 3)))


@pytest.mark.parametrize("step", [*STEPS, PostProcessing()])
def test_an_empty_map_stays_empty_and_a_map_that_is_given_is_not_changed(step):
    assert not step(with_boxes()).any()
    labels = with_boxes(LEFT, RIGHT, TUMOR, TUMOR_APART, CYST_APART)
    before = labels.copy()
    labels.setflags(write=False)
    result = step(labels)

    assert (result.dtype, result.shape) == (np.uint8, labels.shape)
    np.testing.assert_array_equal(labels, before)
    assert set(np.unique(result[result != labels])) <= {0}


@pytest.mark.parametrize("step", STEPS)
def test_a_map_gets_the_same_answer_in_any_order_of_memory(step):
    labels = with_boxes(LEFT, RIGHT, TUMOR, ((14, 20, 15), 3, 2), CYST_APART)

    np.testing.assert_array_equal(step(np.asfortranarray(labels)), step(labels))
    np.testing.assert_array_equal(step(labels[::-1, :, ::-1])[::-1, :, ::-1], step(labels))


@pytest.mark.parametrize(("keep", "voxels"), [("two_kidneys", 855), ("largest", 512), ("all", 919)])
def test_each_step_has_its_own_switch(keep, voxels):
    labels = with_boxes(LEFT, RIGHT, TUMOR_APART)

    assert np.count_nonzero(PostProcessing(keep=keep, drop_detached_lesions=False)(labels)) == voxels
    dropped = np.count_nonzero(PostProcessing(keep=keep, drop_detached_lesions=True)(labels))
    assert dropped == min(voxels, 855)


@pytest.mark.parametrize(
    ("dataset", "number"), [("kits19", 3), ("kits19", 5), ("kits19", 7), ("kits19", 42), ("kits23", 30), ("kits23", 61)]
)
def test_every_real_mask_is_kept_whole_but_for_crumbs(shared_data, dataset, number):
    labels = real_mask(shared_data, dataset, number)

    assert kept_share(labels, PostProcessing()) > 0.999
    assert kept_share(labels, drop_detached_lesions) > 0.99999


def test_the_largest_component_of_a_real_mask_is_one_kidney(shared_data):
    import nibabel as nib

    file = shared_data / "kits19" / "case_00037" / "segmentation.nii.gz"
    labels = np.asanyarray(nib.load(file).dataobj).astype(np.uint8)

    assert np.count_nonzero(labels) == 158187 + 75885 + 4  # as scipy.ndimage.label counts its components
    assert np.count_nonzero(keep_largest(labels)) == 158187
    assert np.count_nonzero(keep_two_kidneys(labels)) == 158187 + 75885
    assert np.count_nonzero(keep_largest_per_label(labels) == 1) == 75885  # the larger piece of kidney bears no tumor


def test_the_configuration_makes_a_postprocessing_that_processes_can_share():
    config = OmegaConf.create({"postprocessing": {"keep": "largest", "drop_detached_lesions": False}})
    made = PostProcessing(**config.postprocessing)

    assert made == pickle.loads(pickle.dumps(made)) == PostProcessing("largest", drop_detached_lesions=False)


@pytest.mark.parametrize("keep", ["some", None, 2, ["all"], {}])
def test_an_unknown_rule_names_the_choices(keep):
    choices = "choose one of two_kidneys, largest_per_label, largest, all."
    for make in (choose_rule, PostProcessing):
        with pytest.raises(InputError) as caught:
            make(keep)
        assert str(caught.value) == f"postprocessing.keep={keep} is unknown: {choices}"


@pytest.mark.parametrize("value", ["abc", 1, None])
def test_a_switch_that_is_none_is_told(value):
    with pytest.raises(InputError) as caught:
        PostProcessing(drop_detached_lesions=value)
    expected = f"postprocessing.drop_detached_lesions={value} is no switch: give true or false."
    assert str(caught.value) == expected
