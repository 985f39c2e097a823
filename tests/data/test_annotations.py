import numpy as np
import pytest

from kidney_lab.data.annotations import Instance, annotator_label, annotators, compose, drawn_by, find_instances
from kidney_lab.data.kits import find_cases
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing, reorient

GRID = grid_from_spacing((4, 6, 5), (3.0, 1.0, 1.0))


def write_instance(folder, kind, number, annotator, box, grid=GRID):
    mask = np.zeros(grid.shape, np.uint8)
    mask[box] = 1
    path = folder / f"{kind}_instance-{number}_annotation-{annotator}.nii.gz"
    write_volume(path, Volume(mask, grid))
    return path


@pytest.fixture
def case(tmp_path):
    """A kidney drawn by two, a tumor and a cyst in it drawn by one."""
    folder = tmp_path / "case_00000" / "instances"
    write_instance(folder, "kidney", 1, 1, np.s_[1:3, 1:5, 1:4])
    write_instance(folder, "kidney", 1, 2, np.s_[1:4, 1:5, 1:4])
    write_instance(folder, "tumor", 1, 1, np.s_[1, 1:3, 1:3])
    write_instance(folder, "cyst", 1, 1, np.s_[1, 2:4, 2:4])
    return folder.parent


def test_instances_are_found_by_name_and_hidden_files_are_none(case):
    (case / "instances" / ".suppl.tumor_instance-2_annotation-1.nii.gz").write_bytes(b"")
    (case / "instances" / "notes.nii.gz").write_bytes(b"")

    found = find_instances(case)

    assert [(i.kind, i.number, i.annotator) for i in found] == [
        ("cyst", 1, 1),
        ("kidney", 1, 1),
        ("kidney", 1, 2),
        ("tumor", 1, 1),
    ]
    assert annotators(found) == [1, 2]


def test_kits21_keeps_them_in_another_folder(case):
    (case / "instances").rename(case / "segmentations")

    assert len(find_instances(case)) == 4


def test_a_tumor_covers_a_cyst_and_a_cyst_a_kidney(case):
    label = annotator_label(find_instances(case), 1, GRID).array

    expected = np.zeros(GRID.shape, np.uint8)
    expected[1:3, 1:5, 1:4] = 1
    expected[1, 2:4, 2:4] = 3
    expected[1, 1:3, 1:3] = 2
    np.testing.assert_array_equal(label, expected)


def test_what_an_annotator_did_not_draw_is_the_first_ones(case):
    drawn = drawn_by(find_instances(case), 2)

    assert [(i.kind, i.annotator) for i in drawn] == [("cyst", 1), ("kidney", 2), ("tumor", 1)]
    label = annotator_label(find_instances(case), 2, GRID).array
    assert label[3, 2, 2] == 1  # the second one's kidney is longer
    assert label[1, 1, 1] == 2


def test_a_mask_of_another_shape_is_named(tmp_path):
    other = grid_from_spacing((2, 6, 5), (3.0, 1.0, 1.0))
    path = write_instance(tmp_path, "kidney", 1, 1, np.s_[:], grid=other)

    with pytest.raises(InputError, match=r"annotation-1.nii.gz has shape \(2, 6, 5\), but its case has shape \(4, 6"):
        compose([Instance("kidney", 1, 1, path)], GRID)


def test_the_majority_of_real_instances_is_the_published_segmentation(shared_data):
    case = shared_data / "kits23" / "case_00152"
    published = reorient(read_volume(case / "segmentation.nii.gz"))
    label = np.zeros(published.grid.shape, np.uint8)
    instances = find_instances(case)
    for kind, value in (("kidney", 1), ("cyst", 3), ("tumor", 2)):
        for number in {i.number for i in instances if i.kind == kind}:
            masks = [reorient(read_volume(i.path)).array for i in instances if (i.kind, i.number) == (kind, number)]
            label[np.sum(np.array(masks) > 0, axis=0) * 2 > len(masks)] = value

    np.testing.assert_array_equal(label, published.array)


def test_real_annotators_agree_with_the_reference_but_not_with_each_other(shared_data):
    (case,) = [c for c in find_cases(shared_data / "kits23", annotation="sampled") if c.id == "case_00152"]

    labels = [volume.array for volume in case.read_annotations()]

    reference = case.read_label().array > 0
    assert len(labels) == 3
    for label in labels:
        overlap = 2 * np.sum(reference & (label > 0)) / (reference.sum() + np.sum(label > 0))
        assert 0.95 < overlap < 1
    assert not np.array_equal(labels[0], labels[1])
    assert find_cases(shared_data / "kits23")[0].instances == ()
