"""Fits one stage: data, callbacks, logger and trainer, from the composed config."""

import copy
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger

from kidney_lab.data.datamodule import StageDataModule
from kidney_lab.data.dataset import Dataset
from kidney_lab.data.priors import Priors
from kidney_lab.data.splits import Split
from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.files import replacing
from kidney_lab.labels import LABELS
from kidney_lab.methods.callbacks import EpochTable
from kidney_lab.methods.cost import count_flops, count_parameters
from kidney_lab.methods.run_logger import build_logger
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation


def fit_stage(
    name: str,
    *,
    config: DictConfig,
    dataset: Dataset,
    split: Split,
    store: Store,
    checkpoints: Path,
    precision: str,
    title: str | None = None,
    train_priors: Priors | None = None,
    val_priors: Priors | None = None,
    contained: Path | None = None,
) -> dict[str, Any]:
    """Trains a stage, or goes on where an interrupted run left it.

    Args:
        name: of the stage.
        config: the whole composed configuration.
        dataset: for labels.
        split: the cases to train and to validate on.
        store: of the stage's grid.
        checkpoints: folder of the run that they go to.
        precision: Lightning's name.
        title: of the rows in `epochs.csv`; None: the name.
        train_priors: an earlier stage's predictions of the training cases, where the training uses them.
        val_priors: an earlier stage's predictions of the validation cases, where the stage takes from one.
        contained: checkpoint of the stage that this one contains, where it does.

    Returns:
        What `run.json` says of the stage.
    """
    stage: Stage = instantiate(config.model.stages[name], _convert_="all")
    last = checkpoints / "last.ckpt"
    if interrupted := last.is_file():
        stage.restore(checkpoints)
    else:
        load_weights(stage.module, config.init, name, contained)
        stage.fit(store, split.train)
        stage.save(checkpoints)
    callbacks = build_callbacks(config.callbacks, checkpoints, title or name)
    logger = build_logger(config.logger, title or name)
    trainer = build_trainer(
        config, stage.trainer, folder=_run_of(checkpoints), precision=precision, callbacks=callbacks, logger=logger
    )
    data = _data_of(stage, dataset, split, store, seed=config.seed, train_priors=train_priors, val_priors=val_priors)
    input_shape = [1, stage.channels, *stage.view.roi_size]
    started = time.monotonic()
    fit(trainer, stage.module, data, last if interrupted else None)
    return {
        "parameters": count_parameters(stage.module.network),
        "flops": count_flops(stage.module.network, input_shape),
        "input_shape": input_shape,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "wall_time_s": round(time.monotonic() - started, 1),
        "best": _best(callbacks, checkpoints, trainer),
        **stage.module.record(),
    }


def _data_of(
    stage: Stage,
    dataset: Dataset,
    split: Split,
    store: Store,
    *,
    seed: int,
    train_priors: Priors | None,
    val_priors: Priors | None,
) -> StageDataModule:
    """Samples and whole cases that a stage is trained and validated on, see `fit_stage`."""
    earlier = stage.earlier
    return StageDataModule(
        store,
        split,
        view=stage.view,
        intensity=stage.intensity,
        augment=stage.augment,
        labels=[LABELS[label] for label in dataset.labels],
        annotation=dataset.annotation,
        batch_size=stage.batch_size,
        num_workers=dataset.num_workers,
        seed=seed,
        train_prior=None if earlier is None else earlier.for_training(train_priors),
        val_prior=None if earlier is None or val_priors is None else earlier.for_validation(val_priors),
    )


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, checkpoint: Path | None) -> None:
    """Fits, and lets an interruption be one: Lightning turns Ctrl-C into an exit and ignores it from then on.

    Raises:
        KeyboardInterrupt: the user stopped the training; the last epoch's checkpoint is there to go on from.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            # What the stage saved before is no training that could be overwritten.
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise
    except RuntimeError as error:
        if trainer.received_sigterm:  # sent to the loader's processes too, whose end came before the batch's
            raise KeyboardInterrupt from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)


def _run_of(checkpoints: Path) -> Path:
    """The run folder that a folder of checkpoints, of a stage or of one of its folds, is in."""
    return next(parent for parent in checkpoints.parents if parent.name == "stages").parent


def _best(callbacks: list[pl.Callback], checkpoints: Path, trainer: pl.Trainer) -> dict[str, Any]:
    """Makes sure that there is a best checkpoint, and tells which it is."""
    callback = next(callback for callback in callbacks if isinstance(callback, ModelCheckpoint) and callback.monitor)
    best = checkpoints / "best.ckpt"
    if trainer.is_global_zero and not best.is_file():
        with replacing(best) as temporary:  # it ended before its first validation: the last is all there is
            shutil.copy(checkpoints / "last.ckpt", temporary)
    trainer.strategy.barrier()
    state = torch.load(best, map_location="cpu", weights_only=True)
    score = callback.best_model_score
    return {"monitor": callback.monitor, "value": None if score is None else float(score), "epoch": state["epoch"]}


def build_callbacks(config: DictConfig, checkpoints: Path, stage: str) -> list[pl.Callback]:
    """Callbacks of the config, told which stage they serve and where its checkpoints go."""
    config = copy.deepcopy(config)
    for callback in config.values():
        if callback is not None and "dirpath" in callback:
            callback.dirpath = str(checkpoints)
    callbacks: list[pl.Callback] = [instantiate(callback) for callback in config.values() if callback is not None]
    for callback in callbacks:
        if isinstance(callback, EpochTable):
            callback.stage = stage
    return callbacks


def build_trainer(
    config: DictConfig,
    own: Mapping[str, Any],
    *,
    folder: Path,
    precision: str,
    callbacks: list[pl.Callback],
    logger: Logger | bool,
) -> pl.Trainer:
    """Lightning's trainer; the logger is its only one, the epoch table being a callback.

    Args:
        config: the whole composed configuration.
        own: settings of the stage, which replace those of `trainer`.
        folder: of the run.
        precision: Lightning's name.
        callbacks: see `build_callbacks`.
        logger: see `build_logger`.
    """
    given = {"default_root_dir": str(folder), "precision": precision, "callbacks": callbacks, "logger": logger}
    trainer: pl.Trainer = instantiate(config.trainer, **{**own, **given})
    return trainer


def load_weights(module: SupervisedSegmentation, init: str | None, stage: str, contained: Path | None) -> None:
    """Loads whatever a training begins with.

    Args:
        module: to load into.
        init: see `warm_start`; None: the module's own beginning.
        stage: name of the stage.
        contained: checkpoint of the stage that this one contains: it was trained in this run, so that it wins.

    Raises:
        InputError: something is missing or does not fit.
    """
    if init is not None:
        warm_start(module, Path(init), stage)
    else:
        module.load_pretrained()
    if contained is not None:
        module.load_contained(torch.load(contained, map_location="cpu", weights_only=True)["state_dict"])


def warm_start(module: pl.LightningModule, init: Path, stage: str) -> None:
    """Loads weights, and nothing else, from another training.

    Args:
        module: to load into.
        init: a run folder (its best checkpoint of the same stage) or a checkpoint file.
        stage: name of the stage.

    Raises:
        InputError: there is no such checkpoint, or its weights have other names or shapes.
    """
    path = init / "stages" / stage / "best.ckpt" if init.is_dir() else init
    if not path.is_file():
        raise InputError(f"init={init} has no checkpoint {path}: name a run folder or a .ckpt file.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"init={path} is no checkpoint of weights: name a run folder or a .ckpt file.") from error
    try:
        module.load_state_dict(state.get("state_dict", state))
    except RuntimeError as error:
        details = " ".join(str(error).split())[:500]
        raise InputError(
            f"init={path} does not fit this model, use the model settings that it was trained with: {details}"
        ) from error
