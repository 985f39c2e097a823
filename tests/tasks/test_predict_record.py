import json
import os

import pytest

from kidney_lab.data.scans import Scan
from kidney_lab.errors import InputError
from kidney_lab.inference.cost import CaseCost
from kidney_lab.tasks.predict_outputs import Outputs
from kidney_lab.tasks.predict_plan import Job
from kidney_lab.tasks.predict_record import stamp_of, take_back, unfinished, write_record
from kidney_lab.tasks.predict_runs import MadeBy

RUNS = MadeBy(({"name": "unet3d-kits23", "started": "2026-01-02"},))
COST = CaseCost(seconds=1.5, peak_mib=300.0, device_mib=None, windows=3, flops=10)
NOTHING_ELSE = Outputs(dicom_seg=False, overlay=False, measurements=False)


@pytest.fixture
def job(tmp_path):
    """A job that is finished but for its record."""
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "1.dcm").write_bytes(b"slice")
    (tmp_path / "ct.nii.gz").touch()
    return Job(Scan("ct", tmp_path / "ct", "dicom"), tmp_path / "ct.nii.gz")


def record_of(job, made_by=RUNS, left_out=None):
    write_record(job, made_by, COST, stamp_of(job.scan), left_out or {})


def test_a_scan_is_finished_once_its_record_and_outputs_are_there(job):
    job.labels.rename(job.labels.with_name("aside"))
    assert unfinished([job], NOTHING_ELSE, RUNS) == [job]
    record_of(job)
    assert unfinished([job], NOTHING_ELSE, RUNS) == [job]
    job.labels.with_name("aside").rename(job.labels)
    assert unfinished([job], NOTHING_ELSE, RUNS) == []

    overlay = Outputs(dicom_seg=False, overlay=True, measurements=False)
    assert unfinished([job], overlay, RUNS) == [job]
    job.beside(".overlay.png").touch()
    assert unfinished([job], overlay, RUNS) == []
    job.labels.unlink()
    assert unfinished([job], overlay, RUNS) == [job]


def test_an_output_that_a_scan_cannot_have_is_not_waited_for(job):
    seg = Outputs(dicom_seg=True, overlay=False, measurements=False)
    record_of(job)
    assert unfinished([job], seg, RUNS) == [job]
    record_of(job, left_out={"dicom_seg": "the label map is empty"})
    assert unfinished([job], seg, RUNS) == []


def test_another_run_or_scan_is_named(job, tmp_path):
    record_of(job)
    with pytest.raises(InputError, match="made by another run, unet3d-kits23 of 2026-01-02"):
        unfinished([job], NOTHING_ELSE, MadeBy(({"name": "msalds-kits23"},)))
    moved = Job(Scan("ct", tmp_path / "other", "dicom"), job.labels)
    with pytest.raises(InputError, match=f"is that of another scan, {job.scan.path}"):
        unfinished([moved], NOTHING_ELSE, RUNS)


def test_what_another_run_left_goes_and_what_the_same_run_left_stays(job):
    left = [job.labels, job.beside(".overlay.png"), job.beside(".prediction.json")]
    record_of(job)
    job.beside(".overlay.png").touch()
    take_back(job, RUNS)
    assert all(path.is_file() for path in left)

    take_back(job, MadeBy(({"name": "msalds-kits23"},)))
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[1]", '{"of": "somebody else"}', '{"labels": "ct.nii", "runs": []}', '{"runs": 1}']
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.dcm"])
def test_what_no_record_tells_of_is_somebody_elses_and_is_not_overwritten(job, text, suffix):
    job.labels.rename(job.beside(suffix))
    if text is not None:
        job.beside(".prediction.json").write_text(text)
    with pytest.raises(
        InputError, match=rf"overwrite=true:\n.*ct{suffix} is there, but no ct.prediction.json says that"
    ):
        unfinished([job], NOTHING_ELSE, RUNS)
    job.beside(suffix).unlink()
    assert unfinished([job], NOTHING_ELSE, RUNS) == [job]


def test_a_scan_that_was_changed_in_its_place_is_another(job, tmp_path):
    record_of(job)
    (tmp_path / "ct" / "ct.seg.dcm").touch()  # an output among the slices is none of them
    assert unfinished([job], NOTHING_ELSE, RUNS) == []
    (tmp_path / "ct" / "2.dcm").write_bytes(b"slice")
    with pytest.raises(InputError, match=rf"ct.nii.gz was made of {job.scan.path} before that was changed"):
        unfinished([job], NOTHING_ELSE, RUNS)

    file = tmp_path / "in.nii.gz"
    file.write_bytes(b"before")
    scan = Scan("in", file, "nifti")
    before = stamp_of(scan)
    assert before == {"bytes": 6, "mtime_ns": file.stat().st_mtime_ns}
    os.utime(file, ns=(0, before["mtime_ns"] + 1))
    assert stamp_of(scan) != before


def test_the_record_says_what_was_made_of_what(job):
    record_of(job)
    record = json.loads(job.beside(".prediction.json").read_text())
    assert (record["scan"], record["labels"], record["seconds"]) == (str(job.scan.path), "ct.nii.gz", 1.5)
    assert record["runs"] == [{"name": "unet3d-kits23", "started": "2026-01-02"}]
