import os
from types import SimpleNamespace

import numpy as np
import pytest
import wandb
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from pytorch_lightning.loggers import CSVLogger

from kidney_lab.composition.messages import describe
from kidney_lab.methods.run_logger import RunLogger, best_of, build_logger

TARGET = "kidney_lab.methods.run_logger.RunLogger"


class FakeRun:
    """Keeps what it is told."""

    id = "abc"

    def __init__(self) -> None:
        self.logged, self.defined = [], {}

    def log(self, values) -> None:
        self.logged.append(values)

    def define_metric(self, name, step_metric=None, summary=None) -> None:
        assert name not in self.defined
        self.defined[name] = (step_metric, summary)


@pytest.fixture
def run(monkeypatch):
    """The run that is open in this process."""
    opened = FakeRun()
    monkeypatch.setattr(wandb, "run", opened)
    return opened


def test_stages_log_into_the_run_that_is_open_and_do_not_overwrite_each_other(run):
    for stage in ("coarse", "coarse/folds/0"):
        logger = build_logger(OmegaConf.create({"_target_": TARGET}), stage)
        logger.log_metrics({"train/loss_step": 0.5, "epoch": 0}, step=3)

    assert run.logged == [
        {"coarse/train/loss_step": 0.5, "coarse/epoch": 0, "trainer/global_step": 3},
        {"coarse/folds/0/train/loss_step": 0.5, "coarse/folds/0/epoch": 0, "trainer/global_step": 3},
    ]


def test_values_of_a_validation_are_drawn_over_epochs_and_the_best_is_kept(run):
    logger = build_logger(OmegaConf.create({"_target_": TARGET}), "fine")
    for epoch in (0, 1):
        logger.log_metrics({"val_patch/loss": 1.0, "val_case/mean_dice": 0.5, "train/loss_epoch": 1.0, "epoch": epoch})

    assert run.defined == {
        "fine/val_patch/loss": ("fine/epoch", "min"),
        "fine/val_case/mean_dice": ("fine/epoch", "max"),
    }


def test_pictures_stand_under_their_stage(run):
    logger = build_logger(OmegaConf.create({"_target_": TARGET}), "fine")
    logger.log_image("slices/case_00001", [np.eye(4)], step=5)

    (logged,) = run.logged
    assert set(logged) == {"fine/slices/case_00001", "trainer/global_step"}


@pytest.mark.parametrize(
    ("metric", "best"),
    [("val_patch/loss", "min"), ("val_patch/dice_loss", "min"), ("val_case/dice", "max"), ("val_loss/accuracy", "max")],
)
def test_the_best_of_a_metric_is_the_least_of_a_loss_and_the_largest_of_a_score(metric, best):
    assert best_of(metric) == best


def test_being_offline_is_said_to_the_run_alone(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    asked = []
    monkeypatch.setattr(wandb, "init", lambda **settings: asked.append(settings) or SimpleNamespace(id="abc"))

    for offline in (True, False):
        assert RunLogger(offline=offline, project="p").experiment.id == "abc"

    assert [(settings["mode"], settings["project"]) for settings in asked] == [("offline", "p"), (None, "p")]
    assert "WANDB_MODE" not in os.environ


def test_unknown_artifacts_are_refused():
    with pytest.raises(InstantiationException) as refused:
        build_logger(OmegaConf.create({"_target_": TARGET, "artifacts": "some"}), "fine")

    assert describe(refused.value, []) == "logger.artifacts=some is unknown: choose one of none, best, all."


def test_other_loggers_are_what_they_are(tmp_path):
    config = OmegaConf.create({"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path)})

    assert type(build_logger(config, "fine")) is CSVLogger
    assert build_logger(None, "fine") is False
