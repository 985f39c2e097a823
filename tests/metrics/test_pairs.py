import nibabel as nib
import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics.pairs import ScoredFiles, case_name, find_images, find_label_maps, header_problems, match_pairs


@pytest.mark.parametrize("predictions", ["kits", "case", "nnunet", "plain"])
@pytest.mark.parametrize("references", ["kits", "kits21", "case", "nnunet"])
def test_every_layout_matches_every_other_by_case_number(label_maps, tmp_path, predictions, references):
    pairs = match_pairs(label_maps.layout(tmp_path / "p", predictions), label_maps.layout(tmp_path / "r", references))

    assert list(pairs) == ["case_00000", "case_00012"]
    for number, (prediction, reference) in zip(("00000", "00012"), pairs.values(), strict=True):
        assert number in str(prediction.relative_to(tmp_path / "p"))
        assert number in str(reference.relative_to(tmp_path / "r"))


def test_other_names_are_matched_by_their_stem(label_maps, tmp_path):
    for folder in ("p", "r"):
        label_maps.write(tmp_path / folder / "liver.v2.nii.gz")
        label_maps.write(tmp_path / folder / "patient-7.nii.gz")

    assert list(match_pairs(tmp_path / "p", tmp_path / "r")) == ["liver.v2", "patient-7"]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("case_00012", "case_00012"),
        ("KiTS_00012.nii.gz", "case_00012"),
        ("00012.nii", "case_00012"),
        ("pred_case_00012_seg.nii.gz", "case_00012"),
        ("liver.nii.gz", "liver"),
        ("patient_7.nii.gz", "patient_7"),
        ("scan_20230115.nii.gz", "scan_20230115"),  # a date has eight digits, a KiTS case five
    ],
)
def test_what_a_name_stands_for(name, case):
    assert case_name(name) == case


def test_kits21_s_other_annotations_do_not_count(label_maps, tmp_path):
    label_maps.layout(tmp_path, "kits21", [3])
    label_maps.write(tmp_path / "case_00003" / "segmentations" / "tumor_instance-1_annotation-1.nii.gz")

    assert list(find_label_maps(tmp_path, "references")) == ["case_00003"]


def test_hidden_files_are_passed_over(label_maps, tmp_path):
    label_maps.layout(tmp_path, "case", [3])
    label_maps.write(tmp_path / "._case_00003.nii.gz")

    assert find_label_maps(tmp_path, "predictions") == {"case_00003": tmp_path / "case_00003.nii.gz"}


def test_all_missing_and_all_superfluous_cases_are_named_at_once(label_maps, tmp_path):
    label_maps.layout(tmp_path / "p", "case", [0, 1, 2])
    label_maps.layout(tmp_path / "r", "kits", [2, 3, 4])

    with pytest.raises(InputError) as refused:
        match_pairs(tmp_path / "p", tmp_path / "r")

    lines = str(refused.value).splitlines()[1:]
    assert len(lines) == 4
    assert all(f"case_0000{k}" in line for k, line in zip((0, 1, 3, 4), lines, strict=True))
    assert all("has no reference" in line for line in lines[:2])
    assert all("has no prediction" in line for line in lines[2:])


@pytest.mark.parametrize("names", [("case_00003.nii.gz", "KiTS_00003.nii.gz"), ("a.nii", "a.nii.gz")])
def test_two_files_of_one_case_are_refused(label_maps, tmp_path, names):
    for name in names:
        label_maps.write(tmp_path / name)

    with pytest.raises(InputError, match="twice") as refused:
        find_label_maps(tmp_path, "predictions")

    assert all(name in str(refused.value) for name in names)


def test_two_folders_of_one_case_are_refused(label_maps, tmp_path):
    label_maps.layout(tmp_path, "kits", [3])
    label_maps.write(tmp_path / "case_00003_again" / "segmentation.nii.gz")

    with pytest.raises(InputError, match=r"references=.* holds case_00003 twice: .*case_00003/.*case_00003_again/"):
        find_label_maps(tmp_path, "references")


def test_a_folder_that_is_not_there_or_empty_is_refused_by_its_name_on_the_command_line(label_maps, tmp_path):
    with pytest.raises(InputError, match=r"predictions=.*nowhere is no folder"):
        match_pairs(tmp_path / "nowhere", tmp_path)
    with pytest.raises(InputError, match=r"references=.* holds no label maps"):
        match_pairs(label_maps.layout(tmp_path / "p", "case"), tmp_path)


def test_a_missing_prediction_is_paired_with_nothing_where_it_counts_as_empty(label_maps, tmp_path):
    predictions = label_maps.layout(tmp_path / "p", "nnunet", [1])
    references = label_maps.layout(tmp_path / "r", "kits", [0, 1])

    pairs = match_pairs(predictions, references, missing="zero")

    assert list(pairs) == ["case_00000", "case_00001"]
    assert pairs["case_00000"] == (None, references / "case_00000" / "segmentation.nii.gz")
    with pytest.raises(InputError, match=r"nothing was scored \(missing=zero scores a missing prediction"):
        match_pairs(predictions, references)
    with pytest.raises(InputError, match="missing=worst is unknown: choose error, or zero"):
        match_pairs(predictions, references, missing="worst")


def test_a_superfluous_prediction_is_an_error_whatever_missing_ones_are(label_maps, tmp_path):
    label_maps.layout(tmp_path / "p", "case", [0, 7])
    label_maps.layout(tmp_path / "r", "kits", [0, 1])

    with pytest.raises(InputError, match=r"case_00007: .* has no reference") as refused:
        match_pairs(tmp_path / "p", tmp_path / "r", missing="zero")

    assert "case_00001" not in str(refused.value)


@pytest.mark.parametrize("name", ["{}/imaging.nii.gz", "{}.nii.gz", "{}_0000.nii.gz"])
def test_images_are_found_in_every_layout(label_maps, tmp_path, name):
    for case in ("case_00003", "case_00004"):
        label_maps.write(tmp_path / name.format(case))

    assert find_images(tmp_path, ["case_00004"]) == {"case_00004": tmp_path / name.format("case_00004")}
    with pytest.raises(InputError, match=r"lacks cases; add them, or leave images= out:\n  - case_00005"):
        find_images(tmp_path, ["case_00004", "case_00005"])


def test_channels_of_images_with_other_names_do_not_count(label_maps, tmp_path):
    label_maps.write(tmp_path / "liver_0000.nii.gz")

    assert list(find_images(tmp_path, ["liver"])) == ["liver"]
    assert case_name("liver_0000.nii.gz") == "liver_0000"  # a label map may be called so


def test_headers_may_be_stored_in_another_orientation(label_maps, tmp_path):
    prediction = label_maps.write(tmp_path / "p.nii.gz", orientation=("R", "A", "S"))
    reference = label_maps.write(tmp_path / "r.nii.gz")

    assert header_problems(ScoredFiles("a", prediction, reference)) == []


def test_everything_that_is_wrong_with_headers_is_named(label_maps, tmp_path):
    reference = label_maps.write(tmp_path / "r.nii.gz")
    prediction = label_maps.write(tmp_path / "p.nii.gz", np.zeros((8, 12, 13), np.uint8))
    image = label_maps.write(tmp_path / "i.nii.gz", moved_mm=0.25)
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")

    shape, affine = header_problems(ScoredFiles("a", prediction, reference, image))

    assert shape == f"a: {prediction} has shape (8, 12, 13), its reference (8, 12, 14) (D, H, W)."
    assert affine.startswith(f"a: {image} lies elsewhere than its reference, 0.25 mm apart: affine [[")
    first, second = (nib.load(path).affine.tolist() for path in (image, reference))
    assert affine.endswith(f"affine {first} against {second}.")
    both = header_problems(ScoredFiles("a", tmp_path / "broken.nii.gz", tmp_path / "none.nii.gz"))
    assert [("broken" in both[0]), ("none" in both[1])] == [True, True]


def test_a_missing_prediction_has_no_header(label_maps, tmp_path):
    assert header_problems(ScoredFiles("a", None, label_maps.write(tmp_path / "r.nii.gz"))) == []
