"""The W&B run of a training: begun before the first stage, given the scores of the test cases, and ended as the job is.

Wherever the logger is another than W&B's, nothing is done here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.loggers import WandbLogger

from kidney_lab.composition.messages import to_plain
from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError
from kidney_lab.methods.run_logger import ARTIFACTS, LONGEST_TAG, given_tags, is_wandb
from kidney_lab.reporting.wandb_tables import case_columns, mean_scores
from kidney_lab.tasks.describe import describe_data
from kidney_lab.tasks.ranks import processes_here, under_torchrun
from kidney_lab.tasks.report import EXPERIMENTS
from kidney_lab.tasks.run_folder import RunFolder, is_first_process

FAILED: Final = 1
INTERRUPTED: Final = 255
"""Exit code that W&B itself gives a run that Ctrl-C has ended."""

_FROM_RECORD: Final = ("commit", "dirty", "config_hash", "versions", "overrides", "resumed")
"""Keys of `run.json` that stand in the run's configuration beside the composed one."""


@contextmanager
def logged_run(run: RunFolder, config: DictConfig, dataset: Dataset) -> Iterator[dict[str, Any] | None]:
    """Opens the W&B run of a job, which the loggers of its stages join, and closes it with the job's end.

    A job that ends well leaves its scores, and its checkpoints where `logger.artifacts` asks for them. A training that
    is gone on with goes on with its W&B run; so does the first of several processes that a job starts to train in, and
    the job itself after them, since a run is open in one process at a time.

    Args:
        run: the run folder.
        config: the whole composed configuration.
        dataset: that is trained on.

    Yields:
        The configuration of the stages' loggers.

    Raises:
        InputError: W&B cannot be reached with what the user gave.
    """
    plain = None if config.logger is None else to_plain(config.logger)
    if not is_first_process() or not is_wandb(config.logger):
        yield plain
        return
    given = _given(run, config, dataset)
    logger = _open(run, config, dataset, given)
    elsewhere = processes_here(config.trainer) > 1 and not under_torchrun()
    if elsewhere:
        given["id"] = logger.experiment.id
        plain = {**(plain or {}), **given}
        logger.experiment.finish()
    exit_code = FAILED
    try:
        try:
            yield plain
        finally:
            if elsewhere:
                logger = _open(run, config, dataset, given)
                run.update()  # the folders of all parts
        log_results(logger.experiment, run, dataset.split.scored)
        log_checkpoints(logger.experiment, run, getattr(logger, "artifacts", "none"))
        exit_code = 0
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
        raise
    finally:
        logger.experiment.finish(exit_code=exit_code)  # else the next job of a sweep would write into this run
        wandb.teardown()  # its process writes all to the disk and ends; a launcher's worker may end without telling it


def identity(
    config: Mapping[str, Any], choices: Mapping[str, Any], data: Mapping[str, Any], paper: str | None
) -> dict[str, Any]:
    """Name, group and tags of a run; what the configuration of the logger says itself comes first.

    Args:
        config: the composed configuration, plain.
        choices: the option of each config group, as Hydra tells them.
        data: what `run.json` says of the data.
        paper: folder of `experiments/`; None: of no paper.

    Raises:
        InputError: W&B does not take one of the user's tags.
    """
    logger, experiment, model = config["logger"], config["experiment"], choices["model"]
    words = {
        "paper": paper,
        "model": model,
        "data": data["name"],
        "split": data["split"],
        "fold": data["fold"],
        "seed": config["seed"],
        "preset": config["preset"],
        "images": "synthesized" if data["synthesized"] else None,
    }
    tags = [f"{key}={value}" for key, value in words.items() if value is not None]
    return {
        "name": logger.get("name") or f"{experiment['row'] or model}-{data['name']}-s{config['seed']}",
        "group": logger.get("group") or experiment["table"] or model,
        "tags": [*given_tags(logger.get("tags")), *(tag[:LONGEST_TAG] for tag in tags)],
    }


def log_results(experiment: Any, run: RunFolder, scored: str) -> None:
    """Logs the scores of a finished run: a table with a row per case and region, and their means as its summary.

    Args:
        experiment: the W&B run.
        run: the run folder.
        scored: the part of the split that was scored, which begins the names.
    """
    record = run.record
    columns, rows = case_columns(run.path)
    experiment.log({f"{scored}/cases": wandb.Table(columns=columns, data=rows)})
    experiment.config.update({key: record[key] for key in ("device", "precision")}, allow_val_change=True)
    experiment.summary.update(
        {
            **{f"{scored}/{name}": value for name, value in mean_scores(run.path).items()},
            **{key: record.get(key) for key in ("stages", "cost_per_case", "wall_time_s", "peak_memory_mib")},
        }
    )


def log_checkpoints(experiment: Any, run: RunFolder, artifacts: str) -> None:
    """Adds what `task=predict` needs of a finished run as an artifact, whose download is named by `run=`.

    Args:
        experiment: the W&B run.
        run: the run folder.
        artifacts: a key of `ARTIFACTS`.
    """
    if artifacts == "none":
        return
    artifact = wandb.Artifact(f"model-{experiment.id}", type="model", metadata={"name": run.record["name"]})
    stages = [run.path / "stages" / name for name in run.record["stages"]]
    wanted = ("intensity.json", "view.json", *ARTIFACTS[artifacts])
    files = [run.path / "config.yaml", run.path / "run.json", *(stage / name for stage in stages for name in wanted)]
    for file in files:
        if file.is_file():
            artifact.add_file(str(file), name=file.relative_to(run.path).as_posix())
    experiment.log_artifact(artifact, aliases=[artifacts])


def _choices() -> dict[str, str]:
    return {group: choice for group, choice in HydraConfig.get().runtime.choices.items() if "hydra" not in group}


def _given(run: RunFolder, config: DictConfig, dataset: Dataset) -> dict[str, Any]:
    """What the logger is told beside its configuration: who the run is, and its id where it is gone on with."""
    plain, model = to_plain(config), _choices()["model"]
    given = identity(plain, _choices(), describe_data(dataset), _paper(plain["experiment"]["table"], model))
    before = run.record.get("wandb")
    return given if before is None else {**given, "id": before["id"]}


def _open(run: RunFolder, config: DictConfig, dataset: Dataset, given: dict[str, Any]) -> WandbLogger:
    """Begins the run, or goes on with the one of `run.json`, and tells it what is trained on what."""
    logger: WandbLogger = instantiate(config.logger, **given)
    try:
        experiment = logger.experiment
    except wandb.Error as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"logger.offline=false cannot begin a run in W&B ({reason}): run `wandb login`, or leave the run on disk "
            "by logger.offline=true and upload it later by `wandb sync`."
        ) from error
    experiment.config.update(
        {
            **to_plain(config),
            **{key: run.record[key] for key in _FROM_RECORD},
            "choices": _choices(),
            "split": describe_data(dataset),
        },
        allow_val_change=True,
    )
    if not experiment.disabled:
        parts = Path(experiment.sync_dir).resolve().parent.glob(f"*run-*-{experiment.id}")
        run.record["wandb"] = {
            "id": experiment.id,
            "entity": experiment.entity or None,
            "project": experiment.project,
            "offline": experiment.offline,
            "folders": sorted(part.relative_to(run.path.resolve()).as_posix() for part in parts),
        }
    return logger


def _paper(table: str | None, model: str) -> str | None:
    if table is not None:
        return table.partition("/")[0]
    return model if (EXPERIMENTS / model).is_dir() else None
