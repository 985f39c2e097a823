"""`task=evaluate`: score any tool's predictions against references."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock
import pandas as pd
from omegaconf import DictConfig

import kidney_lab
from kidney_lab.data.shards import take_shard
from kidney_lab.errors import InputError
from kidney_lab.files import make_folder, write_text
from kidney_lab.metrics.case_scores import SCORED_REGIONS, Scoring, choose_regions
from kidney_lab.metrics.evaluate import score_files
from kidney_lab.metrics.pairs import ScoredFiles, find_images, match_pairs
from kidney_lab.metrics.parts import CaseResult, Parts
from kidney_lab.metrics.scoring import METRICS_VERSION, choose_metrics
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.metrics.table import metrics_frame, write_metrics
from kidney_lab.tasks.score_tables import print_all_scores, print_by_size
from kidney_lab.tasks.screen import log_to_screen
from kidney_lab.tasks.values import check_numbers

_log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> None:
    """Writes `metrics.csv`, `summary.json` and, if wanted, `strata.csv` into `output`, and prints the tables.

    Results of single cases are kept in `output/parts` until all are there, so that an evaluation that was killed goes
    on; a shard adds its cases to them, and the last one to end writes the tables.
    """
    check_numbers(config)
    scoring, cases = scoring_of(config), cases_of(config)
    with output_folder(Path(config.output)) as output:
        parts = Parts(output / "parts", scoring, strata=config.strata)
        results = score_shard(config, scoring, cases, parts)
        with nullcontext() if config.shard is None else filelock.FileLock(output / "parts.lock"):
            everything = parts.gather(cases) if config.shard is not None else results
            if everything is not None:
                scores, strata = write_results(everything, output, record=record_of(config, scoring, cases))
                parts.discard(everything)
    if everything is None:
        print(f"shard {config.shard} is scored; the last shard to end writes {output / 'metrics.csv'}")
        return
    print_all_scores(scores)
    if strata is not None:
        print_by_size(scores, strata)
        print(f"strata  {output / 'strata.csv'}")
    print(f"scores  {output / 'metrics.csv'}")


@contextmanager
def output_folder(output: Path) -> Iterator[Path]:
    """The folder that is written to; one that was made for nothing goes again.

    Raises:
        InputError: it cannot be made, or is a training's run folder.
    """
    if (output / "run.json").is_file():
        raise InputError(f"output={output} is the run folder of a training, whose scores stay: name another folder.")
    made = not output.exists()
    make_folder(output)
    try:
        yield output
    except InputError as error:
        if made and not any(output.iterdir()):
            output.rmdir()
        if (output / "metrics.csv").is_file():
            raise InputError(f"{error}\n{output / 'metrics.csv'} is that of an earlier evaluation.") from error
        raise


def score_shard(
    config: DictConfig, scoring: Scoring, cases: Sequence[ScoredFiles], parts: Parts
) -> dict[str, CaseResult]:
    """Scores this job's share of the cases, and names those that are scored as empty."""
    with log_to_screen():
        empty = [case.id for case in cases if case.prediction is None]
        if empty:
            _log.warning(
                "missing=zero: %d of %d cases have no prediction and are scored as empty: %s",
                len(empty),
                len(cases),
                ", ".join(empty),
            )
        mine = take_shard(cases, config.shard)
        return score_files(mine, scoring, strata=config.strata, workers=config.prepare.workers, parts=parts)


def record_of(config: DictConfig, scoring: Scoring, cases: Sequence[ScoredFiles]) -> dict[str, Any]:
    """What `evaluation.json` says of the tables beside it."""
    empty = [case.id for case in cases if case.prediction is None]
    where = {key: str(Path(config[key]).expanduser().resolve()) for key in ("predictions", "references")}
    return {**where, "empty": empty, **asdict(scoring)}


def write_results(
    results: Mapping[str, CaseResult], output: Path, *, record: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Writes the tables of all cases, and what they were made with as `evaluation.json`.

    Returns:
        The tables of `metrics.csv` and of `strata.csv`; None where strata were not measured.
    """
    scores = metrics_frame({case: result.scores for case, result in results.items()})
    rows = {case: result.strata for case, result in results.items() if result.strata is not None}
    strata = strata_frame(rows) if rows else None
    if strata is not None:
        write_strata(strata, output)
    else:
        (output / "strata.csv").unlink(missing_ok=True)  # of an earlier evaluation, perhaps of other cases
    write_metrics(scores, output)
    versions = {"version": kidney_lab.__version__, "metrics_version": METRICS_VERSION}
    write_text(output / "evaluation.json", json.dumps({**versions, **record}, indent=2) + "\n")
    return scores, strata


def scoring_of(config: DictConfig) -> Scoring:
    """What the settings say is to be scored.

    Raises:
        InputError: a setting is unknown.
    """
    if config.score not in SCORED_REGIONS:
        raise InputError(f"score={config.score} is unknown: choose {' or '.join(SCORED_REGIONS)}.")
    for key in ("lesions", "strata"):
        if not isinstance(config[key], bool):
            raise InputError(f"{key}={config[key]} must be true or false.")
    return Scoring(
        regions=choose_regions(SCORED_REGIONS[config.score] if config.regions is None else config.regions),
        metrics=choose_metrics(config.metrics),
        surface=config.surface,
        level=config.level,
        lesions=config.lesions,
        score=config.score,
    )


def cases_of(config: DictConfig) -> list[ScoredFiles]:
    """Files of every case, sorted.

    Raises:
        InputError: names what is missing and what is superfluous.
    """
    pairs = match_pairs(Path(config.predictions), Path(config.references), missing=config.missing)
    if config.images is not None and not config.strata:
        raise InputError(f"images={config.images} is read for strata.csv alone: add strata=true, or leave it out.")
    images = {} if config.images is None else find_images(Path(config.images), list(pairs))
    return [ScoredFiles(case, *pair, images.get(case)) for case, pair in pairs.items()]
