import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from kidney_lab.metrics.scoring import METRICS_VERSION
from kidney_lab.metrics.strata import read_strata
from kidney_lab.metrics.table import read_metrics


def test_a_run_folder_holds_what_the_contract_says(smoke_run):
    for name in (
        "config.yaml",
        "stages/segmentation/best.ckpt",
        "stages/segmentation/last.ckpt",
        "metrics.csv",
        "summary.json",
        "strata.csv",
        "cost.csv",
        "epochs.csv",
        "split.json",
        "run.log",
        "run.json",
        "report/report.html",
        "report/scores.md",
    ):
        assert (smoke_run / name).is_file(), name


def test_the_record_says_what_was_run(smoke_run):
    record = json.loads((smoke_run / "run.json").read_text())

    assert record["status"] == "finished"
    assert record["data"]["synthesized"] is True
    assert (record["data"]["n_train"], record["data"]["n_val"], record["data"]["n_test"]) == (3, 1, 2)
    assert record["stages"]["segmentation"]["epochs"] == 2
    assert record["stages"]["segmentation"]["parameters"] > 0
    assert record["wall_time_s"] > 0
    assert "trainer=smoke" in record["overrides"]


def test_the_config_is_resolved_and_composes_nothing_more(smoke_run):
    config = OmegaConf.load(smoke_run / "config.yaml")

    assert "${" not in (smoke_run / "config.yaml").read_text()
    assert config.model.stages.segmentation.module.network.out_channels == 3


def test_every_test_case_is_scored_in_every_region(smoke_run):
    split = json.loads((smoke_run / "split.json").read_text())
    scores = read_metrics(smoke_run / "metrics.csv")

    assert sorted(set(scores["case"])) == sorted(split["test"])
    assert len(scores) == 2 * 3 * 2  # cases, regions, metrics
    assert set(scores["metric"]) == {"dice", "surface_dice"}


def test_every_test_case_has_its_strata_and_its_cost(smoke_run):
    test = sorted(json.loads((smoke_run / "split.json").read_text())["test"])
    costs, record = pd.read_csv(smoke_run / "cost.csv"), json.loads((smoke_run / "run.json").read_text())

    assert sorted(read_strata(smoke_run)["case"]) == costs["case"].tolist() == test
    assert (read_strata(smoke_run)["tumor_diameter_mm"] > 0).all()  # every phantom has a tumor
    assert (costs["seconds"] > 0).all()
    # every window has the model's size, which is that of the stage's samples
    assert (costs["flops"] == costs["windows"] * record["stages"]["segmentation"]["flops"]).all()
    assert record["cost_per_case"]["n"] == 2
    assert record["metrics_version"] == METRICS_VERSION
    assert record["cost_per_case"]["seconds"] == pytest.approx(costs["seconds"].median())
    assert record["peak_memory_mib"] >= costs["peak_mib"].max() - 1
    assert not (smoke_run / "costs").exists()
    assert "One case, of 2" in (smoke_run / "report" / "report.html").read_text()


def test_epochs_are_a_row_each(smoke_run):
    epochs = pd.read_csv(smoke_run / "epochs.csv")

    assert epochs["epoch"].tolist() == [0, 1]
    assert epochs["step"].tolist() == [2, 4]
    assert {"train/loss", "val_patch/loss", "val_case/mean_dice", "lr"} <= set(epochs.columns)


def test_predictions_lie_on_the_grids_of_their_images(smoke_run):
    for prediction in (smoke_run / "predictions").glob("*.nii.gz"):
        case = prediction.name.removesuffix(".nii.gz")
        image = nib.load(smoke_run.parents[1] / "data" / "phantom-smoke" / case / "imaging.nii.gz")
        written = nib.load(prediction)
        assert written.shape == image.shape
        np.testing.assert_array_equal(written.affine, image.affine)
        assert written.get_data_dtype() == np.uint8


def test_a_folder_that_holds_a_run_is_not_trained_over(smoke_run, command):
    before = (smoke_run / "run.json").read_bytes()
    result = command("trainer=smoke", f"hydra.run.dir={smoke_run}", cwd=smoke_run.parents[1], check=False)

    assert result.returncode == 2
    assert "holds a run already: go on with it by resume=" in result.stderr
    assert (smoke_run / "run.json").read_bytes() == before


@pytest.fixture
def broken_kits19(tmp_path):
    """A KiTS19 folder in which every case is broken in a way of its own, but for two that are sound."""
    shape, affine = (6, 16, 16), np.diag([-3.0, -1.0, -1.0, 1.0])[[2, 1, 0, 3]]
    image = np.full(shape, 40.0, np.float32)
    label = np.zeros(shape, np.uint8)
    label[2:4, 4:8, 4:8] = 1
    nan = image.copy()
    nan[0, 0, 0] = np.nan
    moved = affine.copy()
    moved[0, 3] = 5.0
    flat = affine.copy()
    flat[:, 0] = 0.0
    cases = {
        "sound": (image, affine, label, affine),
        "sound too": (image, affine, label, affine),
        "no image": (None, affine, label, affine),
        "no label": (image, affine, None, affine),
        "other shape": (image[:5], affine, label, affine),
        "other affine": (image, moved, label, affine),
        "other labels": (image, affine, label * 7, affine),
        "nan": (nan, affine, label, affine),
        "two-dimensional": (image[0], affine, label, affine),
        "four-dimensional": (np.stack([image, image], -1), affine, label, affine),
        "no spacing": (image, flat, label, affine),
        "truncated": (image, affine, label, affine),
    }
    for number, (scan, scan_affine, mask, mask_affine) in enumerate(cases.values()):
        folder = tmp_path / "kits 19" / f"case_{number:05d}"
        folder.mkdir(parents=True)
        if scan is not None:
            nifti = nib.Nifti1Image(scan, None if scan_affine is flat else scan_affine)
            if scan_affine is flat:
                nifti.header["pixdim"][1] = 0.0
            nib.save(nifti, folder / "imaging.nii.gz")
        if mask is not None:
            nib.save(nib.Nifti1Image(mask, mask_affine), folder / "segmentation.nii.gz")
    truncated = tmp_path / "kits 19" / "case_00011" / "imaging.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:-30])
    return tmp_path / "kits 19"


def test_every_broken_case_is_named_before_anything_is_trained(broken_kits19, command, tmp_path):
    result = command(
        "data=kits19", f"data.root={broken_kits19}", "trainer=smoke", "hydra.run.dir=run", cwd=tmp_path, check=False
    )

    assert result.returncode == 2
    for number in range(2, 12):
        assert f"case_{number:05d}" in result.stderr, number
    for number in range(2):
        assert f"case_{number:05d}" not in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run" / "run.json").exists()
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_resumed_run_must_be_the_one_that_was_begun(smoke_run, command):
    before = {name: (smoke_run / name).read_bytes() for name in ("run.json", "config.yaml", "split.json")}
    result = command(f"resume={smoke_run}", "optimizer.lr=0.5", "logger=none", cwd=smoke_run.parents[1], check=False)

    assert result.returncode == 2
    assert "optimizer.lr was 0.005 and is 0.5" in result.stderr
    assert {name: (smoke_run / name).read_bytes() for name in before} == before


def test_a_resumed_run_must_have_the_cases_that_it_was_begun_with(command, tmp_path):
    command("trainer=smoke", "hydra.run.dir=run", cwd=tmp_path)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    (tmp_path / "run" / "split.json").write_text(json.dumps({**split, "train": ["case_00099"], "hash": "other"}))
    result = command("resume=run", cwd=tmp_path, check=False)

    assert result.returncode == 2
    assert "does not give the split other" in result.stderr
    assert "gone: case_00099" in result.stderr


@pytest.mark.slow
def test_a_split_without_test_cases_scores_its_validation_cases_and_says_so(command, tmp_path):
    result = command("trainer=smoke", "data.n_test=0", "data.n_val=2", "hydra.run.dir=run", cwd=tmp_path)
    run = tmp_path / "run"
    split = json.loads((run / "split.json").read_text())

    assert sorted(set(read_metrics(run / "metrics.csv")["case"])) == split["val"]
    assert len(split["val"]) == 2
    summary = json.loads((run / "summary.json").read_text())
    assert summary.pop("scored") == "validation"
    assert set(summary) == {"kidney_and_mass", "mass", "tumor"}
    assert json.loads((run / "run.json").read_text())["data"]["scored"] == "validation"
    assert "phantom (validation), split seeded" in result.stdout
    assert "(validation)" in (run / "report" / "scores.md").read_text()


@pytest.mark.slow
def test_a_split_by_path_is_the_one_that_is_trained_on_and_named(smoke_run, command, tmp_path):
    before = json.loads((smoke_run / "split.json").read_text())
    mine = {"train": before["test"], "val": before["val"], "test": before["train"][:1]}
    (tmp_path / "mine.json").write_text(json.dumps(mine))
    numbers = [f"data.{key}=null" for key in ("n_train", "n_val", "n_test")]
    result = command("trainer=smoke", "data.split=mine.json", *numbers, "hydra.run.dir=run", cwd=tmp_path)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    record = json.loads((tmp_path / "run" / "run.json").read_text())

    assert {part: split[part] for part in mine} == mine
    assert (split["name"], split["exclude"]) == ("mine", [])
    assert record["data"]["split_hash"] == split["hash"]
    assert f"split mine ({split['hash']}), excluded: none" in result.stdout
    assert f"split mine ({split['hash']})" in (tmp_path / "run" / "report" / "scores.md").read_text()


LONGER = ["trainer=smoke", "model.max_epochs=4", "model.samples_per_epoch=120", "data.num_workers=1", "seed=7"]


@pytest.fixture(scope="module")
def killed_and_resumed(command, kill_at, tmp_path_factory):
    """Two runs of one configuration: one left alone, one killed in the middle of its second epoch and resumed."""
    folder = tmp_path_factory.mktemp("kill")
    command(*LONGER, "hydra.run.dir=whole", cwd=folder)
    checkpoint = folder / "killed" / "stages" / "segmentation" / "last.ckpt"
    kill_at(checkpoint, *LONGER, "hydra.run.dir=killed", cwd=folder)
    epochs_before = torch.load(checkpoint, weights_only=True)["epoch"] + 1
    command("resume=killed", cwd=folder)
    return folder / "whole", folder / "killed", epochs_before


@pytest.mark.slow
def test_a_killed_and_resumed_training_ends_with_the_same_weights(killed_and_resumed):
    whole, killed, epochs_before = killed_and_resumed
    assert 0 < epochs_before < 4

    for name in ("last", "best"):
        expected, found = (
            torch.load(run / "stages" / "segmentation" / f"{name}.ckpt", weights_only=True) for run in (whole, killed)
        )
        assert expected["epoch"] == found["epoch"]
        assert expected["lr_schedulers"] == found["lr_schedulers"]
        for key, weights in expected["state_dict"].items():
            assert torch.equal(weights, found["state_dict"][key]), key


@pytest.mark.slow
def test_a_killed_and_resumed_training_writes_the_same_tables(killed_and_resumed):
    whole, killed, _ = killed_and_resumed

    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    assert (whole / "epochs.csv").read_bytes() == (killed / "epochs.csv").read_bytes()


@pytest.mark.slow
def test_two_processes_train_together(command, tmp_path):
    command(
        "trainer=ddp",
        "preset=smoke",
        "logger=none",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.precision=32-true",
        "hydra.run.dir=run",
        cwd=tmp_path,
    )

    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["stages"]["segmentation"]["steps"] == 2  # half as many as alone: the batch is twice as large
    assert len(list((tmp_path / "run" / "predictions").glob("*.nii.gz"))) == 2
    assert len(pd.read_csv(tmp_path / "run" / "cost.csv")) == 2  # one of each process


CASCADE = ["model=cascade_unet", "preset=smoke", "logger=none", "trainer.accelerator=cpu", "trainer.precision=32-true"]


@pytest.mark.slow
def test_two_processes_train_a_cascade_and_share_its_priors(command, tmp_path):
    together = ["trainer=ddp", "trainer.devices=2", "model.prior=out_of_fold", "model.folds=3", "model.batch_size=1"]
    command(*CASCADE, *together, "hydra.run.dir=run", cwd=tmp_path)
    run = tmp_path / "run"
    record = json.loads((run / "run.json").read_text())
    split = json.loads((run / "split.json").read_text())

    assert record["status"] == "finished"
    assert {name: stage["steps"] for name, stage in record["stages"].items()} == {"coarse": 4, "fine": 4}
    assert sorted(case for part in record["folds"].values() for case in part["held_out"]) == split["train"]
    (stage_1,), (folds,) = (list((run / "stages" / "coarse" / place).iterdir()) for place in ("priors", "folds/priors"))
    assert sorted(path.name for path in stage_1.iterdir()) == split["val"]
    assert sorted(path.name for path in folds.iterdir()) == split["train"]
    for place in (run, run / "stages" / "coarse"):
        assert len(list((place / "predictions").glob("*.nii.gz"))) == 2
        assert sorted(set(read_metrics(place / "metrics.csv")["case"])) == split["test"]


@pytest.mark.slow
def test_two_processes_end_where_one_with_the_same_batches_ends(command, tmp_path):
    # This loss is a mean over samples, so that two halves of a batch have the whole batch's gradient.
    loss = ["loss=dice_ce", "loss.batch=false", "augment=none", "trainer.gradient_clip_val=null"]
    command(*CASCADE, *loss, "trainer=cpu", "hydra.run.dir=one", cwd=tmp_path)
    shared = ["trainer=ddp", "trainer.devices=2", "model.batch_size=1"]
    command(*CASCADE, *loss, *shared, "hydra.run.dir=two", cwd=tmp_path)

    for stage in ("coarse", "fine"):
        one, two = (
            torch.load(tmp_path / run / "stages" / stage / "last.ckpt", weights_only=True)["state_dict"]
            for run in ("one", "two")
        )
        assert all(torch.allclose(two[name], value, rtol=1e-3, atol=1e-4) for name, value in one.items())


@pytest.fixture(scope="module")
def cascade_run(command, tmp_path_factory):
    """Folder of a finished training of a cascade; its working folder holds the phantom under `data`."""
    folder = tmp_path_factory.mktemp("cascade")
    command("model=cascade_unet", "trainer=smoke", "hydra.run.dir=run", cwd=folder)
    return folder / "run"


@pytest.mark.slow
def test_a_cascade_s_run_holds_what_every_stage_said(cascade_run):
    split = json.loads((cascade_run / "split.json").read_text())
    record = json.loads((cascade_run / "run.json").read_text())
    summary = json.loads((cascade_run / "summary.json").read_text())

    assert list(record["stages"]) == ["coarse", "fine"]
    for place in (cascade_run, cascade_run / "stages" / "coarse"):
        assert sorted(path.name for path in (place / "predictions").iterdir()) == [f"{c}.nii.gz" for c in split["test"]]
        assert sorted(set(read_metrics(place / "metrics.csv")["case"])) == split["test"]
    for region in ("kidney_and_mass", "mass", "tumor"):
        assert {"mean", "median", "n"} <= set(summary[region]["dice"]["before_postprocessing"])
    assert (cascade_run / "report" / "report.html").is_file()


@pytest.mark.slow
def test_a_cascade_predicts_what_its_test_phase_predicted(cascade_run, command, tmp_path):
    name = json.loads((cascade_run / "split.json").read_text())["test"][0]
    image = cascade_run.parent / "data" / "phantom-smoke" / name / "imaging.nii.gz"
    command("task=predict", f"run={cascade_run}", f"input={image}", "output=label.nii.gz", cwd=tmp_path)

    labels, expected = (
        np.asarray(nib.load(path).dataobj)
        for path in (tmp_path / "label.nii.gz", cascade_run / "predictions" / f"{name}.nii.gz")
    )
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.slow
def test_a_finished_cascade_is_resumed_without_training(cascade_run, command):
    kept = [*cascade_run.rglob("*.ckpt"), *cascade_run.rglob("label.b2nd")]
    before = {path: path.stat().st_mtime_ns for path in kept}

    command("resume=run", cwd=cascade_run.parent)

    assert {path: path.stat().st_mtime_ns for path in kept} == before
