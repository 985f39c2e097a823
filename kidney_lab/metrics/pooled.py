"""Pooled scores: the voxels of all cases counted as if they were one, where the mean over cases weighs each case alike.

Papers often do not say which of the two they print. They differ, since a large kidney weighs more when voxels are
pooled. The voxels of scans of unequal spacing weigh alike. What is needed of every case are its four counts, the
metrics `COUNTS`: they stand in `metrics.csv` like any other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kidney_lab.metrics.overlap import Confusion
from kidney_lab.metrics.scoring import COUNTS, METRIC_TABLE


def case_counts(frame: pd.DataFrame, region: str) -> "pd.DataFrame":
    """Finds the counts of voxels of a region, case by case.

    Args:
        frame: tidy table `case,region,metric,value`.
        region: name.

    Returns:
        A row per case, the columns `COUNTS`; empty where a count was not scored, or not of every case.
    """
    counted = frame[(frame["region"] == region) & frame["metric"].isin(COUNTS)]
    table = counted.pivot_table(index="case", columns="metric", values="value", sort=False).reindex(columns=COUNTS)
    return table.iloc[:0] if table.isna().any(axis=None) else table


def pooled_scores(frame: pd.DataFrame) -> Mapping[tuple[str, str], float]:
    """Scores every region by the sum of its cases' counts.

    Args:
        frame: tidy table `case,region,metric,value`.

    Returns:
        For each (region, metric) of the table that is made of counts its pooled value, NaN where undefined; none of a
        region whose counts are not in the table.

    >>> rows = [("a", "tumor", name, value) for name, value in zip(COUNTS, (1, 0, 1, 8))]
    >>> rows += [("b", "tumor", name, value) for name, value in zip(COUNTS, (8, 0, 0, 2))]
    >>> frame = pd.DataFrame([*rows, ("a", "tumor", "jaccard", 0.5)], columns=["case", "region", "metric", "value"])
    >>> dict(pooled_scores(frame))  # 9 / 10, beside a mean over cases of 0.75
    {('tumor', 'jaccard'): 0.9}
    """
    found: dict[tuple[str, str], float] = {}
    for region, metrics in frame.groupby("region", sort=False)["metric"]:
        counts = case_counts(frame, str(region)).to_numpy()
        if len(counts):
            for name in metrics.unique():
                if name in METRIC_TABLE and METRIC_TABLE[name].of_counts is not None:
                    found[str(region), str(name)] = float(of_counts(counts.sum(axis=0), str(name)))
    return found


def of_counts(counts: NDArray[Any], metric: str) -> NDArray[np.float64]:
    """Values of a metric.

    Args:
        counts: `(..., 4)`, the last axis in the order of `COUNTS`.
        metric: name of one that is made of counts.

    Returns:
        One for each four counts, `(...)`; NaN where undefined.

    Raises:
        ValueError: the metric is not made of counts.
    """
    function = METRIC_TABLE[metric].of_counts
    if function is None:
        raise ValueError(f"{metric} is not made of counts of voxels")
    values = [function(Confusion(*four)) for four in counts.reshape(-1, len(COUNTS)).tolist()]
    return np.array(values, dtype=float).reshape(counts.shape[:-1])
