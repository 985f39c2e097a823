"""Rows of a paper's table by kind of case, each averaged over its runs: their scores, and the tests between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from kidney_lab.metrics.strata import UNDEFINED
from kidney_lab.reporting import row_differences as between
from kidney_lab.reporting.best import best_in_groups
from kidney_lab.reporting.measured import UNDEFINED_RULE, MeasuredRow
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.published_scores import ScoreKey
from kidney_lab.reporting.row_differences import RowDifference, RowPair, corrected, difference_cells, row_differences
from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.strata_tables import (
    REGION,
    StratumScores,
    empty_cells,
    rows_by_stratum,
    score_cells,
    shown_metrics,
    strata_caption,
    strata_words,
    stratum_of,
    stratum_scores,
)

COMPARED: Final[Sequence[ScoreKey]] = ((REGION, "dice", "case"), (REGION, "lesion_sensitivity", "case"))
"""By what rows are tested within a stratum; more scores would cost power."""

_AVERAGED: Final = f"A row's scores are averaged over its runs (seeds) case by case. {UNDEFINED_RULE}"
_FEW: Final = "A stratum may hold few cases: that a test finds nothing there is no sign that rows are alike."


@dataclass(frozen=True, eq=False)
class _Averaged:
    """A row as one table of scores."""

    name: str
    metrics: pd.DataFrame
    strata: pd.DataFrame | None


def row_strata_sections(group: RowGroup, by: str) -> list[TableSection]:
    """Lays out the scores of the tumor by stratum and row, and what rows differ by within a stratum.

    Args:
        group: rows on the same data.
        by: column of `strata.csv`, see `kidney_lab.metrics.strata.by_stratum`.

    Returns:
        One table; a second one where there are rows that can be compared; none where no row has strata.

    Raises:
        InputError: the column is missing, or sorts no cases into strata.
    """
    rows = [_Averaged(row.title, row.metrics, row.strata) for row in group.rows]
    scores, notes = stratum_scores(rows, by)
    if not scores and not notes:
        return []
    sections = [_scores_section(group, scores, by, notes)]
    found = _differences(group, scores, by)
    return [*sections, _differences_section(group, found, by)] if found else sections


def _scores_section(group: RowGroup, scores: Sequence[StratumScores], by: str, notes: Sequence[str]) -> TableSection:
    shown = shown_metrics(scores)
    n_runs = {row.title: str(len(row.runs)) for row in group.rows}
    rows = []
    for title, row, starts in rows_by_stratum(scores, by):
        if row is None:
            cells = [title, "", "0", "", *empty_cells(shown)]
        else:
            cells = [title, row.run, str(row.n), n_runs[row.run], *score_cells(row, shown)]
        rows.append(TableRow("", None, cells, kind="group" if starts else ""))
    header = ("Stratum", "Row", "Cases", "Runs", *(f"{metric_title(metric)}, mean [95% CI]" for metric in shown))
    best = best_in_groups([row.cells for row in rows], range(4, len(header)), lambda cells, column: header[column])
    return TableSection(
        id=f"strata-{group.id}",
        title=f"Tumor scores by {strata_words(by)}: {group.table} on {group.data}",
        caption=f"{strata_caption(by)} {_AVERAGED}",
        header=header,
        rows=rows,
        notes=[*between.synthesized_note(group, "scores"), *notes],
        by_run=False,
        n_text=2,
        best=best,
    )


def _differences(group: RowGroup, scores: Sequence[StratumScores], by: str) -> list[tuple[str, RowDifference]]:
    """Stratum by stratum the differences of those pairs that can be compared, p-values corrected over all of them."""
    pairs, _ = between.comparable_pairs(group)
    strata = dict.fromkeys(row.stratum for row in scores if row.stratum != UNDEFINED)
    having = {row.run for row in scores}
    tested = [pair for pair in pairs if {row.title for row in pair} <= having]
    found = [
        (stratum, difference)
        for stratum in strata
        for pair in tested
        for difference in row_differences([pair], COMPARED, cases=_cases_of(pair, stratum, by))
    ]
    together = corrected([difference for _, difference in found])
    return [(stratum, difference) for (stratum, _), difference in zip(found, together, strict=True)]


def _cases_of(pair: RowPair, stratum: str, by: str) -> set[str]:
    """Cases that are of the stratum by the first row's strata, which are those of the second: one split, one data."""
    names = _strata(pair[0], by)
    return set(names.index[names == stratum])


def _strata(row: MeasuredRow, by: str) -> "pd.Series[str]":
    return pd.Series(dtype=str) if row.strata is None else stratum_of(row.strata, by)


def _differences_section(group: RowGroup, found: Sequence[tuple[str, RowDifference]], by: str) -> TableSection:
    return TableSection(
        id=f"between-strata-{group.id}",
        title=f"Between the rows by {strata_words(by)}: {group.table} on {group.data}",
        caption=between.caption_of([difference for _, difference in found]),
        header=("Stratum", *between.HEADER),
        rows=[
            TableRow(
                "",
                None,
                [stratum, *difference_cells(difference)],
                kind="group" if index and stratum != found[index - 1][0] else "",
            )
            for index, (stratum, difference) in enumerate(found)
        ],
        notes=between.synthesized_note(group),
        explanations=[between.AVERAGED, _FEW],
        by_run=False,
        n_text=1 + between.N_TEXT,
    )
