import shutil

import numpy as np
import pytest

from kidney_lab.data.dicom_series import NoAxialCTError, dicom_files, find_series
from kidney_lab.errors import InputError


def tagged(**tags):
    def change(k, dataset):
        for tag, value in tags.items():
            setattr(dataset, tag, value)

    return change


SCOUT = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}


def test_the_files_are_those_of_the_slices_in_the_order_of_the_volume(tmp_path, write_series):
    write_series(tmp_path, n=4, series="1.2.3")

    series = find_series(tmp_path)

    assert series.uid == "1.2.3"
    assert [path.name for path in series.files] == ["IM0003.dcm", "IM0000.dcm", "IM0001.dcm", "IM0002.dcm"]
    assert [s.position[2] for s in series.slices] == [400, 397, 394, 391]
    assert series.notes == ()


def test_several_series_are_listed_and_one_is_chosen_by_a_file_of_it(tmp_path, write_series):
    write_series(tmp_path, prefix="A", description="arterial", series="1.1")
    write_series(tmp_path, n=4, prefix="V", description="venous", series="1.2")

    with pytest.raises(
        InputError, match=r"several axial CT series; name one file .*A0000\.dcm is of 'arterial', 8 .*V0000\.dcm is of"
    ):
        find_series(tmp_path)
    assert find_series(tmp_path / "V0002.dcm").grid.shape == (4, 6, 5)
    assert find_series(tmp_path / "A0002.dcm").uid == "1.1"
    assert find_series(sorted(tmp_path.glob("V*"))).uid == "1.2"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (SCOUT, "it is a localizer"),
        ({"Modality": "SEG"}, "its modality is SEG, not CT"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "its slices lie 90 degrees from axial"),
        ({"SamplesPerPixel": 3}, "it is a colour picture"),
    ],
)
def test_what_is_no_axial_ct_is_left_out_beside_one_and_refused_alone(tmp_path, write_series, tags, reason):
    write_series(tmp_path / "alone", n=2, prefix="X", description="other", change=tagged(**tags))
    shutil.copytree(tmp_path / "alone", tmp_path / "both")
    write_series(tmp_path / "both")

    (note,) = find_series(tmp_path / "both").notes
    assert note.startswith(f"Left out the series 'other' in {tmp_path / 'both'}: {reason}")
    with pytest.raises(NoAxialCTError, match=f"holds no axial CT series \\('other': {reason}"):
        find_series(tmp_path / "alone")


def test_scouts_within_a_series_are_left_out(tmp_path, write_series):
    write_series(tmp_path, series="1.5")
    write_series(tmp_path, n=1, series="1.5", prefix="SCOUT", step=(0, 0, 1), change=tagged(**SCOUT))

    series = find_series(tmp_path)

    assert series.grid.shape == (8, 6, 5)
    assert series.notes == (f"Left out 1 localizer of the series 'CT Body' in {tmp_path}.",)


def test_one_coronal_slice_among_axial_ones_is_named(tmp_path, write_series):
    def change(k, dataset):
        if k == 2:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write_series(tmp_path, change=change)

    with pytest.raises(InputError, match=r"IM0005\.dcm does not fit the rest of .* 90 degrees from axial"):
        find_series(tmp_path)


def test_a_slice_without_voxels_is_named(tmp_path, write_series):
    def change(k, dataset):
        if k == 2:
            del dataset.PixelData

    write_series(tmp_path, change=change)

    with pytest.raises(InputError, match=r"IM0005\.dcm holds no pixel data; export it with its image\."):
        find_series(tmp_path)


def test_each_enhanced_file_is_a_series_of_its_own(tmp_path, write_enhanced):
    for name, z in (("a.dcm", 0.0), ("b.dcm", 100.0)):
        write_enhanced(tmp_path / name, np.zeros((3, 6, 5), np.uint16), [z, z + 5, z + 10])

    assert find_series(tmp_path / "b.dcm").grid.affine[2, 3] == 110
    with pytest.raises(InputError, match="several axial CT series"):
        find_series(tmp_path)


def test_a_slice_alone_is_no_series(tmp_path, write_series):
    write_series(tmp_path, n=1)

    with pytest.raises(InputError, match="has one slice"):
        find_series(tmp_path / "IM0000.dcm")


def test_hidden_files_folders_and_others_are_not_dicom(tmp_path, write_series):
    write_series(tmp_path, n=2)
    shutil.copy(tmp_path / "IM0000.dcm", tmp_path / "._IM0000.dcm")
    (tmp_path / "notes.txt").write_text("a")
    (tmp_path / "folder.dcm").mkdir()

    assert [path.name for path in dicom_files(tmp_path)] == ["IM0000.dcm", "IM0001.dcm"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no DICOM files"):
        find_series(tmp_path)
