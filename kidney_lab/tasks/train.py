"""`task=train`: train every stage, segment the test cases, score them, and report."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.inference.load import choose_device
from kidney_lab.inference.precision import choose_precision
from kidney_lab.metrics.table import read_metrics
from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.provenance import excluded_words, split_words
from kidney_lab.reporting.tables import print_scores
from kidney_lab.tasks.describe import describe_data, describe_device, device_of
from kidney_lab.tasks.prepare import prepare_dataset
from kidney_lab.tasks.report import EXPERIMENTS
from kidney_lab.tasks.run_folder import RunFolder, is_first_process
from kidney_lab.tasks.settings import check_settings
from kidney_lab.tasks.stages import StageTraining
from kidney_lab.tasks.testing import scoring_of, segment_scored_cases, write_costs, write_scores

log = logging.getLogger(__name__)


def train(config: DictConfig) -> None:
    """Trains, tests and reports."""
    run = RunFolder.open(config)
    device = choose_device(device_of(config.trainer.accelerator), key="trainer.accelerator")
    precision = choose_precision(config.trainer.precision, device)
    dataset: Dataset = instantiate(config.data, _convert_="all")
    check_settings(config)
    scoring = scoring_of(config)
    prepare_dataset(dataset, config)  # before anything is written: wrong data leaves no run behind
    refuse_another_split(run, dataset)
    training = StageTraining(run, config, dataset, device=device, precision=precision)
    training.check()
    with run.recording(config):
        run.update(device=describe_device(device), precision=precision, data=describe_data(dataset))
        announce(run, dataset)
        training.train()
        segment_scored_cases(run.path, dataset, device.type, painted=Path(config.prepare.root) / "painted")
        if is_first_process():
            run.update(cost_per_case=write_costs(run.path, dataset))
            write_scores(run.path, dataset, config.prepare.workers, scoring)
    if is_first_process():
        report = write_report([run.path], run.path / "report", Choices(experiments=EXPERIMENTS))
        title = f"{dataset.name} ({dataset.split.scored}), {words_on_cases(run)}"
        print_scores(read_metrics(run.path / "metrics.csv"), title=title)
        print(f"report  {report.html}\nrun     {run.path}")


def refuse_another_split(run: RunFolder, dataset: Dataset) -> None:
    """Makes sure that a resumed training goes on with the cases that it was begun with.

    Raises:
        InputError: the folder's cases, and with them the split, are no longer the same.
    """
    file = run.path / "split.json"
    if not file.is_file():
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    if before["hash"] != dataset.split.hash:
        now = set(dataset.split.cases)
        gone = sorted({*before["train"], *before["val"], *before["test"]} - now)
        raise InputError(
            f"data.root={dataset.root} does not give the split {before['hash']} that {run.path} was begun with "
            f"(gone: {', '.join(gone) or 'none'}; in all {len(now)} cases): bring its cases back to what they were."
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
        f"cases; {words_on_cases(run)}; {run.record['device']}, {run.record['precision']}; run folder {run.path}"
    )


def words_on_cases(run: RunFolder) -> str:
    """Names the run's split, and what was left out of it."""
    return f"split {split_words(run.record['data'])}, excluded: {excluded_words(run.record['data'])}"
