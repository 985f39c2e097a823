import pytest

from kidney_lab.data.scans import Scan
from kidney_lab.errors import InputError
from kidney_lab.tasks.predict_plan import Job, plan


def scan_at(path, name=None):
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return Scan(name or path.name.removesuffix(".nii.gz"), path, "nifti")


def test_label_maps_in_a_folder_are_named_by_their_scan(tmp_path):
    scans = [scan_at(tmp_path / "a.b.nii.gz"), scan_at(tmp_path / "case_00003" / "imaging.nii.gz", "case_00003")]

    jobs = plan(scans, tmp_path / "out")
    assert [job.labels for job in jobs] == [tmp_path / "out" / "a.b.nii.gz", tmp_path / "out" / "case_00003.nii.gz"]
    assert jobs[0].beside(".seg.dcm") == tmp_path / "out" / "a.b.seg.dcm"


def test_a_single_scan_goes_to_a_file_or_into_a_folder(tmp_path):
    scan = scan_at(tmp_path / "ct.nii.gz")
    (tmp_path / "there.nii.gz").mkdir()

    assert plan([scan], tmp_path / "label.nii") == [Job(scan, tmp_path / "label.nii")]
    assert plan([scan], tmp_path / "out") == [Job(scan, tmp_path / "out" / "ct.nii.gz")]
    assert plan([scan], tmp_path / "v1.2") == [Job(scan, tmp_path / "v1.2" / "ct.nii.gz")]
    assert plan([scan], tmp_path / "there.nii.gz") == [Job(scan, tmp_path / "there.nii.gz" / "ct.nii.gz")]


def test_an_output_that_is_a_scan_is_refused(tmp_path):
    scan = scan_at(tmp_path / "ct.nii.gz")

    for output in (tmp_path, scan.path):
        with pytest.raises(InputError, match="would overwrite the scan"):
            plan([scan], output)


def test_no_label_map_takes_the_place_of_another_scan(tmp_path):
    scans = [scan_at(tmp_path / "x" / "ct.nii.gz", "x_ct"), scan_at(tmp_path / "out" / "x_ct.nii.gz", "out_x_ct")]

    with pytest.raises(InputError, match=r"would overwrite the scan .*out/x_ct\.nii\.gz: name another"):
        plan(scans, tmp_path / "out")


def test_one_file_for_several_scans_and_other_files_are_refused(tmp_path):
    scans = [scan_at(tmp_path / "a.nii.gz"), scan_at(tmp_path / "b.nii.gz")]
    (tmp_path / "notes.txt").touch()

    with pytest.raises(InputError, match="is one file, but there are 2 scans: name a folder"):
        plan(scans, tmp_path / "label.nii.gz")
    for name in ("notes.txt", "label.gz"):
        with pytest.raises(InputError, match=f"{name} is no NIfTI name: end it in .nii.gz"):
            plan(scans[:1], tmp_path / name)
