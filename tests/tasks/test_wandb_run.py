import json
import shutil
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import wandb
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from kidney_lab import load_method
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.metrics.table import read_metrics
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.wandb_run import identity, log_checkpoints, logged_run
from tests.references.wandb_file import read_offline_run

DATA = {"name": "kits19", "split": "official", "fold": None, "synthesized": False}
CHOICES = {"model": "msalds", "data": "kits19"}


def plain(**values):
    logger = {"name": None, "group": None, "tags": []} | values.pop("logger", {})
    experiment = {"table": None, "row": None} | values.pop("experiment", {})
    return {"logger": logger, "experiment": experiment, "seed": 3, "preset": "small", **values}


class TestIdentity:
    def test_a_run_is_named_by_its_model_data_and_seed_and_grouped_by_its_model(self):
        found = identity(plain(), CHOICES, DATA, "msalds")

        assert found["name"] == "msalds-kits19-s3"
        assert found["group"] == "msalds"
        assert found["tags"] == [
            *("paper=msalds", "model=msalds", "data=kits19", "split=official", "seed=3", "preset=small"),
        ]

    def test_a_row_of_a_table_bears_its_name_and_is_grouped_by_the_table(self):
        experiment = {"table": "msalds/table2", "row": "Baseline + MSAL"}
        found = identity(plain(experiment=experiment), CHOICES, DATA, "msalds")

        assert (found["name"], found["group"]) == ("Baseline + MSAL-kits19-s3", "msalds/table2")

    def test_the_fold_and_made_up_images_are_tags(self):
        tags = identity(plain(), CHOICES, {**DATA, "fold": 0, "synthesized": True}, None)["tags"]

        assert {"fold=0", "images=synthesized"} <= set(tags)
        assert not [tag for tag in tags if tag.startswith("paper=")]

    def test_what_the_user_says_comes_first(self):
        said = {"name": "mine", "group": "ours", "tags": ["draft"]}
        found = identity(plain(logger=said), CHOICES, DATA, None)

        assert (found["name"], found["group"], found["tags"][0]) == ("mine", "ours", "draft")

    def test_a_single_tag_needs_no_brackets(self):
        assert identity(plain(logger={"tags": "draft"}), CHOICES, DATA, None)["tags"][:2] == ["draft", "model=msalds"]

    def test_tags_are_as_short_as_wandb_takes_them(self):
        tags = identity(plain(), CHOICES, {**DATA, "split": "c" * 80}, None)["tags"]

        assert f"split={'c' * 58}" in tags
        assert max(map(len, tags)) == 64
        with pytest.raises(InputError, match=r"logger\.tags holds 'a{65}', which has 65 characters: W&B takes tags of"):
            identity(plain(logger={"tags": ["ok", "a" * 65]}), CHOICES, DATA, None)


@pytest.fixture(scope="module")
def smoke(smoke_run):
    """What the smoke training logged offline, as it is read back."""
    (folder,) = smoke_run.glob("wandb/offline-run-*")
    return read_offline_run(folder), folder


class TestOfflineRun:
    def test_a_job_is_one_run_that_says_who_it_is_and_that_it_has_finished(self, smoke, smoke_run):
        run, folder = smoke
        record = json.loads((smoke_run / "run.json").read_text())

        assert (run.run.display_name, run.run.run_group, run.run.job_type) == ("unet3d-phantom-s0", "unet3d", "train")
        assert {"data=phantom", "split=seeded", "seed=0", "preset=smoke", "images=synthesized"} <= set(run.run.tags)
        assert run.exit_code == 0
        assert record["wandb"] == {
            "id": run.run.run_id,
            "entity": None,
            "project": "kidney-lab",
            "offline": True,
            "folders": [folder.relative_to(smoke_run).as_posix()],
        }

    def test_its_configuration_is_the_composed_one_with_the_commit(self, smoke, smoke_run):
        run, _ = smoke
        record = json.loads((smoke_run / "run.json").read_text())

        composed = OmegaConf.to_container(OmegaConf.load(smoke_run / "config.yaml"))
        assert {key: run.config[key] for key in composed} == composed
        assert {key: run.config[key] for key in ("commit", "dirty", "config_hash")} == {
            key: record[key] for key in ("commit", "dirty", "config_hash")
        }
        assert run.config["choices"]["model"] == "unet3d"
        assert run.config["split"]["split_hash"] == record["data"]["split_hash"]
        assert run.config["device"] == record["device"]

    def test_its_curves_are_those_of_the_epoch_table(self, smoke, smoke_run):
        run, _ = smoke
        epochs = pd.read_csv(smoke_run / "epochs.csv")
        for ours, theirs in (
            ("train/loss", "train/loss_epoch"),
            ("val_patch/loss", "val_patch/loss"),
            ("val_case/mean_dice", "val_case/mean_dice"),
        ):
            rows = [row for row in run.history if f"segmentation/{theirs}" in row]
            assert [row["segmentation/epoch"] for row in rows] == [0, 1]
            assert [row[f"segmentation/{theirs}"] for row in rows] == pytest.approx(epochs[ours].tolist())
        steps = [row["trainer/global_step"] for row in run.history if "segmentation/train/loss_step" in row]
        assert steps == [0, 1, 2, 3]

    def test_its_summary_keeps_the_best_validation_and_the_mean_scores(self, smoke, smoke_run):
        run, _ = smoke
        losses = [row["segmentation/val_patch/loss"] for row in run.history if "segmentation/val_patch/loss" in row]
        means = read_metrics(smoke_run).groupby(["region", "metric"])["value"].mean()

        metric = run.metrics["segmentation/val_patch/loss"]
        assert (metric.step_metric, metric.summary.min) == ("segmentation/epoch", True)
        assert run.summary["segmentation/val_patch/loss"] == {"min": min(losses)}
        assert len(means) == 6
        for (region, metric), mean in means.items():
            assert run.summary[f"test/{region}/{metric}"] == pytest.approx(mean)
        assert run.summary["stages"]["segmentation"]["epochs"] == 2

    def test_its_table_has_a_row_for_each_region_of_each_case(self, smoke, smoke_run):
        run, folder = smoke
        table = json.loads((folder / "files" / run.summary["test/cases.path"]).read_text())
        scores = read_metrics(smoke_run).set_index(["case", "region", "metric"])["value"]

        columns = table["columns"]
        assert columns[:4] == ["case", "region", "dice", "surface_dice"]
        assert {"tumor_diameter_mm", "size"} <= set(columns)
        assert len(table["data"]) == 6
        for row in table["data"]:
            case, region, dice, surface_dice = row[:4]
            assert dice == pytest.approx(scores[case, region, "dice"])
            assert surface_dice == pytest.approx(scores[case, region, "surface_dice"])

    def test_slices_of_a_validation_case_bear_both_masks(self, smoke):
        run, folder = smoke
        (case,) = {key.split("/")[2] for row in run.history for key in row if "/slices/" in key}
        logged = [row for row in run.history if f"segmentation/slices/{case}/all_masks" in row]

        assert len(logged) == 2  # of two validations
        for row in logged:
            (masks,) = row[f"segmentation/slices/{case}/all_masks"]
            assert set(masks) == {"prediction", "reference"}
            (picture,) = row[f"segmentation/slices/{case}/filenames"]
            files = [picture, *(mask["path"] for mask in masks.values())]
            assert all((folder / "files" / file).is_file() for file in files)


@pytest.fixture
def job(tmp_path):
    """A job whose stages have logged nothing yet, and the training's three things."""
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("config", overrides=["trainer=smoke", "logger=wandb"], return_hydra_config=True)
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.runtime.output_dir = str(tmp_path)
    HydraConfig.instance().set_config(config)
    split = SimpleNamespace(
        train=(), val=(), test=(), name="s", fold=None, hash="h", scored="test", exclude=(), excluded=()
    )
    dataset = SimpleNamespace(name="phantom", root=tmp_path, synthesized=True, annotation=None, split=split)
    known = ("commit", "dirty", "config_hash", "versions", "overrides", "resumed", "device", "precision")
    record = {"name": "n", "stages": {}, **dict.fromkeys(known)}
    return RunFolder(tmp_path, record), OmegaConf.masked_copy(config, [k for k in config if k != "hydra"]), dataset


def exit_codes(folder):
    return [read_offline_run(path).exit_code for path in sorted(folder.glob("wandb/offline-run-*"))]


class TestEnd:
    def test_a_failed_job_s_run_has_failed_and_going_on_goes_on_with_it(self, job, tmp_path):
        run, config, dataset = job
        with pytest.raises(InputError, match="no more"), logged_run(run, config, dataset):
            raise InputError("no more")
        first = run.record["wandb"]
        assert wandb.run is None

        time.sleep(1)  # a folder is named by the second
        write_metrics(metrics_frame({"case_00001": {("tumor", "dice"): 0.5}}), tmp_path)
        with logged_run(run, config, dataset):
            pass

        assert run.record["wandb"]["id"] == first["id"]
        both = [read_offline_run(tmp_path / folder) for folder in run.record["wandb"]["folders"]]
        assert [part.run.run_id for part in both] == [first["id"]] * 2
        assert [part.exit_code for part in both] == [1, 0]

    def test_an_interrupted_job_s_run_was_interrupted(self, job, tmp_path):
        run, config, dataset = job
        with pytest.raises(KeyboardInterrupt), logged_run(run, config, dataset):
            raise KeyboardInterrupt

        assert exit_codes(tmp_path) == [255]

    def test_without_an_account_an_online_run_is_refused_before_the_training(self, job, tmp_path, monkeypatch):
        run, config, dataset = job
        config.logger.offline = False
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NETRC", str(tmp_path / "no.netrc"))

        with (
            pytest.raises(InputError, match=r"logger\.offline=false cannot begin a run"),
            logged_run(run, config, dataset),
        ):
            pytest.fail("the training was begun")
        assert "wandb" not in run.record

    @pytest.mark.parametrize("first", [True, False])
    def test_other_processes_and_other_loggers_begin_no_run(self, job, tmp_path, monkeypatch, first):
        run, config, dataset = job
        if first:
            config.logger = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path)}
        else:
            monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
            monkeypatch.setenv("RANK", "1")
        with logged_run(run, config, dataset):
            assert wandb.run is None

        assert "wandb" not in run.record
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("artifacts", "kept"), [("best", {"best.ckpt"}), ("all", {"best.ckpt", "last.ckpt"})])
def test_the_artifact_of_a_run_is_a_run_folder_that_can_be_loaded(smoke_run, tmp_path, artifacts, kept):
    logged = []
    experiment = SimpleNamespace(id="abc", log_artifact=lambda artifact, aliases: logged.append((artifact, aliases)))
    log_checkpoints(experiment, RunFolder(smoke_run, json.loads((smoke_run / "run.json").read_text())), artifacts)

    ((artifact, aliases),) = logged
    assert (artifact.name, artifact.type, aliases) == ("model-abc", "model", [artifacts])
    entries = artifact.manifest.entries
    assert {name.rpartition("/")[2] for name in entries if name.endswith(".ckpt")} == kept
    for name, entry in entries.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(entry.local_path, tmp_path / name)
    assert list(load_method(tmp_path, device="cpu").stages) == ["segmentation"]


def test_no_artifact_is_made_unless_asked_for(tmp_path):
    log_checkpoints(None, RunFolder(tmp_path), "none")


@pytest.mark.slow
def test_a_failed_job_of_a_sweep_leaves_the_next_one_its_own_run(command, tmp_path):
    monitors = "callbacks.best.monitor=nothing,val_case/mean_dice"
    result = command(
        "-m", "trainer=smoke", "logger=wandb", monitors, "hydra.sweep.dir=sweep", cwd=tmp_path, check=False
    )

    assert result.returncode != 0
    assert [exit_codes(tmp_path / "sweep" / job) for job in ("0", "1")] == [[1], [0]]


@pytest.mark.slow
def test_jobs_side_by_side_are_runs_of_one_group_with_seeds_of_their_own(command, tmp_path):
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep"]
    command("-m", "trainer=smoke", "logger=wandb", "seed=0,1", *launcher, cwd=tmp_path)

    for seed in ("0", "1"):
        (folder,) = (tmp_path / "sweep" / seed).glob("wandb/offline-run-*")
        run = read_offline_run(folder)
        assert (run.run.run_group, run.config["seed"], run.exit_code) == ("unet3d", int(seed), 0)
        assert f"seed={seed}" in run.run.tags


@pytest.mark.slow
def test_processes_that_a_job_starts_log_into_its_run(command, tmp_path):
    together = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]
    command(*together, "preset=smoke", "logger=wandb", "hydra.run.dir=run", cwd=tmp_path)

    said = json.loads((tmp_path / "run" / "run.json").read_text())["wandb"]
    parts = [read_offline_run(tmp_path / "run" / folder) for folder in said["folders"]]
    assert len(parts) == 3  # what the job begins with, the curves, and the results
    assert {part.run.run_id for part in parts} == {said["id"]}
    assert len({part.run.run_group for part in parts}) == 1
    assert any(name.startswith("segmentation/val_case") for row in parts[1].history for name in row)
    assert any(name.startswith("test/cases") for row in parts[2].history for name in row)
    assert [part.exit_code for part in parts] == [0, 0, 0]
