"""`task=train`: train every stage, segment the test split, score it, and report."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig

from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.inference.load import choose_device
from kidney_lab.inference.postprocessing import choose_rule
from kidney_lab.inference.precision import choose_precision
from kidney_lab.methods.fit import fit_stage
from kidney_lab.metrics.table import read_metrics
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.tables import print_scores
from kidney_lab.tasks.describe import describe_data, describe_device, device_of
from kidney_lab.tasks.prepare import prepare_dataset
from kidney_lab.tasks.run_folder import RunFolder, is_first_process
from kidney_lab.tasks.test_phase import score_test_split, segment_test_split

log = logging.getLogger(__name__)


def train(config: DictConfig) -> None:
    """Trains, tests and reports."""
    refuse_nested_processes(config)
    choose_rule(config.postprocessing.keep)  # a wrong name is told now, not after the training
    run = RunFolder.open(config)
    device = choose_device(device_of(config.trainer.accelerator))
    precision = choose_precision(config.trainer.precision, device)
    dataset: Dataset = instantiate(config.data, _convert_="all")
    prepare_dataset(dataset, config)  # before anything is written: wrong data leaves no run behind
    with run.recording(config):
        pl.seed_everything(config.seed, workers=True, verbose=False)
        run.update(device=describe_device(device), precision=precision, data=describe_data(dataset))
        announce(run, dataset)
        for name, stage_config in config.model.stages.items():
            if name in run.record["stages"]:
                continue  # finished before the run was interrupted
            recipe = instantiate(stage_config.grid, _convert_="all")
            store = dataset.prepare(recipe, Path(config.prepare.root), config.prepare.workers)
            run.record["stages"][name] = fit_stage(
                str(name), config=config, dataset=dataset, store=store, folder=run.path, precision=precision
            )
            run.update()
        segment_test_split(run.path, dataset, device.type)
        if is_first_process():
            score_test_split(run.path, dataset, config.prepare.workers)
    if is_first_process():
        report = write_report([run.path], run.path / "report")
        print_scores(read_metrics(run.path / "metrics.csv"))
        print(f"report  {report.html}\nrun     {run.path}")


def refuse_nested_processes(config: DictConfig) -> None:
    """Stops a sweep whose jobs would each start several processes.

    Lightning starts the processes beside the first by repeating its command line, which in a sweep is the sweep.

    Raises:
        InputError: in such a sweep.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN and config.trainer.devices != 1:
        raise InputError(
            f"trainer.devices={config.trainer.devices} does not work inside a sweep (-m): set trainer.devices=1, "
            "or start the trainings one by one."
        )


def announce(run: RunFolder, dataset: Dataset) -> None:
    """Says what is about to be trained on what, and writes the split into the run."""
    if not is_first_process():
        return
    split = dataset.split
    write_text(run.path / "split.json", json.dumps({**asdict(split), "hash": split.hash}, indent=2) + "\n")
    if dataset.synthesized:
        log.warning("The images of %s are SYNTHESIZED: its scores say nothing about patients.", dataset.name)
    print(
        f"{run.record['name']}: {len(split.train)} training, {len(split.val)} validation and {len(split.test)} test "
        f"cases; {run.record['device']}, {run.record['precision']}; run folder {run.path}"
    )
