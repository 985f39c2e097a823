"""Trains the stages of a method in order, and hands on what each predicts to those after it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from kidney_lab.composition.messages import to_plain
from kidney_lab.data.dataset import Dataset
from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.priors import Priors
from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.inference.load import CHECKPOINT, load_stage
from kidney_lab.inference.precision import precision_to_predict_in
from kidney_lab.inference.priors import predict_priors
from kidney_lab.methods.fit import fit_stage, warm_start
from kidney_lab.methods.folds import held_out, training_cases
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.methods.stage import Stage
from kidney_lab.process_group import from_first
from kidney_lab.tasks.ranks import machine_first
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.shared_stages import take_stage, training_key

FOLDS = "folds"
"""Folder of a stage, and key of `run.json`, for networks that were trained on parts of the training cases."""


class StageTraining:
    """Trains the stages of one run; whatever a run that was interrupted had finished is not done again.

    Args:
        run: the run.
        config: the whole composed configuration.
        dataset: for the cases and their split.
        device: to predict on between the stages.
        precision: Lightning's name.
    """

    def __init__(
        self, run: RunFolder, config: DictConfig, dataset: Dataset, *, device: torch.device, precision: str
    ) -> None:
        self.run = run
        self.config = config
        self.dataset = dataset
        self.device = device
        self.precision = precision
        self.stages = enabled_stages(config.model.stages)

    def check(self) -> None:
        """Finds what would stop a later stage, before the first is trained.

        Raises:
            InputError: the training cases cannot be dealt into so many folds, or `init` does not fit a stage, or there
                is no stage that it could fit.
        """
        init = self.config.init
        if init is not None and not self.stages:
            raise InputError(
                f"init={init} gives weights to stages that are trained, and this ensemble of finished runs has none: "
                "leave it out."
            )
        if init is not None and len(self.stages) > 1 and not Path(init).is_dir():
            raise InputError(
                f"init={init} is one checkpoint, but the model has the stages {', '.join(self.stages)}: name a run "
                "folder, whose stages of the same names are taken."
            )
        for name, stage_config in self.stages.items():
            stage: Stage = instantiate(stage_config, _convert_="all")
            if stage.earlier is not None and stage.earlier.prior == "out_of_fold":
                held_out(self.dataset.split.train, n_folds=stage.earlier.n_folds, seed=self.config.seed)
            if init is not None:
                warm_start(stage.module, Path(init), name)

    def train(self) -> None:
        """Trains every stage that is not finished, in order; in a sweep one that another job has trained is taken."""
        for name in self.stages:
            if name in self.run.record["stages"]:
                continue
            key = training_key(self.config, name, self.dataset.split)
            taken = from_first(partial(take_stage, self.run, name, key, self._folder(name)))
            self.run.record["stages"][name] = taken or {"key": key, **self._fit(name)}
            self.run.update()

    def _fit(self, name: str) -> dict[str, Any]:
        """Trains a stage, by what those before it predict; returns what `run.json` says of it."""
        stage: Stage = instantiate(self.stages[name], _convert_="all")
        train_priors = val_priors = None
        if stage.earlier is not None:
            val_priors = self._priors(stage.earlier.stage, stage.grid, self.dataset.split.val)
            train_priors = self._training_priors(stage)
        pl.seed_everything(self.config.seed, workers=True, verbose=False)  # whatever stages came before
        return fit_stage(
            name,
            config=self.config,
            dataset=self.dataset,
            split=self.dataset.split,
            store=self._store(stage.grid),
            checkpoints=self._folder(name),
            precision=self.precision,
            train_priors=train_priors,
            val_priors=val_priors,
            contained=None if stage.contains is None else self._folder(stage.contains) / CHECKPOINT,
        )

    def _training_priors(self, stage: Stage) -> Priors | None:
        """What the training samples of a stage take from the stage before it; None where that is the reference."""
        earlier = stage.earlier
        if earlier is None or not earlier.predicts_training_cases:
            return None
        if earlier.prior == "out_of_fold":
            return self._out_of_fold(earlier.stage, stage.grid, earlier.n_folds)
        return self._priors(earlier.stage, stage.grid, self.dataset.split.train)

    def _priors(self, name: str, grid: GridRecipe, cases: Sequence[str]) -> Priors:
        """Predictions of a finished stage for another's grid."""
        priors = Priors(self._folder(name) / "priors" / grid.key()[:12])
        if priors.missing(cases):
            stage = load_stage(self.stages[name], self._folder(name))
            source = None
            if stage.earlier is not None:
                source = self._priors(stage.earlier.stage, stage.grid, cases)
            self._predict(name, stage, cases, priors, grid, source)
        return priors

    def _out_of_fold(self, name: str, grid: GridRecipe, n_folds: int) -> Priors:
        """Predictions of the training cases by networks that have not seen them.

        These networks start from random weights even with `init=`, whose weights may have seen any case.
        """
        split, config = self.dataset.split, self.config.copy()
        config.init = None
        priors = Priors(self._folder(name) / FOLDS / "priors" / grid.key()[:12])
        folds = held_out(split.train, n_folds=n_folds, seed=self.config.seed)
        for number, held in enumerate(folds):
            if not priors.missing(held):
                continue
            part = f"{name}/{FOLDS}/{number}"
            record = self.run.record.setdefault(FOLDS, {})
            if part not in record:
                pl.seed_everything(self.config.seed, workers=True, verbose=False)
                record[part] = {"held_out": held} | fit_stage(
                    name,
                    config=config,
                    dataset=self.dataset,
                    split=replace(split, train=tuple(training_cases(folds, number))),
                    store=self._store(instantiate(self.stages[name].grid, _convert_="all")),
                    checkpoints=self._folder(part),
                    precision=self.precision,
                    title=part,
                )
                self.run.update()
            self._predict(part, load_stage(self.stages[name], self._folder(part)), held, priors, grid, None)
        return priors

    def _predict(
        self, title: str, stage: Stage, cases: Sequence[str], priors: Priors, grid: GridRecipe, source: Priors | None
    ) -> None:
        """Predicts as the test phase will: the later stage learns from what it is going to get."""
        settings = InferenceSettings(**to_plain(self.config.inference))
        predict_priors(
            stage,
            cases,
            priors,
            store=self._store(stage.grid),
            onto=self._store(grid),
            source=source,
            device=self.device,
            precision=precision_to_predict_in(settings.precision, trained=self.precision, device=self.device),
            settings=settings,
            title=f"Predicting {len(cases)} cases with {title}",
        )

    def _store(self, grid: GridRecipe) -> Store:
        with machine_first():
            return self.dataset.prepare(grid, Path(self.config.prepare.root), self.config.prepare.workers)

    def _folder(self, name: str) -> Path:
        return self.run.path / "stages" / name
