"""Scores of the tumor by kind of case, such as by tumor size: small tumors are what methods miss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.metrics.strata import UNDEFINED, by_stratum
from kidney_lab.reporting.formatting import MISSING, mean_with_interval, words
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import Interval, bootstrap_interval

REGION: Final = "tumor"
METRICS: Final = ("dice", "surface_dice", "lesion_sensitivity")
"""What is shown of the tumor, as far as it was scored."""

_ABOUT: Final = {
    "size": "Size is the largest axial diameter of any tumor of the reference; 4 and 7 cm are the limits of the stages "
    "T1a and T1b.",
    "size_by_volume": "Size is the diameter of a ball of the volume of the reference's largest tumor.",
}


@dataclass(frozen=True)
class StratumScores:
    """Scores of one run over the cases of one stratum; intervals by metric."""

    run: str
    stratum: str
    n: int
    scores: dict[str, Interval]


def stratum_scores(runs: Sequence[Run], by: str) -> tuple[list[StratumScores], list[str]]:
    """Summarises the tumor's scores of the cases of each stratum.

    Args:
        runs: those without strata take no part, and neither do those whose strata lack cases, which are named.
        by: column of `strata.csv`, see `by_stratum`.

    Returns:
        Stratum by stratum in order of size, a row per run; and sentences on what is left out.

    Raises:
        InputError: the column is missing, or sorts no cases into strata.
    """
    scores, kinds, notes = [], [], []
    for run in runs:
        tumor = run.metrics[(run.metrics["region"] == REGION) & run.metrics["metric"].isin(METRICS)]
        if run.strata is None or tumor.empty:
            continue
        if missing := sorted(set(tumor["case"]) - set(run.strata["case"])):
            notes.append(f"The strata.csv of {run.name} lacks {len(missing)} scored cases, such as {missing[0]}.")
            continue
        try:
            by_stratum(tumor, run.strata, by)
        except InputError as error:
            raise InputError(f"by={by} does not fit the strata.csv of {run.name}: {error}") from error
        kind = run.strata.set_index("case")[by].astype(object)
        kinds.append(run.strata[["case", by]].astype(object).assign(case=f"{run.name}/" + run.strata["case"]))
        scores.append(tumor.assign(run=run.name, stratum=tumor["case"].map(kind.where(kind.notna(), UNDEFINED))))
    if not scores:
        return [], notes
    table = pd.concat(scores, ignore_index=True)
    unlike = table.assign(case=table["run"] + "/" + table["case"])  # runs may have strata of their own
    order = by_stratum(unlike, pd.concat(kinds, ignore_index=True), by)["stratum"].unique()
    found = [
        _summary(str(run), str(stratum), inside)
        for stratum in order
        for run, inside in table[table["stratum"] == stratum].groupby("run", sort=False)
    ]
    return found, notes


def _summary(run: str, stratum: str, inside: pd.DataFrame) -> StratumScores:
    scores = {
        metric: bootstrap_interval(values.to_numpy())
        for metric in METRICS
        if len(values := values_of(inside, REGION, metric))
    }
    return StratumScores(run, stratum, inside["case"].nunique(), scores)


def strata_section(
    rows: Sequence[StratumScores], runs: Sequence[Run], *, by: str, notes: Sequence[str]
) -> TableSection:
    """Lays the strata out; a metric that no run has gets no column."""
    color = {run.name: index for index, run in enumerate(runs)}
    shown = [metric for metric in METRICS if any(metric in row.scores for row in rows)]
    return TableSection(
        id="strata",
        title=f"Tumor scores by {'tumor size' if by == 'size' else words(by).lower()}",
        caption=f"{_ABOUT.get(by, '')} Means over cases with 95 % bootstrap intervals.".strip(),
        header=("Stratum", "Cases", *(f"{metric_title(metric)}, mean [95% CI]" for metric in shown)),
        rows=[
            TableRow(
                row.run,
                color[row.run],
                [
                    "no tumor" if row.stratum == UNDEFINED and by.startswith("size") else row.stratum,
                    str(row.n),
                    *(mean_with_interval(row.scores[metric]) if metric in row.scores else MISSING for metric in shown),
                ],
                kind="group" if index and row.stratum != rows[index - 1].stratum and len(runs) > 1 else "",
            )
            for index, row in enumerate(rows)
        ],
        notes=notes,
        by_run=len(runs) > 1,
    )
