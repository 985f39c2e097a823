import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.metrics.scoring import MASK_METRICS, METRICS_VERSION
from kidney_lab.metrics.strata import read_strata
from kidney_lab.metrics.table import read_metrics

AFFINE = np.array([[0, 0, -0.75, 0], [0, -0.75, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1]])


def label_map(n=0):
    """Two kidneys, one with a tumor that grows with the number of the case; predictions miss some rows."""
    labels = np.zeros((10, 60, 60), np.uint8)
    labels[1:9, 5:50, 5:25] = labels[1:9, 5:50, 35:55] = 1
    labels[2:8, 10 : 20 + 8 * n, 10 : 20 + 4 * n] = 2
    return labels


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.fixture
def folders(tmp_path):
    """Three cases under nnU-Net's names; predictions are the references moved by one row."""
    for n in range(3):
        save(tmp_path / "labelsTs" / f"KiTS_{n:05d}.nii.gz", label_map(n))
        save(tmp_path / "predicted" / f"KiTS_{n:05d}.nii.gz", np.roll(label_map(n), 1, axis=1))
    return tmp_path


def arguments(folders, *more, output="out"):
    return [
        "task=evaluate",
        f"predictions={folders / 'predicted'}",
        f"references={folders / 'labelsTs'}",
        f"output={folders / output}",
        "prepare.workers=1",
        *more,
    ]


def test_predictions_of_a_run_score_as_in_the_run(smoke_run, command, tmp_path):
    references = smoke_run.parents[1] / "data" / "phantom-smoke"
    tested = tmp_path / "references = [a]"
    for prediction in (smoke_run / "predictions").glob("*.nii.gz"):
        case = prediction.name.removesuffix(".nii.gz")
        (tested / case).mkdir(parents=True)
        shutil.copy(references / case / "segmentation.nii.gz", tested / case)
    result = command(
        "task=evaluate",
        f"predictions={smoke_run / 'predictions'}",
        f"references={tested}",
        f"output={tmp_path / 'out'}",
        cwd=tmp_path,
    )

    assert read_metrics(tmp_path / "out" / "metrics.csv").equals(read_metrics(smoke_run / "metrics.csv"))
    assert (tmp_path / "out" / "summary.json").is_file()
    assert "Tumor" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_nnunet_s_folders_get_scores_strata_and_tables(folders, command):
    result = command(*arguments(folders, "strata=true"), cwd=folders)

    out = folders / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "evaluation.json",
        "metrics.csv",
        "strata.csv",
        "summary.json",
    ]
    scores, strata = read_metrics(out), read_strata(out)
    assert scores["case"].unique().tolist() == strata["case"].tolist() == [f"case_{n:05d}" for n in range(3)]
    assert strata["size"].tolist() == ["<=2 cm", "<=2 cm", "2-4 cm"]  # 10 x 10, 18 x 14, 26 x 18 voxels of 0.75 mm
    assert (scores[scores["metric"] == "dice"]["value"] < 1).all()
    assert (scores[scores["metric"] == "surface_dice"]["value"] == 1).all()  # a row is less than the tolerance
    lines = result.stdout.splitlines()
    assert any("2-4 cm" in line and " 1 " in line for line in lines)
    assert any("<=2 cm" in line and " 2 " in line for line in lines)
    record = json.loads((out / "evaluation.json").read_text())
    assert record["metrics"] == ["dice", "surface_dice"]
    assert record["empty"] == []
    assert record["metrics_version"] == METRICS_VERSION


def test_training_code_is_not_imported(folders):
    code = (
        "import sys\n"
        "from kidney_lab.__main__ import main\n"
        "main()\n"
        "heavy = ('torch', 'torchvision', 'monai', 'pytorch_lightning', 'lightning', 'wandb', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments(folders, "strata=true", "metrics=all", "lesions=true")],
        cwd=folders,
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.splitlines()[-1] == "[]"


def test_everything_can_be_scored_at_once(folders, command):
    settings = ("metrics=all", "lesions=true", "level=slice", "score=kits19", "surface=voxel")
    result = command(*arguments(folders, *settings), cwd=folders)

    keys = set(read_metrics(folders / "out")[["region", "metric"]].itertuples(index=False, name=None))
    regions = ("kidney_and_mass", "tumor")
    assert keys >= {
        (region, f"{name}{end}") for region in regions for name in MASK_METRICS for end in ("", "_per_slice")
    }
    assert {key for key in keys if key[0] not in regions} == {("mean", "dice")}
    assert ("tumor", "lesion_sensitivity") in keys
    assert ("kidney_and_mass", "lesion_sensitivity") not in keys
    assert "hd95 (mm)" in result.stdout
    assert not (folders / "out" / "strata.csv").exists()
    assert json.loads((folders / "out" / "evaluation.json").read_text())["surface"] == "voxel"


def test_shards_end_in_the_tables_of_one_process(folders, command):
    command(*arguments(folders, "strata=true", output="whole"), cwd=folders)
    first = command(*arguments(folders, "strata=true", "shard=2/2"), cwd=folders)
    assert "the last shard to end writes" in first.stdout
    assert not (folders / "out" / "metrics.csv").exists()
    command(*arguments(folders, "strata=true", "shard=1/2"), cwd=folders)

    for name in ("metrics.csv", "summary.json", "strata.csv"):
        assert (folders / "out" / name).read_bytes() == (folders / "whole" / name).read_bytes()
    assert not (folders / "out" / "parts").exists()


def test_a_missing_prediction_is_named_and_nothing_is_scored(smoke_run, command, tmp_path):
    result = command(
        "task=evaluate",
        f"predictions={smoke_run / 'predictions'}",
        f"references={smoke_run.parents[1] / 'data' / 'phantom-smoke'}",
        f"output={tmp_path / 'out'}",
        cwd=tmp_path,
        check=False,
    )

    assert result.returncode == 2
    assert result.stderr.count("has no prediction in") == 4
    assert not (tmp_path / "out").exists()


def test_a_missing_prediction_can_be_scored_as_an_empty_one_and_is_named(folders, command):
    (folders / "predicted" / "KiTS_00001.nii.gz").unlink()

    result = command(*arguments(folders, "missing=zero"), cwd=folders)

    scores = read_metrics(folders / "out")
    assert (scores[scores["case"] == "case_00001"]["value"] == 0).all()
    assert (scores[scores["case"] != "case_00001"]["value"] > 0).all()
    assert "1 of 3 cases have no prediction and are scored as empty: case_00001" in result.stdout
    assert json.loads((folders / "out" / "evaluation.json").read_text())["empty"] == ["case_00001"]


def test_everything_wrong_with_all_files_is_one_list_and_nothing_is_written(folders, command):
    wrong = label_map(0)
    wrong[0, 0, 0] = 5
    save(folders / "predicted" / "KiTS_00000.nii.gz", wrong)
    moved = AFFINE.copy()
    moved[1, 3] = 4
    save(folders / "predicted" / "KiTS_00001.nii.gz", label_map(1), moved)
    save(folders / "predicted" / "KiTS_00002.nii.gz", label_map(2)[1:])

    result = command(*arguments(folders), cwd=folders, check=False)

    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("  - ")]
    assert [f"case_0000{n}" in line for n, line in enumerate(lines)] == [True] * 3
    assert "value 5" in lines[0]
    assert "4 mm apart: affine [[" in lines[1]
    assert "shape (9, 60, 60), its reference (10, 60, 60)" in lines[2]
    assert not (folders / "out").exists()


def test_a_wrong_value_that_is_found_late_leaves_no_tables_and_keeps_the_sound_cases(folders, command):
    half = label_map(0).astype(np.float32)
    half[0, 0, 0] = 0.5
    save(folders / "predicted" / "KiTS_00000.nii.gz", half)

    result = command(*arguments(folders), cwd=folders, check=False)

    assert result.returncode == 2
    assert "holds the value 0.5" in result.stderr
    assert [path.name for path in (folders / "out").iterdir()] == ["parts"]
    assert not (folders / "out" / "parts" / "case_00000.json").exists()


def test_strata_of_an_earlier_evaluation_go_with_its_scores(folders, command):
    command(*arguments(folders, "strata=true"), cwd=folders)
    assert (folders / "out" / "strata.csv").is_file()
    command(*arguments(folders), cwd=folders)

    assert not (folders / "out" / "strata.csv").exists()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("metrics=5", "metrics=5 names no metrics: choose official, all, or a list"),
        ("regions=5", "regions=5 names no regions: choose out of"),
        ("prepare.workers=abc", "prepare.workers=abc is no count"),
        ("output=/proc/x", "/proc/x cannot be made"),
    ],
)
def test_a_setting_of_a_wrong_type_is_one_sentence(folders, command, override, sentence):
    result = command(*arguments(folders), override, cwd=folders, check=False)

    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"kidney_lab: {sentence}")


def test_the_scores_of_a_training_are_not_overwritten(folders, command):
    (folders / "out").mkdir()
    (folders / "out" / "run.json").write_text("{}")

    result = command(*arguments(folders), cwd=folders, check=False)

    assert result.returncode == 2
    assert "is the run folder of a training" in result.stderr


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("metrics=[dice,hausdorff]", "The metric 'hausdorff' is unknown: choose official, all, or a list out of dice,"),
        ("score=kits21", "score=kits21 is unknown: choose kits23 or kits19"),
        ("strata=perhaps", "strata=perhaps must be true or false"),
        ("images=nowhere", "images=nowhere is read for strata.csv alone: add strata=true"),
    ],
)
def test_a_wrong_setting_is_one_sentence(folders, command, setting, sentence):
    result = command(*arguments(folders, setting), cwd=folders, check=False)

    assert result.returncode == 2
    assert result.stderr.startswith(f"kidney_lab: {sentence}")
    assert not (folders / "out").exists()


def test_the_sharpness_of_borders_comes_from_images(folders, command):
    rng = np.random.default_rng(0)
    for n in range(3):
        image = 100.0 * (label_map(n) > 0) + rng.normal(0, 5, (10, 60, 60))
        save(folders / "a=b [ct]" / f"KiTS_{n:05d}_0000.nii.gz", image.astype(np.int16))

    command(*arguments(folders, "strata=true", f"images={folders / 'a=b [ct]'}"), cwd=folders)

    strata = read_strata(folders / "out")
    assert (strata["kidney_and_mass_gradient_hu_per_mm"] > 10).all()
    assert set(strata["kidney_and_mass_border"]) == {"blurry", "crisp"}
