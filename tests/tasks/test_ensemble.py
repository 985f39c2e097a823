"""What the tasks make of an ensemble, of stages of its own and of finished runs: model=transfer_ensemble."""

import json
import shutil
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from kidney_lab.composition.messages import USER_ERRORS, describe
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.nifti import read_volume
from kidney_lab.data.splits import Split
from kidney_lab.errors import InputError
from kidney_lab.metrics.table import read_metrics
from kidney_lab.tasks import stages as tasks
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.settings import check_settings
from kidney_lab.tasks.shared_stages import training_key
from kidney_lab.tasks.stages import StageTraining

SPLIT = Split(train=("case_00000",), val=("case_00001",), test=("case_00002",))
CODE = {"commit": "abc", "dirty": False, "versions": {}}


@cache
def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        everything = ["model=transfer_ensemble", "trainer=smoke", "logger=none", "hydra.mode=RUN", *overrides]
        return compose("config", overrides=everything, return_hydra_config=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.member_weights=[1,2]"], r"model\.member_weights=\[1, 2\] has 2 numbers for 3 members \("),
        (
            ["model.members=[vgg16]", "model.uncertainty=true"],
            r"the ensemble has a single one \(vgg16\): name more",
        ),
        (["model.member_runs=[nowhere]"], r"model\.member_runs names nowhere, which is no run folder \(it has no conf"),
    ],
)
def test_settings_that_cannot_work_are_told_before_anything_is_trained(overrides, message):
    config = composed(*overrides)
    HydraConfig.instance().set_config(config)
    with pytest.raises(USER_ERRORS) as caught:
        check_settings(config)
    with pytest.raises(InputError, match=message):
        raise InputError(describe(caught.value, []))


def test_weights_that_members_lack_are_told_all_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    config = composed("model.weights=imagenet", "model.members=[resnet18,vgg11]", "model.slice_size=[32,32]")
    HydraConfig.instance().set_config(config)
    with pytest.raises(InputError) as caught:
        check_settings(config)

    url = "https://download.pytorch.org/models"
    assert str(caught.value) == (
        "model.weights=imagenet with the encoder resnet18 and the encoder vgg11 needs resnet18-f37072fd.pth "
        f"({url}/resnet18-f37072fd.pth) and vgg11-8a719046.pth ({url}/vgg11-8a719046.pth) in "
        f"{tmp_path / 'checkpoints'}: put the files there, since nothing is fetched, or set model.weights=none."
    )


class TestTrainingOfMembers:
    """Members are trained one by one, each whatever the ensemble about it is."""

    def key(self, *overrides):
        return training_key(composed(*overrides), "vgg16", SPLIT)

    def test_what_the_ensemble_makes_of_a_member_does_not_change_its_training_and_what_it_learns_by_does(self):
        alone = self.key("model.members=[vgg16]")
        fused = ["model.combine=majority", "model.uncertainty=true", "model.member_weights=validation_dice"]

        assert self.key("model.members=[vgg16,resnet50]", "model.member_runs=[a,b]", *fused) == alone
        assert self.key("model.members=[vgg16]", "model.decoder=linear") != alone

    @pytest.fixture
    def fitted(self, monkeypatch):
        """Names of the stages that are fitted, which takes no time; a name in `kills` is killed meanwhile."""
        names, kills = [], []

        def fit_stage(name, *, checkpoints, **settings):
            if name in kills:
                raise KeyboardInterrupt
            names.append(name)
            checkpoints.mkdir(parents=True)
            (checkpoints / "best.ckpt").write_text(name)
            table = checkpoints.parents[1] / "epochs.csv"
            pd.DataFrame({"stage": [name]}).to_csv(table, mode="a", header=not table.is_file(), index=False)
            return {}

        stage = SimpleNamespace(earlier=None, contains=None, grid=None)
        monkeypatch.setattr(tasks, "fit_stage", fit_stage)
        monkeypatch.setattr(tasks, "instantiate", lambda *_, **__: stage)
        return SimpleNamespace(names=names, kills=kills)

    def train(self, run, *overrides, sweep=None):
        record = {"stages": {}, **CODE}
        if (run / "run.json").is_file():
            record = json.loads((run / "run.json").read_text())
        run.mkdir(parents=True, exist_ok=True)
        dataset = SimpleNamespace(split=SPLIT, prepare=lambda *_: None)
        folder = RunFolder(run, record, sweep=sweep)
        StageTraining(folder, composed(*overrides), dataset, device=torch.device("cpu"), precision="32-true").train()
        return folder.record["stages"]

    def test_an_ensemble_takes_the_members_that_other_jobs_of_the_sweep_have_trained(self, fitted, tmp_path):
        for job, members in enumerate(("[resnet50]", "[vgg16]")):
            self.train(tmp_path / str(job), f"model.members={members}", sweep=tmp_path)
        stages = self.train(tmp_path / "2", "model.members=[resnet50,vgg16]", "model.uncertainty=true", sweep=tmp_path)

        assert fitted.names == ["resnet50", "vgg16"]
        assert {name: stage["taken_from"] for name, stage in stages.items()} == {"resnet50": "0", "vgg16": "1"}
        assert (tmp_path / "2" / "stages" / "vgg16" / "best.ckpt").read_text() == "vgg16"

    def test_a_training_killed_in_a_member_goes_on_with_it_and_leaves_the_finished_ones(self, fitted, tmp_path):
        members = "model.members=[resnet50,vgg16,alexnet]"
        fitted.kills.append("vgg16")
        with pytest.raises(KeyboardInterrupt):
            self.train(tmp_path / "run", members, "model.decoder=linear")
        finished = tmp_path / "run" / "stages" / "resnet50" / "best.ckpt"
        before = finished.stat().st_mtime_ns
        fitted.kills.clear()

        self.train(tmp_path / "run", members, "model.decoder=linear")

        assert fitted.names == ["resnet50", "vgg16", "alexnet"]
        assert finished.stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def work(command, tmp_path_factory):
    """A working folder with a run of an ensemble, one of a cascade, and an ensemble of both."""
    folder = tmp_path_factory.mktemp("work folder")
    smoke = ["trainer=smoke", "logger=none"]
    command("model=transfer_ensemble", *smoke, "model.uncertainty=true", "hydra.run.dir=ensemble", cwd=folder)
    command("model=cascade_unet", *smoke, "hydra.run.dir=cascade", cwd=folder)
    members = "model.member_runs=[ensemble,cascade]"
    command("model=transfer_ensemble", *smoke, members, "model.uncertainty=true", "hydra.run.dir=both", cwd=folder)
    return folder


@pytest.mark.slow
class TestRuns:
    """Trainings on the phantom by the command line."""

    def test_members_are_trained_scored_and_fused(self, work):
        run = work / "ensemble"
        record, split = (json.loads((run / name).read_text()) for name in ("run.json", "split.json"))

        assert record["status"] == "finished"
        assert len(record["stages"]) == 3
        cases = [f"{case}.nii.gz" for case in split["test"]]
        for place in (run, *(run / "stages" / name for name in record["stages"])):
            assert sorted(path.name for path in (place / "predictions").iterdir()) == cases
            assert set(read_metrics(place)["region"]) == {"kidney_and_mass"}
        assert len(list((run / "uncertainty").glob("*.nii.gz"))) == 2 * len(cases)
        assert pd.read_csv(run / "uncertainty.csv")["case"].tolist() == split["test"]

    def test_an_ensemble_of_runs_trains_nothing_and_its_members_score_as_they_did(self, work):
        run = work / "both"
        record = json.loads((run / "run.json").read_text())

        assert record["status"] == "finished"
        assert record["stages"] == {}
        assert [member["run"] for member in record["members"].values()] == [
            str(work / "ensemble"),
            str(work / "cascade"),
        ]
        for number, name in (("1", "ensemble"), ("2", "cascade")):
            pd.testing.assert_frame_equal(read_metrics(run / "members" / number), read_metrics(work / name))
        assert set(read_metrics(run)["region"]) == {"kidney_and_mass", "mass", "tumor"}
        assert set(pd.read_csv(run / "uncertainty.csv")["region"]) == {"kidney_and_mass"}
        parameters = [
            sum(stage["parameters"] for stage in json.loads((work / name / "run.json").read_text())["stages"].values())
            for name in ("ensemble", "cascade")
        ]
        assert [member["parameters"] for member in record["members"].values()] == parameters
        flops = [pd.read_csv(work / name / "cost.csv").set_index("case")["flops"] for name in ("ensemble", "cascade")]
        pd.testing.assert_series_equal(pd.read_csv(run / "cost.csv").set_index("case")["flops"], sum(flops))

    def test_it_is_resumed_from_elsewhere_and_predicts_what_its_test_phase_predicted(self, work, command, tmp_path):
        run = tmp_path / "both"
        shutil.copytree(work / "both", run)
        case = sorted((run / "predictions").iterdir())[0]
        expected = read_volume(case).array
        case.unlink()

        command(f"resume={run}", cwd=tmp_path)
        scan = work / "data" / "phantom-smoke" / case.name.removesuffix(".nii.gz") / "imaging.nii.gz"
        command("task=predict", f"run={run}", f"input={scan}", "output=label.nii.gz", cwd=tmp_path)

        np.testing.assert_array_equal(read_volume(case).array, expected)
        np.testing.assert_array_equal(read_volume(tmp_path / "label.nii.gz").array, expected)

    def test_a_run_that_was_trained_on_test_cases_is_no_member(self, work, command):
        other = ["trainer=smoke", "logger=none", "data.split_seed=3", "hydra.run.dir=other"]
        result = command("model=transfer_ensemble", *other, "model.member_runs=[cascade]", cwd=work, check=False)

        assert result.returncode == 2
        assert "which was trained on case_0000" in result.stderr
        assert not (work / "other").exists()
