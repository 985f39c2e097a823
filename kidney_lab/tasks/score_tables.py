"""The tables that `task=evaluate` and `task=agreement` print."""

from collections.abc import Mapping, Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kidney_lab.metrics.kits import METRICS
from kidney_lab.metrics.scoring import COUNTS, find_metric
from kidney_lab.metrics.strata import UNDEFINED, by_stratum
from kidney_lab.metrics.table import summarize
from kidney_lab.reporting.formatting import MISSING, decimal, words
from kidney_lab.reporting.tables import print_scores

_BY_SIZE = ("dice", "surface_dice", "lesion_sensitivity")


def print_all_scores(scores: pd.DataFrame, *, title: str | None = None) -> None:
    """Prints Dice and surface Dice, a row per region, and below them the other metrics, a column per region."""
    official = scores["metric"].isin(METRICS)
    if official.any():
        print_scores(scores[official], title=title)
    others = summarize(scores[~official])
    names = dict.fromkeys(metric for by_metric in others.values() for metric in by_metric if metric not in COUNTS)
    if names:
        rows = [
            [_with_unit(name), *(_mean_and_deviation(by_metric.get(name)) for by_metric in others.values())]
            for name in names
        ]
        print_table("Mean and standard deviation over cases", ["Metric", *map(words, others)], rows)


def _with_unit(name: str) -> str:
    metric = find_metric(name)
    return f"{name} (mm)" if metric is not None and metric.unit == "mm" else name


def _mean_and_deviation(summary: Mapping[str, float | int | None] | None) -> str:
    if summary is None:
        return MISSING
    undefined = f" ({summary['n_undefined']} undefined)" if summary["n_undefined"] else ""
    return f"{decimal(summary['mean'])} ± {decimal(summary['std'])}{undefined}"


def print_by_size(scores: pd.DataFrame, strata: pd.DataFrame) -> None:
    """Prints the scores of the tumor by its largest axial diameter; nothing where it was not scored."""
    tumor = scores[(scores["region"] == "tumor") & scores["metric"].isin(_BY_SIZE)]
    if tumor.empty:
        return
    table = by_stratum(tumor, strata, "size")
    shown = [metric for metric in _BY_SIZE if metric in set(table["metric"])]
    means = {(row["stratum"], row["metric"]): row["mean"] for row in table.to_dict("records")}
    rows = []
    for stratum, found in table.groupby("stratum", sort=False):
        name = "no tumor" if stratum == UNDEFINED else str(stratum)
        n = int(found["n"].iloc[0] + found["n_undefined"].iloc[0])
        rows.append([name, str(n), *(decimal(means[stratum, metric]) for metric in shown)])
    header = ["Tumor size", "Cases", *(f"{words(metric)}, mean" for metric in shown)]
    print_table("Scores of the tumor by its largest axial diameter", header, rows)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, texts to the left and numbers to the right."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
