"""The table of the scores beside Dice and surface Dice, where there are any."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from kidney_lab.metrics.kits import METRICS
from kidney_lab.metrics.pooled import pooled_scores
from kidney_lab.metrics.scoring import COUNTS
from kidney_lab.reporting.accuracy_remark import accuracy_remark
from kidney_lab.reporting.best import best_in_groups
from kidney_lab.reporting.formatting import decimal, mean_with_interval, words
from kidney_lab.reporting.metric_words import ARROWS, metric_title
from kidney_lab.reporting.scores import regions_of, score_of
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM

HEADER: Final = ("Score", "Mean [95% CI]", "Median", "Cases", "Undefined")
POOLED_HEADER: Final = ("Score", "Mean [95% CI]", "Median", "Pooled", "Cases", "Undefined")
"""Where voxels were counted."""

Key = tuple[str, str]
"""Region and metric."""

_POOLED: Final = " Pooled: of the voxels of all cases, where the mean weighs each case alike."


def other_scores_section(tables: Mapping[str, pd.DataFrame], color: Mapping[str, int]) -> TableSection | None:
    """Lays out every metric that is not in the table of scores: a row per region, metric and run that has it.

    Counts of voxels have no rows: what is made of them is shown pooled, beside its mean over cases.

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
        if metric not in METRICS and metric not in COUNTS
    )
    if not keys:
        return None
    place = {region: index for index, region in enumerate(regions_of(tables.values()))}
    in_order = sorted(keys, key=lambda key: place[key[0]])
    pooled = {name: found for name, frame in tables.items() if (found := pooled_scores(frame))}
    rows = [row for key in in_order for row in _rows(tables, color, key, pooled)]
    header = POOLED_HEADER if pooled else HEADER
    runs_only = [[""] * len(header) if row.color is None else row.cells for row in rows]  # annotators win nothing
    return TableSection(
        id="other-scores",
        title="Other scores",
        caption=(
            f"Means over cases with 95 % bootstrap intervals, {FROM}; undefined values are left out and counted."
            f"{_POOLED if pooled else ''} {ARROWS}"
        ),
        header=header,
        rows=rows,
        explanations=accuracy_remark((metric for _, metric in keys), list(tables.values())),
        by_run=len(tables) > 1,
        best=best_in_groups(runs_only, range(1, len(header) - 2), lambda cells, _: cells[0]),
    )


def _rows(
    tables: Mapping[str, pd.DataFrame], color: Mapping[str, int], key: Key, pooled: Mapping[str, Mapping[Key, float]]
) -> list[TableRow]:
    region, metric = key
    having = [
        name for name, frame in tables.items() if ((frame["region"] == region) & (frame["metric"] == metric)).any()
    ]
    return [
        TableRow(
            name,
            color.get(name),
            _cells(tables[name], key, [decimal(pooled.get(name, {}).get(key))] if pooled else []),
            kind="" if index else "group",
        )
        for index, name in enumerate(having)
    ]


def _cells(frame: pd.DataFrame, key: Key, pooled: list[str]) -> list[str]:
    region, metric = key
    score = score_of(frame, region, metric)
    interval = score.interval
    return [
        f"{words(region)}: {metric_title(metric)}",
        mean_with_interval(interval),
        decimal(score.median),
        *pooled,
        str(interval.n),
        str(interval.n_undefined),
    ]
