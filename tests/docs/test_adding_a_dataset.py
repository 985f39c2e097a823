"""docs/adding_a_dataset.md does what it says."""

import json

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.metrics.table import read_metrics


@pytest.fixture(scope="module")
def page(follow):
    page = follow("adding_a_dataset")
    page.run("make_example.py")
    page.run("task=prepare")
    return page


def test_the_example_s_cases_come_into_kits_layout_with_the_project_s_values(page):
    cases = page.folder / "data" / "my_hospital"

    assert sorted(path.name for path in cases.glob("case_*")) == [f"case_{number:05d}" for number in range(7, 13)]
    theirs = np.asarray(nib.load(page.folder / "masks" / "CT-7_seg.nii.gz").dataobj)
    ours = np.asarray(nib.load(cases / "case_00007" / "segmentation.nii.gz").dataobj)
    assert np.array_equal(ours, np.select([theirs == 2, theirs == 1], [1, 2], 0))
    assert (cases / "case_00007" / "imaging.nii.gz").resolve() == page.folder / "scans" / "CT-7.nii.gz"


def test_every_case_is_prepared(page):
    prepared = (page.folder / "data" / "stores").glob("my_hospital-*/case_*")

    assert sorted(path.name for path in prepared) == [f"case_{number:05d}" for number in range(7, 13)]


def test_a_training_tests_the_cases_that_the_split_file_names(page):
    page.run("trainer=smoke")

    run = page.folder / "runs" / "first"
    assert json.loads((run / "run.json").read_text())["data"]["synthesized"] is False
    assert set(read_metrics(run)["case"]) == {"case_00011", "case_00012"}
    assert set(read_metrics(run)["region"]) == {"kidney_and_mass", "tumor"}
