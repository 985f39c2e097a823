"""`task=predict`: segment scans with a finished training, or with the mean of several."""

import logging
import statistics
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig
from rich.console import Console

from kidney_lab.data.scans import check_scans, find_scans
from kidney_lab.data.shards import take_shard
from kidney_lab.errors import BatchError, InputError
from kidney_lab.export.measurements import write_measurements
from kidney_lab.files import DISK_FULL, make_folder
from kidney_lab.inference.cost import CaseCost, CostMeter
from kidney_lab.inference.load import load_method
from kidney_lab.reporting.formatting import duration, mebibytes
from kidney_lab.tasks.predict_case import segment_scan
from kidney_lab.tasks.predict_outputs import SUFFIXES, Outputs
from kidney_lab.tasks.predict_plan import Job, plan
from kidney_lab.tasks.predict_progress import ScanBars
from kidney_lab.tasks.predict_record import unfinished
from kidney_lab.tasks.predict_runs import MadeBy, chosen_runs
from kidney_lab.tasks.predict_settings import path_at, settings_at
from kidney_lab.tasks.screen import log_to_screen
from kidney_lab.tasks.values import check_switches
from kidney_lab.wording import counted

Failure = InputError | BatchError
"""Why a scan was not segmented, in one sentence."""

log = logging.getLogger(__name__)


def predict(config: DictConfig) -> None:
    """Writes a label map per scan, on exactly the scan's grid, and beside it what `predict` asks for.

    Headers of all scans are read first, so that what is wrong with any is told before the long work. A scan that fails
    is told, and the others go on; scans that are finished already are skipped.

    Raises:
        InputError: there is nothing that can be segmented, or what lies in `output` is of other scans or other runs.
        BatchError: some scans failed, and the others are done.
    """
    check_switches(config)
    outputs, given = Outputs(**settings_at(config, "predict")), settings_at(config, "inference")
    source, output, runs = path_at(config, "input"), path_at(config, "output"), chosen_runs(config.run)
    jobs = plan(find_scans(source, skip=output), output)
    made_by = MadeBy.read(runs, config.trust, given)
    gather = output.is_dir() and bool(tables_in(output))
    with log_to_screen():
        mine = take_shard(jobs, config.shard)
        todo = mine if config.overwrite else unfinished(mine, outputs, made_by)
        finished = len(mine) - len(todo)
        todo, failures = readable(todo)
        costs: list[CaseCost] = []
        if todo:
            make_folder(todo[0].labels.parent)
            meter = CostMeter(load_method(runs, config.device, config.trust, given))
            costs, failed = segment_scans(meter, todo, outputs, made_by)
            failures += failed
    if gather or (outputs.measurements and output.is_dir()):
        gather_measurements(output, outdated=gather)
    if finished:
        print(f"{counted(finished, 'scan')} finished before, skipped: overwrite=true segments them anew")
    if costs:
        print(f"{counted(len(costs), 'label map')} in {output}{words_on(costs)}")
    if failures:
        raise summed_up(failures, mine, others_done=bool(costs or finished))


def readable(jobs: Sequence[Job]) -> tuple[list[Job], list[Failure]]:
    """Jobs whose scans can be read by their headers, and what is wrong with the others, which is told at once."""
    good, problems = check_scans([job.scan for job in jobs], progress=Console().is_interactive)
    if good:
        for problem in problems:
            log.warning("%s", problem)
    return [job for job in jobs if job.scan in good], [InputError(problem) for problem in problems]


def segment_scans(
    meter: CostMeter, jobs: Sequence[Job], outputs: Outputs, made_by: MadeBy
) -> tuple[list[CaseCost], list[Failure]]:
    """Segments scan after scan.

    Args:
        meter: of the method.
        jobs: scans and their label maps.
        outputs: what is written beside each.
        made_by: the runs of the method.

    Returns:
        What those that were segmented took, and why the others were not: `InputError` where the scan is wrong,
        `BatchError` where something else is.

    Raises:
        OSError: the disk is full.
    """
    costs: list[CaseCost] = []
    failures: list[Failure] = []
    with ScanBars.of(len(jobs)) as bars:
        for job in jobs:
            path = str(job.scan.path)
            try:
                with bars.scan(job.scan.name):
                    costs.append(segment_scan(meter, job, outputs, made_by))
            except InputError as error:
                failures.append(InputError(str(error) if path in str(error) else f"{path}: {error}"))
                if len(jobs) > 1:  # that of a single one is told once, at the end
                    log.warning("%s", failures[-1])
            except Exception as error:  # whatever is wrong with one scan, the others are segmented
                if isinstance(error, OSError) and error.errno in DISK_FULL:
                    raise
                failures.append(BatchError(f"{path}: {type(error).__name__}: {error}"))
                log.exception("%s failed", path)
            else:
                log.info("%s (%s)", job.labels, duration(costs[-1].seconds))
    return costs, failures


def summed_up(failures: Sequence[Failure], jobs: Sequence[Job], *, others_done: bool) -> Failure:
    """One error for all that failed: the user's to mend where nothing could be done, since the input is wrong."""
    wrong_input = not others_done and all(isinstance(failure, InputError) for failure in failures)
    kind = InputError if wrong_input else BatchError
    if len(jobs) == 1:
        return kind(str(failures[0]))
    sentences = [str(failure) for failure in failures]
    return kind.of(f"{len(failures)} of {counted(len(jobs), 'scan')} could not be segmented:", sentences)


def tables_in(folder: Path) -> list[Path]:
    """Files of the measurements of single scans."""
    return sorted(folder.glob(f"*{SUFFIXES['measurements']}"))


def gather_measurements(folder: Path, *, outdated: bool = False) -> None:
    """Writes `measurements.csv` of all scans in a folder, those of other shards and of earlier commands among them.

    Args:
        folder: of the label maps.
        outdated: whether one that lies there goes where there is nothing to put in its place.
    """
    together = folder / "measurements.csv"
    if files := tables_in(folder):
        tables = [pd.read_csv(file, dtype=str, keep_default_na=False) for file in files]
        write_measurements(together, pd.concat(tables, ignore_index=True))
    elif outdated:
        together.unlink(missing_ok=True)


def words_on(costs: Sequence[CaseCost]) -> str:
    """Says what a scan took: the median of the times, and the largest memory."""
    if not costs:
        return ""
    memory = mebibytes(max(cost.peak_mib for cost in costs))
    on_gpu = [cost.device_mib for cost in costs if cost.device_mib is not None]
    gpu = f", GPU {mebibytes(max(on_gpu))}" if on_gpu else ""
    return f" ({duration(statistics.median(cost.seconds for cost in costs))} a scan, memory {memory}{gpu})"
