"""`task=agreement`: the human ceiling, annotators of the same case scored against each other as methods are."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

import kidney_lab
from kidney_lab.data.dataset import Dataset
from kidney_lab.errors import InputError
from kidney_lab.files import make_folder, write_text
from kidney_lab.metrics.agreement import Agreement, annotator_agreement
from kidney_lab.metrics.case_scores import Scoring, case_scores, choose_regions
from kidney_lab.metrics.scoring import METRIC_TABLE, choose_metrics
from kidney_lab.metrics.table import write_metrics
from kidney_lab.tasks.score_tables import print_all_scores
from kidney_lab.tasks.screen import log_to_screen
from kidney_lab.tasks.values import check_numbers


def agreement(config: DictConfig) -> None:
    """Writes `metrics.csv`, `summary.json` and `agreement.json` into `output`, and prints the table."""
    check_numbers(config)
    scoring = Scoring(choose_regions(config.regions), choose_metrics(config.metrics), config.surface, config.level)
    if "sampled" not in config.data.get("annotations", ()):
        raise InputError(
            f"task=agreement compares annotators, but data={config.data.name} has one annotation of each case: choose "
            "data=kits21 or data=kits23 with data.root=."
        )
    output = make_folder(Path(config.output))
    dataset: Dataset = instantiate(config.data, annotation="sampled", _convert_="all")
    with log_to_screen():
        found = annotator_agreement(
            list(dataset.cases.values()),
            score=partial(case_scores, scoring=scoring),
            symmetric=all(name in METRIC_TABLE and METRIC_TABLE[name].symmetric for name in scoring.metrics),
            workers=config.prepare.workers,
        )
    write_metrics(found.frame, output)
    write_text(output / "agreement.json", json.dumps(describe(found, scoring, dataset.name), indent=2) + "\n")
    print_all_scores(found.frame, title="Annotator against annotator")
    if found.left_out:
        print(f"left out, since fewer than two annotators drew them: {', '.join(found.left_out)}")
    print("Lesions had been located for the annotators: this is how far contours agree, not who finds what.")
    print(f"scores  {output / 'metrics.csv'}")


def describe(found: Agreement, scoring: Scoring, dataset: str) -> dict[str, object]:
    """What `agreement.json` says of the scores beside it."""
    return {
        "version": kidney_lab.__version__,
        "data": dataset,
        "cases": found.frame["case"].nunique(),
        "left_out": list(found.left_out),
        "value": "mean over the pairs of annotators of a case, on lesions that had been located for them",
        **asdict(scoring),
    }
