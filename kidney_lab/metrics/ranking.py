"""The ranking of KiTS21 and KiTS23: rank, then aggregate.

The challenges' own code (neheller/kits21 and neheller/kits23, `evaluation/ranking.py`) averages Dice and surface Dice
over cases and regions, ranks the teams by either, averages the two ranks, and breaks ties by the Dice of the tumor.
The overview in KiTS21's repository speaks of six ranks, one for each region and metric; its code uses two, as here.
"""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.labels import OFFICIAL_REGIONS

_DECIMALS: Final = 8  # of the means over cases in the challenges' tables, by which teams are told apart
_METRICS: Final = ("dice", "surface_dice")
_COLUMNS: Final = pd.MultiIndex.from_product([OFFICIAL_REGIONS, _METRICS])


def rank_teams(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Ranks teams, methods or runs as KiTS21 and KiTS23 do.

    Teams with equal values share the better rank, and the next one is left out (1, 1, 3), for the two ranks as for the
    final one; teams whose tumor Dice is equal too stay tied.

    Args:
        scores: for each team its tidy table `case,region,metric,value` with the official regions' "dice" and
            "surface_dice" of every case; other rows are left out.

    Returns:
        Index `team`, best first; columns `rank` (int), `mean_rank`, `mean_dice`, `mean_surface_dice`, `tumor_dice`.

    Raises:
        InputError: if there is no team, a team lacks a score or has one twice, or the teams were scored on different
            cases.
    """
    if not scores:
        raise InputError("There is no team to rank: give at least one table of scores.")
    tables = {team: _by_case(team, frame) for team, frame in scores.items()}
    first, *others = tables
    for team in others:
        differing = tables[team].index.symmetric_difference(tables[first].index)
        if len(differing):
            raise InputError(
                f"{first} and {team} were not scored on the same cases ({differing[0]} is in one of them alone): rank "
                "teams on the cases that all of them have."
            )
    means = pd.DataFrame({team: table.mean() for team, table in tables.items()}).T.round(_DECIMALS)
    dice, surface_dice = (means[[(region, metric) for region in OFFICIAL_REGIONS]].mean(axis=1) for metric in _METRICS)
    tumor_dice = means["tumor", "dice"]
    mean_rank = (_ranks(dice) + _ranks(surface_dice)) / 2
    rank = mean_rank.rank(method="min") + tumor_dice.groupby(mean_rank).rank(method="min", ascending=False) - 1
    ranking = pd.DataFrame(
        {
            "rank": rank.astype(int),
            "mean_rank": mean_rank,
            "mean_dice": dice,
            "mean_surface_dice": surface_dice,
            "tumor_dice": tumor_dice,
        }
    )
    return ranking.rename_axis("team").sort_values("rank", kind="stable")


def _ranks(values: "pd.Series[float]") -> "pd.Series[float]":
    return values.rank(method="min", ascending=False)


def _by_case(team: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Scores of one team, one row per case and one column per (region, metric)."""
    official = frame[frame["region"].isin(OFFICIAL_REGIONS) & frame["metric"].isin(_METRICS)]
    keys = ["case", "region", "metric"]
    twice = official[official.duplicated(keys)]
    if len(twice):
        raise InputError(f"{team} has two values for {', '.join(twice.iloc[0][keys])}: keep one row for each score.")
    table = official.pivot(index="case", columns=["region", "metric"], values="value").reindex(columns=_COLUMNS)
    if table.empty or table.isna().any(axis=None):
        case = "any case" if table.empty else table.index[table.isna().any(axis=1)][0]
        raise InputError(
            f"{team} lacks an official score for {case}: score the regions {', '.join(OFFICIAL_REGIONS)} of all cases."
        )
    return table
