import numpy as np
import pydicom
import pytest
from pydicom.uid import MPEG2MPML

from kidney_lab.data.dicom_slices import is_dicom, read_slices
from kidney_lab.errors import InputError


def first_slice(folder, write_series, change=None):
    write_series(folder, n=1, change=None if change is None else lambda k, dataset: change(dataset))
    (only,) = read_slices(folder / "IM0000.dcm")
    return only


def test_a_header_becomes_a_slice(tmp_path, write_series):
    found = first_slice(tmp_path, write_series, lambda dataset: setattr(dataset, "GantryDetectorTilt", 12.5))

    assert (found.shape, found.position, found.spacing) == ((6, 5), (-20.0, -30.0, 400.0), (0.7, 0.9))
    assert found.orientation == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert (found.rescale, found.tilt, found.modality, found.description) == ((1.0, -1024.0), 12.5, "CT", "CT Body")
    assert (found.problem, found.foreign, found.frame) == (None, None, 0)


def test_an_enhanced_file_has_a_slice_per_frame(tmp_path, write_enhanced):
    write_enhanced(tmp_path / "a.dcm", np.zeros((3, 6, 5), np.uint16), [10.0, 30.0, 20.0])

    found = read_slices(tmp_path / "a.dcm")

    assert [s.position[2] for s in found] == [10.0, 30.0, 20.0]
    assert [s.frame for s in found] == [0, 1, 2]
    assert {(s.spacing, s.rescale, s.shape) for s in found} == {((0.7, 0.9), (1.0, -1024.0), (6, 5))}


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("ImagePositionPatient", [1, 2]),
        ("ImageOrientationPatient", [0] * 6),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("PixelSpacing", [0, 1]),
        ("RescaleSlope", None),
    ],
)
def test_a_value_that_is_no_place_or_size_counts_as_missing(tmp_path, write_series, tag, value):
    found = first_slice(tmp_path, write_series, lambda dataset: setattr(dataset, tag, value))

    name = {"ImagePositionPatient": "position", "ImageOrientationPatient": "orientation", "PixelSpacing": "spacing"}
    assert getattr(found, name.get(tag, "rescale")) is None


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "MR"}, "its modality is MR, not CT"),
        ({"Modality": ""}, "its modality is not given, not CT"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "it is a localizer"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "its slices lie 90 degrees from axial, above 30"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "its slices lie 90 degrees from axial, above 30"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 0, 0.848048, 0.529919]},
            "its slices lie 32 degrees from axial, above 30",
        ),
        ({"ImagePositionPatient": None, "ImageOrientationPatient": None}, "its header has no position in space"),
        ({"SamplesPerPixel": 3}, "it is a colour picture"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0.882948, 0.469472]}, None),  # 28 degrees
    ],
)
def test_what_is_no_slice_of_an_axial_ct_says_why(tmp_path, write_series, tags, reason):
    def change(dataset):
        for tag, value in tags.items():
            if value is None:
                delattr(dataset, tag)
            else:
                setattr(dataset, tag, value)

    assert first_slice(tmp_path, write_series, change).foreign == reason


def test_a_file_without_voxels_says_so(tmp_path, write_series):
    def change(dataset):
        del dataset.PixelData

    assert first_slice(tmp_path, write_series, change).problem == "holds no pixel data; export it with its image"


def test_a_file_that_ends_early_says_so(tmp_path, write_series):
    write_series(tmp_path, n=1)
    path = tmp_path / "IM0000.dcm"
    path.write_bytes(path.read_bytes()[:-7])

    assert read_slices(path)[0].problem == "is truncated; copy or export it again"


def test_a_compression_without_a_decoder_is_named(tmp_path, write_series):
    write_series(tmp_path, n=1)
    path = tmp_path / "IM0000.dcm"
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\x00" * 60])
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.save_as(path)

    problem = read_slices(path)[0].problem

    assert problem.startswith("is compressed as MPEG2 Main Profile / Main Level, for which the decoder is missing")


@pytest.mark.parametrize("kept", [0, 100, 131])
def test_what_bears_no_mark_is_no_dicom(tmp_path, write_series, kept):
    write_series(tmp_path / "in", n=1)
    whole = (tmp_path / "in" / "IM0000.dcm").read_bytes()
    (tmp_path / "a").write_bytes(whole[:kept])
    (tmp_path / "DICOMDIR").write_bytes(whole)

    assert is_dicom(tmp_path / "in" / "IM0000.dcm")
    assert not is_dicom(tmp_path / "a")
    assert not is_dicom(tmp_path / "DICOMDIR")
    assert not is_dicom(tmp_path / "in")
    with pytest.raises(InputError, match="a is no whole DICOM file"):
        read_slices(tmp_path / "a")


def test_a_damaged_header_is_refused_with_the_file(tmp_path, write_series):
    write_series(tmp_path, n=1)
    path = tmp_path / "IM0000.dcm"
    content = path.read_bytes()
    at = content.index(b"-20.0\\")
    path.write_bytes(content[:at] + b"-2o.0\\" + content[at + 6 :])

    with pytest.raises(InputError, match=r"IM0000\.dcm is no whole DICOM file"):
        read_slices(path)
    with pytest.raises(InputError, match="does not exist"):
        read_slices(tmp_path / "other.dcm")
