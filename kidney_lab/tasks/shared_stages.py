"""Stages that another job of a sweep has trained alike: rows that differ in a later stage share those before it."""

import json
import logging
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from kidney_lab.composition.config_hash import config_hash
from kidney_lab.composition.messages import to_plain
from kidney_lab.data.splits import Split
from kidney_lab.files import replacing
from kidney_lab.tasks.run_folder import RunFolder

log = logging.getLogger(__name__)

_SCORES = ("predictions", "metrics.csv", "summary.json", "folds")
"""What a stage's folder holds beside the trained stage: another job makes it for itself."""


def training_key(config: DictConfig, stage: str, split: Split) -> str:
    """Short name of all that a stage's weights depend on, beside the code: equal where one training serves for both.

    Args:
        config: the whole composed configuration.
        stage: its name.
        split: of the cases.
    """
    stages, chain = to_plain(config.model)["stages"], [stage]
    for name in chain:
        before = [stages[name].get("contains"), (stages[name].get("earlier") or {}).get("stage")]
        chain += [other for other in before if other is not None and other not in chain]
    of_all: dict[str, Any] = {key: to_plain(config[key]) for key in ("data", "trainer", "callbacks", "inference")}
    of_all |= {"seed": config.seed, "init": config.init, "split_hash": split.hash}
    return config_hash({"stages": [stages[name] for name in chain], **of_all})


def take_stage(run: RunFolder, stage: str, key: str, folder: Path) -> dict[str, Any] | None:
    """Copies a stage that a job of the same sweep has trained by the same, committed code, where there is one.

    Only a stage that is not begun is taken. Its weights, what it predicted for the stages after it, and its rows of
    `epochs.csv` come along. Of processes that share a training the first alone may call this.

    Args:
        run: that takes it.
        stage: its name.
        key: see `training_key`.
        folder: of the stage in the run.

    Returns:
        What `run.json` says of the stage, with the name of the job's folder in `taken_from`; None without such a job.
    """
    if run.sweep is None or folder.exists():
        return None
    changed = False
    for record_file in sorted(run.sweep.glob("*/run.json")):
        record = json.loads(record_file.read_text(encoding="utf-8"))
        trained = record["stages"].get(stage, {})
        if trained.get("key") != key or not _same_code(record, run.record):
            continue
        if record["dirty"] or run.record["dirty"]:
            changed = True
            continue
        source = record_file.parent
        unfinished = folder.with_name(f".{stage}")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(source / "stages" / stage, unfinished, ignore=shutil.ignore_patterns(*_SCORES))
        unfinished.rename(folder)
        _copy_epochs(source / "epochs.csv", run.path / "epochs.csv", stage)
        return {**trained, "taken_from": trained.get("taken_from", source.name)}
    if changed:
        _tell_of_changes(run.path)
    return None


def _same_code(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two runs are by the same commit and the same versions of the libraries."""
    return all(one[key] == other[key] for key in ("commit", "versions"))


@cache
def _tell_of_changes(run: Path) -> None:
    """Says, once a run, why it trains again what another job has trained."""
    log.info(
        "%s trains what another job of its sweep has trained: the checkout had uncommitted changes, so that nothing "
        "tells whether both are by the same code; commit them before a sweep whose jobs share stages.",
        run,
    )


def _copy_epochs(source: Path, target: Path, stage: str) -> None:
    """Adds the rows of a stage, which has none there yet."""
    rows = pd.read_csv(source)
    tables = [pd.read_csv(target)] if target.is_file() else []
    with replacing(target) as temporary:
        pd.concat([*tables, rows[rows["stage"] == stage]]).to_csv(temporary, index=False)
