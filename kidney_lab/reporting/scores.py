"""The table of scores: a row per run and region, and a row per case."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from kidney_lab.metrics.kits import METRICS
from kidney_lab.reporting.statistics import Interval, bootstrap_interval

DECISIVE: Final = ("tumor", "kidney", "kidney_and_mass", "mass", "cyst")
"""Regions by which cases are ranked: the first that was scored."""


@dataclass(frozen=True)
class Score:
    """A metric of one region over the cases: mean with interval, and median."""

    interval: Interval
    median: float


@dataclass(frozen=True)
class ScoreRow:
    """The scores of one region of one run.

    Args:
        run: name.
        region: name.
        scores: by metric, "dice" and, where any run was scored by it, "surface_dice".
    """

    run: str
    region: str
    scores: dict[str, Score]

    @property
    def cases(self) -> Interval:
        """Carries the numbers of defined and undefined values of Dice."""
        return self.scores["dice"].interval


def score_rows(tables: Mapping[str, pd.DataFrame]) -> list[ScoreRow]:
    """Summarises the scores of some runs.

    Args:
        tables: for each run's name its tidy table `case,region,metric,value`.

    Returns:
        A row per region and run, region after region so that runs can be compared.
    """
    metrics = shown_metrics(tables.values())
    return [
        ScoreRow(name, region, {metric: score_of(frame, region, metric) for metric in metrics})
        for region in regions_of(tables.values())
        for name, frame in tables.items()
    ]


def shown_metrics(frames: Iterable[pd.DataFrame]) -> list[str]:
    """The official metrics that the tables of scores show: Dice, and others that any run was scored by."""
    scored = {str(metric) for frame in frames for metric in frame["metric"].unique()}
    return [metric for metric in METRICS if metric == "dice" or metric in scored]


def regions_of(frames: Iterable[pd.DataFrame]) -> list[str]:
    """Regions that any of the tables scores, in order of appearance."""
    return list(dict.fromkeys(str(region) for frame in frames for region in frame["region"]))


def values_of(frame: pd.DataFrame, region: str, metric: str) -> "pd.Series[float]":
    """Values of one metric of one region, by case."""
    return frame[(frame["region"] == region) & (frame["metric"] == metric)].set_index("case")["value"]


def decisive_region(frame: pd.DataFrame) -> str | None:
    """Region by whose Dice the cases are ranked; None without any score."""
    scored = set(frame["region"])
    return next((region for region in (*DECISIVE, *sorted(scored)) if region in scored), None)


def cases_worst_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Puts each case in one row.

    Args:
        frame: tidy table `case,region,metric,value`.

    Returns:
        A row per case, ordered by Dice of the decisive region, undefined last; a column for each (region, metric).
    """
    region = decisive_region(frame)
    if region is None:
        return pd.DataFrame()
    columns = [(region, metric) for region in regions_of([frame]) for metric in shown_metrics([frame])]
    wide = frame.pivot_table(index="case", columns=["region", "metric"], values="value", dropna=False, sort=False)
    return wide.reindex(columns=pd.MultiIndex.from_tuples(columns)).sort_values((region, "dice"), kind="stable")


def score_of(frame: pd.DataFrame, region: str, metric: str) -> Score:
    """Summarises one metric of one region over the cases."""
    values = values_of(frame, region, metric)
    return Score(bootstrap_interval(values.to_numpy()), float(values.median()) if len(values) else np.nan)
