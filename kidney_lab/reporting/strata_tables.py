"""Scores of the tumor by kind of case, such as by tumor size: small tumors are what methods miss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.metrics.strata import STRATA, UNDEFINED, by_stratum
from kidney_lab.reporting.best import best_in_groups
from kidney_lab.reporting.formatting import MISSING, mean_with_interval, words
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM, Interval, bootstrap_interval

REGION: Final = "tumor"
METRICS: Final = ("dice", "surface_dice", "lesion_sensitivity")
"""What is shown of the tumor, as far as it was scored."""

EMPTY: Final = "no case in this stratum"

_SIZE: Final = "Size is the largest axial diameter of any tumor of the reference"
_ABOUT: Final = {
    "size": ("tumor size", f"{_SIZE}; 4 and 7 cm are the limits of the stages T1a and T1b."),
    "size_by_volume": (
        "size by volume",
        "Size is the diameter of a ball of the volume of the reference's largest tumor.",
    ),
    "under_10_mm": ("tumor size", f"{_SIZE}."),
    "under_2_cm": ("tumor size", f"{_SIZE}."),
    "under_10_cm3": ("tumor volume", "Volume is that of all tumors of the reference together."),
}
"""Columns in words, and what they measure."""


class Scored(Protocol):
    """Scores with the strata of their cases: a run, or the rows of a table."""

    @property
    def name(self) -> str:
        """What the scores are called in the report."""

    @property
    def metrics(self) -> pd.DataFrame:
        """The tidy table `case,region,metric,value`."""

    @property
    def strata(self) -> pd.DataFrame | None:
        """The table `strata.csv`; None where there is none."""


@dataclass(frozen=True)
class StratumScores:
    """Scores of one run over the cases of one stratum, which is named in words; intervals by metric."""

    run: str
    stratum: str
    n: int
    scores: dict[str, Interval]


def stratum_scores(runs: Sequence[Scored], by: str) -> tuple[list[StratumScores], list[str]]:
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
        kinds.append(run.strata[["case", by]].astype(object).assign(case=f"{run.name}/" + run.strata["case"]))
        scores.append(tumor.assign(run=run.name, stratum=tumor["case"].map(stratum_of(run.strata, by))))
    if not scores:
        return [], notes
    table = pd.concat(scores, ignore_index=True)
    unlike = table.assign(case=table["run"] + "/" + table["case"])  # runs may have strata of their own
    order = by_stratum(unlike, pd.concat(kinds, ignore_index=True), by)["stratum"].unique()
    names = dict.fromkeys([*STRATA.get(by, {}).values(), *(stratum_name(by, stratum) for stratum in order)])
    found = [
        _summary(str(run), str(stratum), inside)
        for stratum in names
        for run, inside in table[table["stratum"] == stratum].groupby("run", sort=False)
    ]
    return found, notes


def stratum_of(strata: pd.DataFrame, by: str) -> "pd.Series[str]":
    """Names the stratum of every case, by case; `UNDEFINED` where the column says none."""
    kind = strata.set_index("case")[by].astype(object)
    return kind.where(kind.notna(), UNDEFINED).map(lambda value: stratum_name(by, value))


def stratum_name(by: str, value: bool | str) -> str:
    """Names a value of a column of `strata.csv` in words.

    >>> stratum_name("under_10_mm", True), stratum_name("histology", "clear cell"), stratum_name("size", UNDEFINED)
    ('under 10 mm', 'clear cell', 'undefined')
    """
    return STRATA.get(by, {}).get(value, str(value))


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
    shown = shown_metrics(rows)
    header = ("Stratum", "Cases", *(f"{metric_title(metric)}, mean [95% CI]" for metric in shown))
    lines = [
        TableRow(
            row.run if row else "",
            color[row.run] if row else None,
            [title, *([str(row.n), *score_cells(row, shown)] if row else ["0", *empty_cells(shown)])],
            kind="group" if starts and len(runs) > 1 else "",
        )
        for title, row, starts in rows_by_stratum(rows, by)
    ]
    return TableSection(
        id="strata",
        title=f"Tumor scores by {strata_words(by)}",
        caption=strata_caption(by),
        header=header,
        rows=lines,
        notes=notes,
        by_run=len(runs) > 1,
        best=best_in_groups([line.cells for line in lines], range(2, len(header)), lambda _, column: header[column]),
    )


def rows_by_stratum(rows: Sequence[StratumScores], by: str) -> Iterator[tuple[str, StratumScores | None, bool]]:
    """Goes through the strata in the order of tables, those without any case among them.

    Yields:
        Title of a stratum; a row of it, or None where it has none; whether another stratum than before begins.
    """
    known = list(STRATA.get(by, {}).values()) if rows else []
    for place, stratum in enumerate(dict.fromkeys([*known, *(row.stratum for row in rows)])):
        title = "no tumor" if stratum == UNDEFINED and by.startswith(("size", "under_")) else stratum
        for index, row in enumerate([row for row in rows if row.stratum == stratum] or [None]):
            yield title, row, bool(place) and not index


def shown_metrics(rows: Sequence[StratumScores]) -> list[str]:
    """Metrics that any row has."""
    return [metric for metric in METRICS if any(metric in row.scores for row in rows)]


def score_cells(row: StratumScores, shown: Sequence[str]) -> list[str]:
    """Means with intervals, a dash for what the row has not."""
    return [mean_with_interval(row.scores[metric]) if metric in row.scores else MISSING for metric in shown]


def empty_cells(shown: Sequence[str]) -> list[str]:
    """What stands in the place of `score_cells` of a stratum without any case."""
    return [EMPTY, *[MISSING] * (len(shown) - 1)]


def strata_words(by: str) -> str:
    """What a column of `strata.csv` sorts the cases by.

    >>> strata_words("under_10_cm3"), strata_words("cyst_present")
    ('tumor volume', 'cyst present')
    """
    return _ABOUT[by][0] if by in _ABOUT else words(by).lower()


def strata_caption(by: str) -> str:
    """Says what a column measures, and what the numbers of its table are."""
    return f"{_ABOUT[by][1] if by in _ABOUT else ''} Means over cases with 95 % bootstrap intervals, {FROM}.".strip()
