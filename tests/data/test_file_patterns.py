"""Files by a pattern with the number of a case in it."""

import pytest

from kidney_lab.data.file_patterns import files_like
from kidney_lab.errors import InputError


@pytest.fixture
def folder(tmp_path):
    def touch(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return touch


def test_the_number_names_the_case_however_it_is_padded(folder):
    root = folder("CT-7.nii.gz", "CT-012.nii.gz", "MR-3.nii.gz")

    assert files_like(f"{root}/CT-{{case}}.nii.gz", "key") == {
        "case_00007": root / "CT-7.nii.gz",
        "case_00012": root / "CT-012.nii.gz",
    }


def test_a_number_may_stand_in_folder_and_file_and_is_the_same_in_both(folder, caplog):
    root = folder("p [1]/07/ct_07.nii.gz", "p [1]/08/ct_09.nii.gz")

    found = files_like(f"{root}/p [1]/{{case}}/ct_{{case}}.nii.gz", "key")

    assert found == {"case_00007": root / "p [1]/07/ct_07.nii.gz"}
    assert "ct_09.nii.gz" in caplog.text


def test_files_without_a_number_are_left_out_and_named(folder, caplog):
    root = folder("CT-1.nii.gz", "CT-1b.nii.gz", "CT-123456.nii.gz")

    assert list(files_like(f"{root}/CT-{{case}}.nii.gz", "key")) == ["case_00001"]
    assert "CT-123456.nii.gz, CT-1b.nii.gz" in caplog.text


def test_two_files_of_one_case_are_refused(folder):
    root = folder("CT-1.nii.gz", "CT-01.nii.gz")

    with pytest.raises(InputError, match=r"key=.* is like two files of case_00001"):
        files_like(f"{root}/CT-{{case}}.nii.gz", "key")


def test_a_pattern_without_a_place_for_the_number_is_refused():
    with pytest.raises(InputError, match=r"data.convert.images=scans/CT.nii.gz has no \{case\}"):
        files_like("scans/CT.nii.gz", "data.convert.images")
