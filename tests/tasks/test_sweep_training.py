"""Sweeps of real trainings."""

import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.train import chosen_by

SWEEP = ("-m", "trainer=smoke", "hydra.sweep.dir=s", "model.max_epochs=3", "data.num_workers=0")


def record(job):
    return json.loads((job / "run.json").read_text())


def test_a_sweeper_that_searches_is_given_what_the_last_stage_was_chosen_by(tmp_path):
    best = [{"best": {"monitor": "val_case/mean_dice", "value": value}} for value in (0.9, 0.25)]

    assert chosen_by(RunFolder(tmp_path, {"stages": dict(zip(["coarse", "fine"], best, strict=True))})) == 0.25
    assert chosen_by(RunFolder(tmp_path, {"stages": {}})) is None


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_in_its_own_folder(command, kill_at, tmp_path):
    jobs = [tmp_path / "s" / str(number) for number in range(3)]
    kill_at(jobs[1] / "stages" / "segmentation" / "last.ckpt", *SWEEP, "seed=0,1", cwd=tmp_path, seconds_after=0.0)
    assert [record(job)["status"] for job in jobs[:2]] == ["finished", "running"]
    finished = {path: path.stat().st_mtime_ns for path in jobs[0].rglob("*") if path.is_file()}

    result = command(*SWEEP, "seed=2,1,0", "sweep.resume=true", cwd=tmp_path)

    assert {path: path.stat().st_mtime_ns for path in jobs[0].rglob("*") if path.is_file()} == finished
    assert [(record(job)["status"], record(job)["seed"]) for job in jobs] == [("finished", seed) for seed in range(3)]
    assert [len(record(job)["resumed"]) for job in jobs] == [0, 1, 0]
    for job in jobs:
        assert pd.read_csv(job / "epochs.csv")["epoch"].tolist() == [0, 1, 2]
        assert (job / "metrics.csv").is_file()
        assert record(job)["job"]["key"].startswith(record(job)["config_hash"])
        assert OmegaConf.load(job / "config.yaml").seed == record(job)["seed"]
    assert "3 jobs, 3 finished" in result.stdout


@pytest.mark.slow
def test_trainings_whose_data_is_missing_say_so_in_their_folders(command, tmp_path):
    result = command(*SWEEP, "data=kits19", "data.root=none,phantom", cwd=tmp_path, check=False)

    assert result.returncode == 2
    for number, name in enumerate(["none", "phantom"]):
        written = record(tmp_path / "s" / str(number))
        assert (written["status"], written["stages"], written["job"]["exit_code"]) == ("failed", {}, 2)
        assert f"data.root={name}" in written["error"]
        assert written["paths"]["data.root"] == str(tmp_path / name)
        assert written["error"].split()[0] in (tmp_path / "s" / str(number) / "run.log").read_text()
    assert "Traceback" not in result.stderr
