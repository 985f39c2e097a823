import re

import nibabel as nib
import numpy as np
import pytest

import kidney_lab
from kidney_lab.errors import InputError
from kidney_lab.tasks.predict import plan


@pytest.fixture(scope="module")
def case(smoke_run):
    name = sorted((smoke_run / "predictions").glob("*.nii.gz"))[0].name.removesuffix(".nii.gz")
    return name, smoke_run.parents[1] / "data" / "phantom-smoke" / name / "imaging.nii.gz"


def test_a_scan_gets_the_label_map_that_the_test_phase_gave_it(smoke_run, case, command, tmp_path):
    name, image = case
    output = tmp_path / "my label [1]=x.nii.gz"
    result = command("task=predict", f"run={smoke_run}", f"input={image}", f"output={output}", cwd=tmp_path)

    assert re.search(r"1 label map in .* \([0-9.]+ s a scan, memory [0-9.]+ (MiB|GiB)\)", result.stdout)
    expected = nib.load(smoke_run / "predictions" / f"{name}.nii.gz")
    found = nib.load(output)
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_array_equal(found.affine, nib.load(image).affine)


def test_load_method_gives_the_same_label_map(smoke_run, case):
    name, image = case
    method = kidney_lab.load_method(smoke_run, device="cpu")
    expected = np.asarray(nib.load(smoke_run / "predictions" / f"{name}.nii.gz").dataobj)
    scan = nib.load(image)

    np.testing.assert_array_equal(method.segment_file(image), expected)
    spacing = tuple(np.linalg.norm(scan.affine[:3, :3], axis=0))
    np.testing.assert_array_equal(method.segment(np.asarray(scan.dataobj), spacing), expected)


def test_a_real_ct_gets_a_label_map_on_its_own_grid(smoke_run, shared_data, command, tmp_path):
    image = shared_data / "ct" / "abdomen_3mm.nii.gz"
    command("task=predict", f"run={smoke_run}", f"input={image}", f"output={tmp_path / 'out'}", cwd=tmp_path)

    written, scan = nib.load(tmp_path / "out" / "abdomen_3mm.nii.gz"), nib.load(image)
    assert written.shape == scan.shape
    np.testing.assert_array_equal(written.affine, scan.affine)


def test_a_folder_of_cases_is_named_by_case(tmp_path):
    for name in ("case_00001", "case_00003"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "imaging.nii.gz").touch()

    assert plan(tmp_path / "in", tmp_path / "out") == [
        (tmp_path / "in" / name / "imaging.nii.gz", tmp_path / "out" / f"{name}.nii.gz")
        for name in ("case_00001", "case_00003")
    ]


def test_a_folder_of_scans_is_named_by_scan(tmp_path):
    (tmp_path / "a.b.nii.gz").touch()
    (tmp_path / "notes.txt").touch()

    assert plan(tmp_path, tmp_path / "out") == [(tmp_path / "a.b.nii.gz", tmp_path / "out" / "a.b.nii.gz")]


def test_a_file_goes_to_a_file_or_into_a_folder(tmp_path):
    scan = tmp_path / "ct.nii"
    scan.touch()

    assert plan(scan, tmp_path / "label.nii.gz") == [(scan, tmp_path / "label.nii.gz")]
    assert plan(scan, tmp_path / "out") == [(scan, tmp_path / "out" / "ct.nii.gz")]
    assert plan(scan, tmp_path) == [(scan, tmp_path / "ct.nii.gz")]


def test_an_output_that_is_the_input_is_refused(tmp_path):
    scan = tmp_path / "ct.nii.gz"
    scan.touch()

    with pytest.raises(InputError, match="would overwrite the scan"):
        plan(scan, tmp_path)


def test_an_empty_folder_and_a_file_for_a_folder_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match="holds no scans"):
        plan(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="is a file, but input="):
        plan(tmp_path / "empty", tmp_path / "file")
