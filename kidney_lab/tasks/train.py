"""`task=train`: train every stage, segment the test cases, score them, and report."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from kidney_lab.composition.allowlist import named_in, read_trust
from kidney_lab.composition.messages import to_plain
from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.inference.load import choose_device
from kidney_lab.inference.precision import choose_precision
from kidney_lab.memory import overall_peak_mib
from kidney_lab.metrics.scoring import METRICS_VERSION
from kidney_lab.metrics.table import read_metrics
from kidney_lab.process_group import of_all, wait_for_all
from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.provenance import excluded_words, split_words
from kidney_lab.reporting.tables import print_scores
from kidney_lab.tasks.describe import describe_data, describe_device, device_of
from kidney_lab.tasks.launch import launch
from kidney_lab.tasks.members import check_members, record_members, record_weights, settle_member_runs
from kidney_lab.tasks.prepare import prepare_dataset
from kidney_lab.tasks.ranks import join_group, machine_first, processes_here
from kidney_lab.tasks.report import EXPERIMENTS
from kidney_lab.tasks.run_folder import RunFolder, is_first_process
from kidney_lab.tasks.settings import check_settings
from kidney_lab.tasks.stages import StageTraining
from kidney_lab.tasks.testing import scoring_of, segment_scored_cases, write_costs, write_scores
from kidney_lab.tasks.uncertainty import gather_uncertainty
from kidney_lab.tasks.values import check_values
from kidney_lab.tasks.wandb_run import logged_run

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float | None:
    """Trains, tests and reports.

    Returns:
        What the last stage's best checkpoint was chosen by (`callbacks.best.monitor`, on validation cases): the value
        that a sweeper such as Optuna's searches by, in the direction of `callbacks.best.mode`. None without a stage,
        and where nothing was validated.
    """
    check_values(config)
    settle_member_runs(config)
    run = RunFolder.open(config)
    device = choose_device(device_of(config.trainer.accelerator), key="trainer.accelerator")
    precision = choose_precision(config.trainer.precision, device)
    dataset: Dataset = instantiate(config.data, _convert_="all")
    check_settings(config)
    members = check_members(config, dataset)
    scoring = scoring_of(config)
    join_group(config.trainer)  # where torchrun has started this process
    with machine_first():
        prepare_dataset(dataset, config)  # before anything is written: wrong data leaves no run behind
    refuse_another_split(run, dataset)
    resolved = OmegaConf.create(to_plain(config))  # other processes know nothing of Hydra
    training = StageTraining(run, resolved, dataset, device=device, precision=precision)
    training.check()
    with logged_run(run, config, dataset) as logger, run.recording(config):
        resolved.logger = logger
        processes = processes_here(config.trainer) * config.trainer.num_nodes
        run.update(
            device=describe_device(device), processes=processes, precision=precision, data=describe_data(dataset)
        )
        record_members(run, config, members)
        announce(run, dataset)
        trust = (*read_trust(config.trust), *named_in(config))  # what the user composed is the user's to trust
        launch(train_and_segment, training, trust, trainer=resolved.trainer, log=run.path / "run.log")
        run.reread()
        if is_first_process():
            run.update(cost_per_case=write_costs(run.path, dataset), metrics_version=METRICS_VERSION)
            gather_uncertainty(run.path, dataset.split.scored_cases)
            write_scores(run.path, dataset, config.prepare.workers, scoring, trust)
    if is_first_process():
        report = write_report([run.path], run.path / "report", Choices(experiments=EXPERIMENTS))
        title = f"{dataset.name} ({dataset.split.scored}), {words_on_cases(run)}"
        print_scores(read_metrics(run.path / "metrics.csv"), title=title)
        print(f"report  {report.html}\nrun     {run.path}")
    return chosen_by(run)


def chosen_by(run: RunFolder) -> float | None:
    """The monitored value of the checkpoint that the last stage kept."""
    stages = list(run.record["stages"].values())
    return stages[-1]["best"]["value"] if stages else None


def train_and_segment(training: StageTraining, trust: Sequence[str]) -> None:
    """Trains every stage and segments the scored cases: what all processes of a training share."""
    run = training.run
    training.train()
    record_weights(run, trust)
    wait_for_all()  # the cases are segmented by what the first process has recorded
    painted = Path(training.config.prepare.root) / "painted"
    segment_scored_cases(run.path, training.dataset, training.device.type, painted=painted, trust=trust)
    run.update(peak_memory_mib=max(of_all(round(overall_peak_mib(), 1))))


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
