"""Datasets of other layouts come into that of KiTS once, whole, and again when something has changed."""

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.convert import check_values, convert_cases, to_labels
from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError

VALUES = {1: "tumor", 2: "kidney", 7: "background"}


def save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array), np.diag([2.0, -1.0, 3.0, 1.0]) if affine is None else affine), path)


@pytest.fixture
def theirs(tmp_path):
    """Two scans, the second of which is not compressed, and a label map of the first."""
    save(tmp_path / "scans" / "CT-3.nii.gz", np.full((2, 3, 4), -1000, np.int16))
    save(tmp_path / "scans" / "CT-4.nii", np.full((2, 3, 4), 40, np.int16))
    label = np.zeros((2, 3, 4), np.float32)
    label[0, 0] = [0, 1, 2, 7]
    save(tmp_path / "masks" / "CT-3.nii.gz", label)
    return tmp_path


def convert(theirs, images="CT-{case}.nii.gz", values=VALUES):
    patterns = {"images": f"{theirs}/scans/{images}", "labels": f"{theirs}/masks/CT-{{case}}.nii.gz"}
    convert_cases(theirs / "ours", **patterns, values=values, workers=1)
    return theirs / "ours"


def test_values_are_mapped_and_everything_else_stays(theirs):
    case = convert(theirs) / "case_00003"

    label = nib.load(case / "segmentation.nii.gz")
    assert label.get_data_dtype() == np.uint8
    assert np.asarray(label.dataobj)[0, 0].tolist() == [0, 2, 1, 0]
    assert np.count_nonzero(label.dataobj) == 2
    assert np.array_equal(label.affine, nib.load(theirs / "masks" / "CT-3.nii.gz").affine)
    assert (case / "imaging.nii.gz").resolve() == theirs / "scans" / "CT-3.nii.gz"


def test_an_image_that_is_not_compressed_is_written_anew(theirs):
    image = convert(theirs, images="CT-{case}.nii") / "case_00004" / "imaging.nii.gz"

    assert not image.is_symlink()
    assert np.all(np.asarray(nib.load(image).dataobj) == 40)


def test_what_is_done_is_kept_and_what_has_changed_is_done_again(theirs):
    file = convert(theirs) / "case_00003" / "segmentation.nii.gz"
    before = file.stat().st_ino
    convert(theirs)
    assert file.stat().st_ino == before

    convert(theirs, values={**VALUES, 7: "cyst"})
    assert np.asarray(nib.load(file).dataobj)[0, 0].tolist() == [0, 2, 1, 3]

    save(theirs / "masks" / "CT-3.nii.gz", np.ones((2, 3, 4), np.uint8))
    convert(theirs)
    assert np.all(np.asarray(nib.load(file).dataobj) == 2)

    (theirs / "masks" / "CT-3.nii.gz").unlink()
    convert(theirs)
    assert not file.exists()


def test_values_without_a_meaning_are_told_of_all_files_and_leave_the_case_undone(theirs):
    save(theirs / "scans" / "CT-5.nii.gz", np.zeros((2, 3, 4), np.int16))
    save(theirs / "masks" / "CT-5.nii.gz", np.full((2, 3, 4), 9, np.uint8))

    with pytest.raises(InputError, match=r"2 label maps cannot be converted(?s:.*)CT-3.*7.*\n.*CT-5.*value 9, but"):
        convert(theirs, values={1: "tumor", 2: "kidney"})
    with pytest.raises(InputError, match=r"1 label map cannot"):  # the mended one is done, the other told again
        convert(theirs)


def test_a_folder_with_cases_of_something_else_is_refused(theirs):
    (theirs / "ours" / "case_00099").mkdir(parents=True)

    with pytest.raises(InputError, match=r"holds 1 case that .* case_00099"):
        convert(theirs)


def test_a_pattern_that_is_like_no_file_says_where_it_begins(theirs):
    with pytest.raises(InputError, match=r"data.convert.images=.*MR-\{case\}.nii.gz is like no file.*begins in"):
        convert(theirs, images="MR-{case}.nii.gz")


@pytest.mark.parametrize("values", [{1: "liver"}, {"1": "kidney"}, {True: "kidney"}])
def test_meanings_that_are_unknown_are_refused(values):
    with pytest.raises(InputError, match=r"data\.convert\.values gives"):
        check_values(values)


def test_background_is_0_unless_told_otherwise():
    assert to_labels(np.array([0, 5]), check_values({5: "kidney"})).tolist() == [0, 1]
    assert to_labels(np.array([0, 5]), check_values({0: "kidney", 5: "background"})).tolist() == [1, 0]


def test_a_dataset_converts_when_its_cases_are_first_asked_for(theirs):
    def bring(root):
        convert(theirs)

    dataset = Dataset(
        name="theirs", root=str(theirs / "ours"), labels=["kidney"], regions=["kidney"],
        label_files=["segmentation.nii.gz"], convert=bring,
    )  # fmt: skip

    assert not (theirs / "ours").exists()
    assert list(dataset.cases) == ["case_00003"]
    assert not dataset.synthesized
