import numpy as np
import pytest

from kidney_lab.data.clinical import read_clinical
from kidney_lab.data.clinical.volumes import tumor_volume_ml, tumor_volumes
from kidney_lab.data.kits import Case, find_cases
from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing


def write_case(root, case_id, n_tumor):
    label = np.zeros((6, 8, 10), np.uint8)
    label[1:4, 2:6, 3:8] = 1
    label.reshape(-1)[:n_tumor] = 2
    label[5, 7, 9] = 3
    write_volume(root / case_id / "segmentation.nii.gz", Volume(label, grid_from_spacing(label.shape, (5.0, 0.8, 0.5))))


def test_volume_is_the_number_of_tumor_voxels_times_theirs(tmp_path):
    for number, n_tumor in enumerate((0, 10, 300)):
        write_case(tmp_path, f"case_{number:05d}", n_tumor)
    (tmp_path / "case_00003").mkdir()

    volumes = tumor_volumes(find_cases(tmp_path), workers=1)

    # one voxel has 5 x 0.8 x 0.5 = 2 cubic millimetres
    assert volumes.to_dict() == pytest.approx({"case_00000": 0.0, "case_00001": 0.02, "case_00002": 0.6})
    assert volumes.name == "tumor_volume_ml"
    assert volumes.dtype == "Float64"


def test_without_references_there_are_no_volumes():
    assert tumor_volumes([Case("case_00000", None, None)]).empty
    with pytest.raises(InputError, match="case_00000 has no reference segmentation"):
        tumor_volume_ml(Case("case_00000", None, None))


def test_the_volume_of_a_real_tumor_is_about_that_of_a_ball_of_its_diameter(shared_data):
    root = shared_data / "kits19"
    case = Case("case_00016", None, root / "case_00016" / "segmentation.nii.gz")

    volume = tumor_volume_ml(case)

    diameter_cm = read_clinical(root / "kits.json").loc[case.id, "radiographic_size"]
    assert 0.3 < volume / (np.pi / 6 * diameter_cm**3) < 1.3
