"""Scores of a run as W&B shows them: a table with a row per case and region, and numbers of the whole run."""

from pathlib import Path
from typing import Any

import pandas as pd

from kidney_lab.metrics.strata import read_strata
from kidney_lab.metrics.table import read_metrics, summarize


def case_columns(folder: Path) -> tuple[list[str], list[list[Any]]]:
    """Table of the scored cases.

    Args:
        folder: of a run, or another with `metrics.csv`.

    Returns:
        Names of the columns (`case`, `region`, the metrics, and the strata where `strata.csv` is there), and a row for
        each region of each case; None where a value is undefined.
    """
    scores = read_metrics(folder)
    metrics = list(dict.fromkeys(scores["metric"]))
    wide = scores.pivot(index=["case", "region"], columns="metric", values="value")[metrics]
    ordered = wide.reindex(pd.MultiIndex.from_frame(scores[["case", "region"]].drop_duplicates())).reset_index()
    if (folder / "strata.csv").is_file():
        ordered = ordered.merge(read_strata(folder), on="case", how="left")
    rows = ordered.astype(object).where(ordered.notna(), None)
    return [str(column) for column in ordered.columns], rows.to_numpy().tolist()


def mean_scores(folder: Path) -> dict[str, float]:
    """Means over the cases where a metric is defined, by `<region>/<metric>`; those that no case defines are left out.

    Args:
        folder: of a run, or another with `metrics.csv`.
    """
    return {
        f"{region}/{metric}": float(mean)
        for region, by_metric in summarize(read_metrics(folder)).items()
        for metric, figures in by_metric.items()
        if (mean := figures["mean"]) is not None
    }
