from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.kits import Case, find_cases
from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import IN_MEMORY, Volume, grid_from_spacing, reorient


def write_case(
    root: Path, case_id: str, *, label_name="segmentation.nii.gz", image=True, orientation=IN_MEMORY
) -> Case:
    folder = root / case_id
    folder.mkdir(parents=True)
    label = np.zeros((6, 8, 10), np.uint8)
    label[1:4, 2:6, 3:8] = 1
    label[2, 3, 4] = 2
    grid = grid_from_spacing(label.shape, (3.0, 0.8, 0.8))
    write_volume(folder / label_name, reorient(Volume(label, grid), orientation))
    if image:
        hu = np.arange(label.size, dtype=np.int16).reshape(label.shape)
        write_volume(folder / "imaging.nii.gz", reorient(Volume(hu, grid), orientation))
    return Case(case_id, folder / "imaging.nii.gz" if image else None, folder / label_name)


def test_cases_are_found_in_order_with_what_they_have(tmp_path):
    second = write_case(tmp_path, "case_00002")
    first = write_case(tmp_path, "case_00001", image=False)
    (tmp_path / "case_00003").mkdir()
    (tmp_path / "kits.json").write_text("[]")

    assert find_cases(tmp_path) == [first, second, Case("case_00003", None, None)]


def test_the_first_label_file_that_exists_counts(tmp_path):
    write_case(tmp_path, "case_00000", label_name="aggregated_MAJ_seg.nii.gz")
    write_case(tmp_path, "case_00001")

    cases = find_cases(tmp_path, label_files=["aggregated_MAJ_seg.nii.gz", "segmentation.nii.gz"])

    assert [case.label.name for case in cases] == ["aggregated_MAJ_seg.nii.gz", "segmentation.nii.gz"]


def test_only_cases_without_an_image_are_synthesized(tmp_path):
    write_case(tmp_path, "case_00000", image=False)
    write_case(tmp_path, "case_00001")

    assert [case.synthesize for case in find_cases(tmp_path, synthesize_missing_images=True)] == [True, False]


def test_a_missing_root_says_how_to_get_the_data(tmp_path):
    with pytest.raises(InputError, match=r"nowhere is no folder.*kits-challenge\.org.*data\.root=.*data=phantom"):
        find_cases(tmp_path / "nowhere")


def test_an_empty_root_points_to_the_folder_that_was_meant(tmp_path):
    write_case(tmp_path / "dataset", "case_00000")

    with pytest.raises(InputError, match=r"Did you mean data\.root=.*dataset\?"):
        find_cases(tmp_path)


@pytest.mark.parametrize("orientation", [("R", "A", "S"), ("L", "P", "S"), ("S", "R", "A"), ("P", "I", "R")])
def test_any_orientation_is_read_into_memory_order(tmp_path, orientation):
    plain = write_case(tmp_path / "a", "case_00000")
    turned = write_case(tmp_path / "b", "case_00000", orientation=orientation)

    for expected, found in ((plain.read_image(), turned.read_image()), (plain.read_label(), turned.read_label())):
        np.testing.assert_array_equal(found.array, expected.array)
        assert found.array.flags.c_contiguous
        assert found.grid.same_as(expected.grid, 1e-4)
    assert turned.grid().same_as(plain.grid(), 1e-4)


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_labels_of_other_types_become_uint8(tmp_path, dtype):
    case = write_case(tmp_path, "case_00000")
    expected = case.read_label().array
    image = nib.load(case.label)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(dtype), image.affine), case.label)

    label = case.read_label().array

    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, expected)


@pytest.mark.parametrize("value", [0.5, 300.0, -1.0])
def test_labels_that_are_no_small_whole_numbers_are_refused(tmp_path, value):
    case = write_case(tmp_path, "case_00000")
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), value, np.float32), np.eye(4)), case.label)

    with pytest.raises(InputError, match="no whole numbers from 0 to 255"):
        case.read_label()


def test_a_synthesized_image_is_the_same_every_time_and_differs_between_cases(tmp_path):
    write_case(tmp_path, "case_00000", image=False)
    write_case(tmp_path, "case_00001", image=False)
    first, second = find_cases(tmp_path, synthesize_missing_images=True)

    image = first.read_image()

    assert image.array.dtype == np.int16
    assert image.grid.same_as(first.read_label().grid, 0.0)
    np.testing.assert_array_equal(first.read_image().array, image.array)
    assert not np.array_equal(second.read_image().array, image.array)


def test_reading_what_is_not_there_names_the_case(tmp_path):
    with pytest.raises(InputError, match="case_00007 has no image"):
        Case("case_00007", None, None).read_image()
    with pytest.raises(InputError, match="case_00007 has no reference"):
        Case("case_00007", None, None).read_label()
    with pytest.raises(InputError, match="case_00007 has neither"):
        Case("case_00007", None, None).grid()


def test_real_kits_masks_lie_in_memory_order_already(shared_data):
    cases = find_cases(shared_data / "kits23")

    assert all(case.image is None and case.label is not None for case in cases)
    label = cases[0].read_label()
    np.testing.assert_array_equal(label.array, np.asarray(nib.load(cases[0].label).dataobj))
    assert label.grid.orientation == IN_MEMORY


@pytest.mark.parametrize("name", ["case_00001_copy", "case_1", "case_00001.suppl.", "case_000011", "case_abcde"])
def test_only_case_and_five_digits_is_a_case(tmp_path, caplog, name):
    for folder in ("case_00001", name):
        write_case(tmp_path, folder)

    assert [case.id for case in find_cases(tmp_path)] == ["case_00001"]
    assert f"Left out, since a case is case_ and five digits: {name}" in caplog.text
