"""The scores that a row of a paper's table has, measured: of cases, pooled, of networks, of trainings, and gains."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kidney_lab.metrics.pooled import case_counts, of_counts
from kidney_lab.reporting.consistency import POOLED
from kidney_lab.reporting.derived_scores import network_costs
from kidney_lab.reporting.measured import MeasuredRow
from kidney_lab.reporting.paper_metrics import GAINS, MEAN_DICE
from kidney_lab.reporting.published_scores import ScoreKey
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.statistics import Interval, bootstrap_interval, pooled_interval
from kidney_lab.reporting.training_scores import training_scores


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
        keys: of the table; what is of no cases has no interval and counts none. Pooled are the voxels of all cases, of
            several runs the means of their counts.
        table: all its rows; those on the same split with the same settings are what a gain is measured over.

    Returns:
        Means, or pooled scores, with bootstrap intervals over cases; without those that the runs do not have.
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


def spread_of_runs(row: MeasuredRow, key: ScoreKey, keys: Sequence[ScoreKey]) -> float:
    """Standard deviation (ddof = 1) of what each run of a row reaches by itself.

    Args:
        row: of the table.
        key: of the score.
        keys: of the table.

    Returns:
        The deviation of the means over the defined cases, or of the pooled scores; NaN with fewer than two runs that
        have one, and for gains, which are of two rows.
    """
    region, metric, level = key
    if metric in GAINS:
        return np.nan
    if level == "case":
        values = [float(case_values(table, key, keys).mean()) for table in row.tables]
    elif level == POOLED and region:
        counts = [case_counts(table, region).to_numpy() for table in row.tables]
        values = [float(of_counts(found.sum(axis=0), metric)) for found in counts if len(found)]
    else:
        values = [] if region else _by_run(row, metric)
    defined = [value for value in values if not np.isnan(value)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else np.nan


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
    return _single(_of_runs(first, key[1]) - _of_runs(second, key[1]))


def _score(row: MeasuredRow, key: ScoreKey, keys: Sequence[ScoreKey]) -> Interval | None:
    region, metric, level = key
    if level == "case":
        return _interval(case_values(row.metrics, key, keys))
    if level == POOLED and region:
        counts = case_counts(row.metrics, region)
        return None if counts.empty else pooled_interval(counts.to_numpy(), metric)
    return None if region else _single(_of_runs(row, metric))


def _of_runs(row: MeasuredRow, metric: str) -> float:
    """What a network costs or its training reached, averaged over the runs; NaN for what is neither."""
    return float(np.mean(_by_run(row, metric)))


def _by_run(row: MeasuredRow, metric: str) -> list[float]:
    return [{**network_costs(run), **training_scores(run)}.get(metric, np.nan) for run in row.runs]


def _interval(values: "pd.Series[float]") -> Interval | None:
    return bootstrap_interval(values.to_numpy()) if values.notna().any() else None


def _single(value: float) -> Interval | None:
    return None if np.isnan(value) else Interval(value, np.nan, np.nan, n=0, n_undefined=0)
