import matplotlib.image
import numpy as np
import pytest

from kidney_lab.data.dicom import read_series
from kidney_lab.data.dicom_series import find_series
from kidney_lab.data.scans import Scan
from kidney_lab.errors import InputError
from kidney_lab.export.dicom_seg import Algorithm
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.tasks import predict_outputs
from kidney_lab.tasks.predict_outputs import Made, Outputs
from kidney_lab.tasks.predict_plan import Job

ALGORITHM = Algorithm("unet3d-kits23", "73fc448d599b")
SEG = Outputs(dicom_seg=True, overlay=False, measurements=False)


def nifti(folder) -> Job:
    return Job(Scan("ct", folder / "ct.nii.gz", "nifti"), folder / "out" / "ct.nii.gz")


@pytest.fixture
def dicom(tmp_path, write_series):
    """A series, its job, and what a method made of it: a kidney in the middle."""
    write_series(tmp_path / "ct")
    image = read_series(tmp_path / "ct")
    labels = np.zeros(image.array.shape, np.uint8)
    labels[2:5, 2:4, 2:4] = 1
    made = Made(image, Volume(labels, image.grid), find_series(tmp_path / "ct"), None)
    return Job(Scan("ct", tmp_path / "ct", "dicom"), tmp_path / "out" / "ct.nii.gz"), made


def test_a_scan_is_to_have_what_is_asked_for_and_dicom_of_dicom_alone(tmp_path, dicom):
    everything = Outputs(probabilities=True)
    assert everything.of(dicom[0]) == ["dicom_seg", "overlay", "measurements", "probabilities"]
    assert everything.of(nifti(tmp_path)) == ["overlay", "measurements", "probabilities"]
    assert Outputs(dicom_seg=False, overlay=False, measurements=False).of(dicom[0]) == []


def test_each_output_is_a_file_beside_the_label_map(tmp_path):
    shape = (6, 20, 20)
    image = Volume(np.full(shape, 40, np.int16), grid_from_spacing(shape, (3.0, 1.0, 1.0)))
    labels = np.zeros(shape, np.uint8)
    labels[2:4, 5:10, 5:10] = 1
    made = Made(image, Volume(labels, image.grid), None, None)

    assert Outputs().write(nifti(tmp_path), made, ALGORITHM) == {}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ct.measurements.csv", "ct.overlay.png"]
    assert matplotlib.image.imread(tmp_path / "out" / "ct.overlay.png").ndim == 3
    assert "ct,kidney_and_mass,,,0.15," in (tmp_path / "out" / "ct.measurements.csv").read_text()


def test_what_a_series_cannot_have_is_said_and_the_rest_is_written(dicom, monkeypatch, caplog):
    job, made = dicom
    assert SEG.write(job, made, ALGORITHM) == {}
    assert job.beside(".seg.dcm").is_file()

    empty = Made(made.image, Volume(made.labels.array * 0, made.image.grid), made.series, None)
    assert SEG.write(job, empty, ALGORITHM) == {"dicom_seg": "the label map is empty"}

    def refuse(*_):
        raise InputError("The series has files of several slices each; write NIfTI.")

    monkeypatch.setattr(predict_outputs, "write_segmentation", refuse)
    assert SEG.write(job, made, ALGORITHM) == {"dicom_seg": "The series has files of several slices each; write NIfTI."}
    assert "ct: no DICOM-SEG. The series has files of several slices each" in caplog.text
