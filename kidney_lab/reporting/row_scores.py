"""The scores that a row of a paper's table has, measured: of cases, of networks, and gains over another row."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kidney_lab.reporting.derived_scores import network_costs
from kidney_lab.reporting.measured import MeasuredRow
from kidney_lab.reporting.paper_metrics import GAINS, MEAN_DICE
from kidney_lab.reporting.published_scores import ScoreKey
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.statistics import Interval, bootstrap_interval


def case_values(frame: pd.DataFrame, key: ScoreKey, keys: Sequence[ScoreKey]) -> "pd.Series[float]":
    """Values of one score of a table by case; none where it is no score of single cases.

    Args:
        frame: tidy table `case,region,metric,value`.
        key: of the score; `mean_dice`, and any metric of no region, is the mean over the regions whose Dice is among
            `keys`.
        keys: of the table.
    """
    region, metric, level = key
    if region is not None:
        return values_of(frame, region, metric)
    name = "dice" if metric == MEAN_DICE else metric
    parts = [values_of(frame, of, name) for of, other, at in keys if of and (other, at) == ("dice", level)]
    if not parts:
        return values_of(frame, "", metric)
    return pd.concat(parts, axis="columns").mean(axis="columns", skipna=False)


def row_scores(row: MeasuredRow, keys: Sequence[ScoreKey], table: Sequence[MeasuredRow]) -> dict[ScoreKey, Interval]:
    """Scores that the runs of a row have, among those of the table.

    Args:
        row: of the table.
        keys: of the table; what is of no cases has no interval and counts none.
        table: all its rows; those on the same split with the same settings are what a gain is measured over.

    Returns:
        Means with bootstrap intervals over cases; without those that the runs do not have.
    """
    found: dict[ScoreKey, Interval] = {}
    for key in keys:
        region, metric, level = key
        gain = GAINS.get(metric)
        if gain is None:
            interval = _score(row, key, keys)
        else:
            pair = [row if name is None else _beside(row, name, table) for name in (gain.of, gain.over)]
            interval = _gain(pair, (region, gain.metric, level), keys)
        if interval is not None:
            found[key] = interval
    return found


def _beside(row: MeasuredRow, name: str, table: Sequence[MeasuredRow]) -> MeasuredRow | None:
    """The row of that name whose runs differ from those of `row` by what the table says alone."""
    alike = (row.dataset, row.split, row.settings)
    others = [other for other in table if other.row == name and (other.dataset, other.split, other.settings) == alike]
    return others[0] if others else None


def _gain(pair: Sequence[MeasuredRow | None], key: ScoreKey, keys: Sequence[ScoreKey]) -> Interval | None:
    first, second = pair
    if first is None or second is None or first is second:
        return None
    if key[2] == "case":
        return _interval(case_values(first.metrics, key, keys) - case_values(second.metrics, key, keys))
    return _single(_cost(first, key[1]) - _cost(second, key[1]))


def _score(row: MeasuredRow, key: ScoreKey, keys: Sequence[ScoreKey]) -> Interval | None:
    if key[2] == "case":
        return _interval(case_values(row.metrics, key, keys))
    return None if key[0] else _single(_cost(row, key[1]))


def _cost(row: MeasuredRow, metric: str) -> float:
    """What a network costs, averaged over the runs; NaN for what is no cost."""
    return float(np.mean([network_costs(run).get(metric, np.nan) for run in row.runs]))


def _interval(values: "pd.Series[float]") -> Interval | None:
    return bootstrap_interval(values.to_numpy()) if values.notna().any() else None


def _single(value: float) -> Interval | None:
    return None if np.isnan(value) else Interval(value, np.nan, np.nan, n=0, n_undefined=0)
