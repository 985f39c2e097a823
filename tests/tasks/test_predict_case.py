import itertools

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.data.scans import Scan
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.inference.cost import CostMeter
from kidney_lab.inference.load import load_method
from kidney_lab.tasks.predict_case import segment_scan
from kidney_lab.tasks.predict_outputs import Outputs
from kidney_lab.tasks.predict_plan import Job
from kidney_lab.tasks.predict_runs import MadeBy

ORIENTATIONS = [
    letters
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.product(*axes)
]  # fmt: skip
LABELS_ALONE = Outputs(dicom_seg=False, overlay=False, measurements=False)
TURN = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])


def scan(spacing, shape=(11, 18, 21), *, oblique=False) -> Volume:
    """Blobs of 120 to 500 HU in soft tissue, smooth enough that resampling keeps them; nothing is symmetric."""
    d, h, w = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    kidney = ((d - 0.45) / 0.3) ** 2 + ((h - 0.6) / 0.25) ** 2 + ((w - 0.3) / 0.2) ** 2
    tumor = ((d - 0.6) / 0.2) ** 2 + ((h - 0.5) / 0.2) ** 2 + ((w - 0.4) / 0.15) ** 2
    image = 30 + 200 * np.exp(-kidney) + 350 * np.exp(-tumor)
    grid = grid_from_spacing(shape, spacing)
    affine = grid.affine.copy()
    affine[:3, 3] = (31.5, -12.25, 140.0)
    if oblique:
        affine[:3, :3] = TURN @ affine[:3, :3]
    return Volume(np.rint(image).astype(np.int16), Grid(shape, affine))


@pytest.fixture(scope="module")
def segment(write_threshold_run, tmp_path_factory):
    """From a volume to the label map that is written of it, by `task=predict`'s own steps."""
    meters = {}

    def run(volume, spacing, folder):
        if spacing not in meters:
            path = write_threshold_run(tmp_path_factory.mktemp("runs") / "run", spacing)
            meters[spacing] = CostMeter(load_method(path, "cpu")), MadeBy.read([path])
        meter, made_by = meters[spacing]
        write_volume(folder / "scan.nii.gz", volume)
        job = Job(Scan("scan", folder / "scan.nii.gz", "nifti"), folder / "labels.nii.gz")
        segment_scan(meter, job, LABELS_ALONE, made_by)
        return read_volume(folder / "labels.nii.gz")

    return run


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
def test_a_threshold_gives_the_same_mask_in_every_orientation(orientation, segment, tmp_path):
    volume = scan((3.0, 1.5, 0.8))
    expected = (volume.array > 100.5).astype(np.uint8) + (volume.array > 300.5)
    assert np.bincount(expected.ravel()).min() > 20

    turned = reorient(volume, orientation)
    labels = segment(turned, None, tmp_path)

    np.testing.assert_allclose(labels.grid.affine, turned.grid.affine, atol=1e-5)
    np.testing.assert_array_equal(reorient(labels).array, expected)


@pytest.mark.parametrize("oblique", [False, True], ids=["straight", "oblique"])
@pytest.mark.parametrize("spacing", [(3.0, 1.5, 0.8), (1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.9, 2.0, 1.1)], ids=str)
def test_the_same_mask_comes_back_through_another_grid(spacing, oblique, segment, tmp_path):
    volume = scan(spacing, oblique=oblique)
    found = []
    for number, orientation in enumerate(ORIENTATIONS[::11]):
        (tmp_path / str(number)).mkdir()
        labels = segment(reorient(volume, orientation), (2.0, 1.2, 1.2), tmp_path / str(number))
        found.append(reorient(labels).array)

    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    expected = volume.array > 100.5
    overlap = 2 * np.sum(expected & (found[0] > 0)) / (expected.sum() + (found[0] > 0).sum())
    assert overlap > 0.9  # the grid in between is as coarse as the smallest of these scans allow


def test_the_header_of_the_input_is_that_of_the_output(segment, tmp_path):
    volume = reorient(scan((2.5, 0.7, 0.7), oblique=True), ("P", "I", "R"))
    segment(volume, None, tmp_path)
    image, labels = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "labels.nii.gz")

    assert labels.shape == image.shape
    assert labels.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(labels.affine, image.affine)
