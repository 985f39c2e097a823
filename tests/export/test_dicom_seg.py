from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from kidney_lab.data.dicom_series import find_series
from kidney_lab.errors import InputError
from kidney_lab.export.dicom_seg import Algorithm, frames_of, write_segmentation
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.reporting.figures import COLORS

SHAPE = (6, 10, 12)
ALGORITHM = Algorithm("unet3d-kits23", "73fc448d599b")
TILT = np.deg2rad(7)
ORIENTATIONS = {
    "supine": [1, 0, 0, 0, 1, 0],
    "prone": [-1, 0, 0, 0, -1, 0],
    "oblique": [np.cos(TILT), np.sin(TILT), 0, -np.sin(TILT), np.cos(TILT), 0],
}


def ct_slice(index: int, orientation: list[float], uids: dict[str, str]) -> Dataset:
    """A slice of a CT as a scanner writes it; slices lie 2.5 mm apart, the first lowest."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uids["study"], uids["series"]
    dataset.FrameOfReferenceUID = uids["frame"]
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 3, index + 1
    dataset.PatientID, dataset.PatientName, dataset.PatientSex, dataset.PatientBirthDate = "p7", "Doe^Jo", "F", ""
    dataset.AccessionNumber = dataset.StudyID = dataset.StudyDate = dataset.StudyTime = ""
    normal = np.cross(orientation[:3], orientation[3:])
    dataset.ImageOrientationPatient = [float(f"{value:.9f}") for value in orientation]
    dataset.ImagePositionPatient = [float(f"{v:.6f}") for v in np.array([-50.0, -40.0, 10.0]) + 2.5 * index * normal]
    dataset.PixelSpacing, dataset.SliceThickness = [0.7, 0.8], 2.5
    dataset.Rows, dataset.Columns = SHAPE[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = np.full(SHAPE[1:], index, np.int16).tobytes()
    return dataset


def write_series(folder: Path, orientation: str = "supine", **changes) -> dict[str, int]:
    """Writes a series with file names in no order; returns the index of every slice by its SOP instance UID."""
    folder.mkdir()
    uids = {name: generate_uid() for name in ("study", "series", "frame")}
    order = {}
    for index in range(SHAPE[0]):
        dataset = ct_slice(index, ORIENTATIONS[orientation], uids)
        for name, value in changes.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
        dataset.save_as(folder / f"{(index * 5) % 7}.dcm", enforce_file_format=True)
        order[str(dataset.file_meta.MediaStorageSOPInstanceUID)] = index
    return order


def label_map(values=(1, 2, 3)) -> np.ndarray:
    """Different in every slice and without symmetry."""
    labels = np.zeros(SHAPE, np.uint8)
    for z in range(1, SHAPE[0]):
        labels[z, 1 : 3 + z, 2:9] = values[0]
        labels[z, 2, 3 : 3 + z] = values[1]
    labels[2, 4, 5:8] = values[2]
    return labels


@pytest.fixture
def segmented(tmp_path):
    """A series, its label map, and the file that is written of both."""
    order = write_series(tmp_path / "ct")
    series = find_series(tmp_path / "ct")
    labels = Volume(label_map(), series.grid)
    assert write_segmentation(tmp_path / "out" / "seg.dcm", labels, series, ALGORITHM)
    return order, series, labels, hd.seg.segread(tmp_path / "out" / "seg.dcm")


def to_ras(affine: np.ndarray) -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def test_every_source_slice_refers_to_its_own_labels(segmented):
    order, _, labels, segmentation = segmented
    uids = list(order)
    frames = segmentation.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    for uid, frame in zip(uids, frames, strict=True):
        np.testing.assert_array_equal(frame, labels.array[SHAPE[0] - 1 - order[uid]])  # a volume begins at the head


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("turned", [("I", "P", "L"), ("R", "A", "S"), ("P", "L", "S")])
def test_voxels_stay_where_they_are(tmp_path, orientation, turned):
    write_series(tmp_path / "ct", orientation)
    series = find_series(tmp_path / "ct")
    labels = Volume(label_map(), series.grid)
    write_segmentation(tmp_path / "seg.dcm", reorient(labels, turned), series, ALGORITHM)
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    d, h, w = volume.array.shape
    found = reorient(Volume(volume.array, Grid((d, h, w), to_ras(volume.affine))), series.grid.orientation)
    first = np.linalg.inv(series.grid.affine) @ found.grid.affine[:, 3]
    np.testing.assert_allclose(first, np.rint(first), atol=1e-4)  # empty slices are left out at the ends
    np.testing.assert_allclose(found.grid.affine[:3, :3], series.grid.affine[:3, :3], atol=1e-6)
    whole = np.zeros(SHAPE, np.uint8)
    whole[tuple(slice(int(a), int(a) + n) for a, n in zip(np.rint(first[:3]), found.array.shape, strict=True))] = (
        found.array
    )
    np.testing.assert_array_equal(whole, labels.array)


def test_segments_say_in_codes_what_they_are(segmented):
    *_, segmentation = segmented
    codes = [
        (s.segment_label, s.segmented_property_category.value, s.segmented_property_type.value, s.segment_number)
        for s in segmentation.SegmentSequence
    ]
    assert codes == [
        ("kidney", "91723000", "64033007", 1),
        ("tumor", "49755003", "108369006", 2),
        ("cyst", "49755003", "367643001", 3),
    ]
    assert segmentation.SegmentSequence[1].anatomic_regions[0].value == "64033007"
    for name, segment in zip(("kidney", "tumor", "cyst"), segmentation.SegmentSequence, strict=True):
        assert segment.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
        identity = segment.algorithm_identification
        assert (identity.name, identity.version, identity.family.value) == (*vars(ALGORITHM).values(), "123110")
        lab = hd.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
        assert np.abs(np.array(lab.to_rgb()) - [int(COLORS[name][i : i + 2], 16) for i in (1, 3, 5)]).max() <= 2


def test_the_file_belongs_to_the_study_and_the_patient(segmented):
    _, series, _, segmentation = segmented
    source = dcmread(series.files[0], stop_before_pixels=True)
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "PatientSex"):
        assert segmentation.get(name) == source.get(name)
    assert segmentation.SeriesInstanceUID != source.SeriesInstanceUID
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert segmentation.SeriesDescription == "kidney_lab: kidney, tumor, cyst"
    assert (segmentation.SeriesNumber, segmentation.segmentation_type.value) == (1003, "BINARY")
    assert (segmentation.Manufacturer, segmentation.ManufacturerModelName) == ("kidney_lab", "unet3d-kits23")


def test_labels_that_are_not_there_have_no_segment(tmp_path):
    write_series(tmp_path / "ct")
    series = find_series(tmp_path / "ct")
    write_segmentation(tmp_path / "seg.dcm", Volume(label_map((1, 1, 3)), series.grid), series, ALGORITHM)
    segmentation = hd.seg.segread(tmp_path / "seg.dcm")
    assert [segment.segment_label for segment in segmentation.SegmentSequence] == ["kidney", "cyst"]
    cyst = segmentation.get_volume(segment_numbers=[2], combine_segments=True, relabel=True).array
    assert cyst.sum() == 3


def test_a_map_without_labels_gives_no_file(tmp_path, caplog):
    write_series(tmp_path / "ct")
    series = find_series(tmp_path / "ct")
    caplog.set_level("INFO", "kidney_lab")
    empty = Volume(np.zeros(SHAPE, np.uint8), series.grid)
    assert not write_segmentation(tmp_path / "out" / "seg.dcm", empty, series, ALGORITHM)
    assert not (tmp_path / "out").exists()
    assert "the label map holds no label" in caplog.text


def test_series_without_names_and_identities_are_written_with_a_warning(tmp_path, caplog):
    write_series(
        tmp_path / "ct",
        **{"StudyInstanceUID": "", "SOPInstanceUID": "", "SOPClassUID": ""},
        **{"PatientName": None, "StudyDate": None, "SliceThickness": None},
    )
    series = find_series(tmp_path / "ct")
    for name in ("a.dcm", "b.dcm"):
        write_segmentation(tmp_path / name, Volume(label_map(), series.grid), series, ALGORITHM)
    a, b = (hd.seg.segread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert "has no StudyInstanceUID: the DICOM-SEG file gets made-up ones" in caplog.text
    assert a.StudyInstanceUID == b.StudyInstanceUID != ""
    assert a.SOPInstanceUID != b.SOPInstanceUID
    measures = a.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == pytest.approx(2.5)  # the distance of the slices


def test_all_identities_that_lack_are_named_in_one_warning(tmp_path, caplog):
    write_series(tmp_path / "ct", StudyInstanceUID="", SeriesInstanceUID="", FrameOfReferenceUID="")
    series = find_series(tmp_path / "ct")

    write_segmentation(tmp_path / "a.dcm", Volume(label_map(), series.grid), series, ALGORITHM)

    assert "has no StudyInstanceUID, SeriesInstanceUID and FrameOfReferenceUID: the DICOM-SEG file" in caplog.text


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            Volume(label_map(), grid_from_spacing(SHAPE, (2.5, 0.7, 0.8))),
            r"is not the grid of the series .*very series",
        ),
        (Volume(label_map()[:-1], grid_from_spacing((5, 10, 12), (2.5, 0.7, 0.8))), r"has shape \(5, 10, 12\)"),
    ],
)
def test_labels_of_another_grid_are_refused(tmp_path, labels, message):
    write_series(tmp_path / "ct")
    with pytest.raises(InputError, match=message):
        frames_of(labels, find_series(tmp_path / "ct"))


def test_values_that_are_no_labels_are_refused(tmp_path):
    write_series(tmp_path / "ct")
    series = find_series(tmp_path / "ct")
    with pytest.raises(InputError, match=r"The label map holds \[7\], but labels are 0 and"):
        frames_of(Volume(label_map((1, 2, 7)), series.grid), series)


def test_a_real_series_comes_back(shared_data, tmp_path):
    series = find_series(shared_data / "ct" / "dicom")
    labels = np.zeros(series.grid.shape, np.uint8)
    labels[3:9, 200:300, 150:200], labels[5:7, 220:240, 160:170] = 1, 2
    assert write_segmentation(tmp_path / "seg.dcm", Volume(labels, series.grid), series, ALGORITHM)
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    np.testing.assert_array_equal(volume.array, labels[3:9])
    np.testing.assert_allclose(to_ras(volume.affine)[:3, :3], series.grid.affine[:3, :3])


def item(**tags) -> Dataset:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def test_frames_of_an_enhanced_ct_refer_to_their_own_labels(tmp_path):
    dataset = ct_slice(0, ORIENTATIONS["supine"], {name: generate_uid() for name in ("study", "series", "frame")})
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames, dataset.ImageType = SHAPE[0], ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=dataset.ImageOrientationPatient)],
        PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.8], SliceThickness=2.5)],
        PixelValueTransformationSequence=[item(RescaleSlope=1.0, RescaleIntercept=-1024.0)],
    )
    places = [10, 20, 15, 12.5, 22.5, 17.5]  # of the frames: in no order
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[-50, -40, z])]) for z in places
    ]
    dataset.PixelData = np.zeros(SHAPE, np.int16).tobytes()
    dataset.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    series = find_series(tmp_path / "ct.dcm")
    assert write_segmentation(tmp_path / "seg.dcm", Volume(label_map(), series.grid), series, ALGORITHM)
    frames = hd.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_frame(
        dataset.SOPInstanceUID, list(range(1, 7)), combine_segments=True, assert_missing_frames_are_empty=True
    )
    from_head = np.argsort(places)[::-1]
    np.testing.assert_array_equal(frames[from_head], label_map())
