import json

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.metrics.table import read_metrics

AFFINE = np.diag([-3.0, -1.0, -1.0, 1])[[2, 1, 0, 3]]


def write_case(root, name, annotators):
    """A case of a kidney of four rows of eight voxels that each annotator draws one row further down."""
    for annotator in annotators:
        mask = np.zeros((3, 10, 8), np.uint8)
        mask[1, annotator : annotator + 4] = 1
        path = root / name / "instances" / f"kidney_instance-1_annotation-{annotator}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(mask, AFFINE), path)
    nib.save(nib.Nifti1Image(mask, AFFINE), root / name / "segmentation.nii.gz")


@pytest.fixture
def root(tmp_path):
    for name, annotators in {"case_00000": [1, 2], "case_00001": [1], "case_00002": [1, 2, 3]}.items():
        write_case(tmp_path / "kits23", name, annotators)
    return tmp_path / "kits23"


def test_annotators_are_scored_against_each_other_as_methods_are(root, command, tmp_path):
    out = tmp_path / "out"
    result = command(
        "task=agreement",
        "data=kits23",
        f"data.root={root}",
        f"output={out}",
        "metrics=[dice,hd,sensitivity]",
        "prepare.workers=1",
        cwd=tmp_path,
    )

    values = read_metrics(out).set_index(["case", "region", "metric"])["value"].xs("kidney_and_mass", level="region")
    # neighbours share 3 of 4 rows and are a row apart, the outer two of three share 2 and are two rows apart
    assert values["case_00000"].to_dict() == {"dice": 0.75, "hd": 1.0, "sensitivity": 0.75}
    assert values["case_00002"].to_dict() == pytest.approx({"dice": 2 / 3, "hd": 4 / 3, "sensitivity": 2 / 3})
    assert "case_00001" not in values
    record = json.loads((out / "agreement.json").read_text())
    assert (record["data"], record["cases"], record["left_out"]) == ("kits23", 2, ["case_00001"])
    assert "left out, since fewer than two annotators drew them: case_00001" in result.stdout
    assert (out / "summary.json").is_file()


def test_the_cases_can_be_chosen(root, command, tmp_path):
    arguments = ["task=agreement", "data=kits23", f"data.root={root}", "output=out", "prepare.workers=1"]
    command(*arguments, "data.cases=0-1", cwd=tmp_path)

    assert read_metrics(tmp_path / "out")["case"].unique().tolist() == ["case_00000"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data=kits19", "data.root=."], "task=agreement compares annotators, but data=kits19 has one annotation of"),
        ([], "task=agreement compares annotators, but data=phantom has one annotation of each case"),
        (["data=kits23", "data.root=.", "metrics=[ece]"], "The metric 'ece' is unknown: choose official, all"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, sentence, command, tmp_path):
    result = command("task=agreement", "output=out", *arguments, cwd=tmp_path, check=False)

    assert result.returncode == 2
    assert result.stderr.startswith(f"kidney_lab: {sentence}")
    assert not (tmp_path / "out").exists()
