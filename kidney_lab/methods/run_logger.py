"""Lightning's logger for Weights & Biases, such that all stages of a job log into one W&B run."""

from collections.abc import Mapping
from typing import Any, Final

import wandb
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from kidney_lab.errors import InputError

ARTIFACTS: Final = {"none": (), "best": ("best.ckpt",), "all": ("best.ckpt", "last.ckpt")}
"""Checkpoints of every stage that become an artifact, by the name of the choice."""

LONGEST_TAG: Final = 64
"""Characters that W&B takes in a tag."""


class RunLogger(WandbLogger):
    """Logs the metrics of a stage as `<stage>/<metric>` into the W&B run of the job.

    Args:
        artifacts: which checkpoints `kidney_lab.tasks.wandb_run` adds to the run when the job has finished: `none`,
            `best` or `all`.
        offline: whether the run is kept on disk until `wandb sync` uploads it; False leaves it to `WANDB_MODE`, which
            is to upload unless it says otherwise.
        kwargs: of Lightning's `WandbLogger` and of `wandb.init`.

    Raises:
        InputError: `artifacts` is none of these.
    """

    LOGGER_JOIN_CHAR = "/"

    def __init__(self, *, artifacts: str = "none", offline: bool = True, **kwargs: Any) -> None:
        _check_artifacts(artifacts)
        # Lightning's own `offline` sets WANDB_MODE, for the later jobs of a sweep too.
        super().__init__(**{"mode": "offline" if offline else None, **kwargs})
        self.artifacts = artifacts
        self._defined: set[str] = set()

    def begin_stage(self, stage: str) -> None:
        """Logs from now on as a stage, into the run that is open in this process; without one a run is begun.

        Args:
            stage: title of the stage, such as `coarse` or `coarse/folds/0`.
        """
        self._experiment = wandb.run
        self._prefix = stage
        self._defined.clear()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs values under the stage's name; of those of a validation the run's summary keeps the best.

        Args:
            metrics: by their names in this project, such as `val_case/mean_dice`.
            step: optimiser steps of the stage so far.
        """
        for name in metrics:
            if name.startswith("val_") and name not in self._defined:
                self._defined.add(name)
                self.experiment.define_metric(
                    self._name_of(name), step_metric=self._name_of("epoch"), summary=best_of(name)
                )
        super().log_metrics(metrics, step)

    def _name_of(self, metric: str) -> str:
        return f"{self._prefix}{self.LOGGER_JOIN_CHAR}{metric}" if self._prefix else metric


def best_of(metric: str) -> str:
    """Which value of a metric is the best, in W&B's words: the least of a loss, the largest of any other.

    >>> best_of("val_patch/loss"), best_of("val_case/mean_dice")
    ('min', 'max')
    """
    return "min" if "loss" in metric.rpartition("/")[2] else "max"


def build_logger(config: DictConfig | None, stage: str) -> Logger | bool:
    """Lightning's logger of a stage.

    Args:
        config: of the logger; None: the epoch table alone, which is a callback.
        stage: title of the stage.

    Returns:
        The logger, or False for none.
    """
    if config is None:
        return False
    logger: Logger = instantiate(config)
    if isinstance(logger, RunLogger):
        logger.begin_stage(stage)
    return logger


def is_wandb(config: DictConfig | None) -> bool:
    """Whether a logger's configuration names W&B's."""
    kind = None if config is None else get_object(config._target_)
    return isinstance(kind, type) and issubclass(kind, WandbLogger)


def check_logger(config: DictConfig | None) -> None:
    """Makes sure, before anything is prepared, that W&B takes what the user says of the run.

    Args:
        config: of the logger; None: there is none.

    Raises:
        InputError: it does not.
    """
    if config is not None and is_wandb(config):
        given_tags(config.get("tags"))
        _check_artifacts(config.get("artifacts", "none"))


def given_tags(tags: Any) -> list[str]:
    """The user's tags, of which a single one needs no brackets.

    Raises:
        InputError: W&B takes no such tag.
    """
    given = [str(tag) for tag in ([tags] if isinstance(tags, str) else tags or [])]
    wrong = next((tag for tag in given if not 1 <= len(tag) <= LONGEST_TAG), None)
    if wrong is not None:
        raise InputError(
            f"logger.tags holds {wrong!r}, which has {len(wrong)} characters: W&B takes tags of 1 to {LONGEST_TAG}, "
            "write a shorter one."
        )
    return given


def _check_artifacts(artifacts: str) -> None:
    if artifacts not in ARTIFACTS:
        raise InputError(f"logger.artifacts={artifacts} is unknown: choose one of {', '.join(ARTIFACTS)}.")
