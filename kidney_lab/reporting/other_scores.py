"""The table of the scores beside Dice and surface Dice, where there are any."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from kidney_lab.metrics.kits import METRICS
from kidney_lab.reporting.formatting import decimal, mean_with_interval, words
from kidney_lab.reporting.metric_words import ARROWS, metric_title
from kidney_lab.reporting.scores import regions_of, score_of
from kidney_lab.reporting.sections import TableRow, TableSection

HEADER: Final = ("Score", "Mean [95% CI]", "Median", "Cases", "Undefined")


def other_scores_section(tables: Mapping[str, pd.DataFrame], color: Mapping[str, int]) -> TableSection | None:
    """Lays out every metric that is not in the table of scores: a row per region, metric and run that has it.

    Args:
        tables: for each run's name its tidy table `case,region,metric,value`.
        color: of the runs by name; annotators have none.

    Returns:
        The table; None without any such metric.
    """
    keys = dict.fromkeys(
        (str(region), str(metric))
        for frame in tables.values()
        for region, metric in frame[["region", "metric"]].drop_duplicates().itertuples(index=False)
        if metric not in METRICS
    )
    if not keys:
        return None
    place = {region: index for index, region in enumerate(regions_of(tables.values()))}
    in_order = sorted(keys, key=lambda key: place[key[0]])
    return TableSection(
        id="other-scores",
        title="Other scores",
        caption=f"Means over cases with 95 % bootstrap intervals; undefined values are left out and counted. {ARROWS}",
        header=HEADER,
        rows=[row for region, metric in in_order for row in _rows(tables, color, region, metric)],
        by_run=len(tables) > 1,
    )


def _rows(tables: Mapping[str, pd.DataFrame], color: Mapping[str, int], region: str, metric: str) -> list[TableRow]:
    having = [
        name for name, frame in tables.items() if ((frame["region"] == region) & (frame["metric"] == metric)).any()
    ]
    return [
        TableRow(name, color.get(name), _cells(tables[name], region, metric), kind="" if index else "group")
        for index, name in enumerate(having)
    ]


def _cells(frame: pd.DataFrame, region: str, metric: str) -> list[str]:
    score = score_of(frame, region, metric)
    interval = score.interval
    return [
        f"{words(region)}: {metric_title(metric)}",
        mean_with_interval(interval),
        decimal(score.median),
        str(interval.n),
        str(interval.n_undefined),
    ]
