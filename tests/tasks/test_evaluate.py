import shutil

from kidney_lab.metrics.table import read_metrics


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
