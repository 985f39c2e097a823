"""Whether one row of a paper's table is better than another: paired tests over cases, each row averaged over its runs.

More trainings are not more cases: a row's scores are averaged over them case by case, and how far they lie apart is
told beside the tests.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from kidney_lab.reporting.accuracy_remark import accuracy_remark
from kidney_lab.reporting.comparison import PairedComparison, compare_pair, family_words, holm
from kidney_lab.reporting.differences import apart, comparable, judges, score_title
from kidney_lab.reporting.formatting import decimal, p_value, signed_with_interval, words
from kidney_lab.reporting.measured import UNDEFINED_RULE, MeasuredRow, averaged, compared_rows
from kidney_lab.reporting.metric_words import ARROWS, metric_name
from kidney_lab.reporting.published_scores import ScoreKey
from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.row_runs import code_notes
from kidney_lab.reporting.row_scores import case_values
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM

HEADER: Final = (
    *("Rows", "Score", "Difference, mean [95% CI]", "Cases", "Runs"),
    *("Wilcoxon p (Holm)", "t-test p (Holm)", "Rank-biserial r", "Cohen's dz"),
)
N_TEXT: Final = 2
"""Columns of words under `HEADER`."""

_CAPTION: Final = (
    "The first row of each pair minus the second, case by case, with 95 % confidence intervals (bootstrap over cases, "
    "BCa; {start}); p of Wilcoxon's signed-rank test and of the paired t-test, two-sided, and in brackets corrected by "
    "Holm over {family}. Cases where either value is undefined are left out. {arrows}"
)
AVERAGED: Final = (
    f"A row's scores are averaged over its runs (seeds) case by case before they are compared. {UNDEFINED_RULE} "
    "Intervals and tests are over cases, not over trainings: they say what other patients might change, and nothing of "
    "what other seeds would."
)

RowPair = tuple[MeasuredRow, MeasuredRow]


@dataclass(frozen=True)
class RowDifference:
    """One score of two rows.

    Args:
        pair: rows, the first minus the second.
        key: of the score.
        paired: over the cases.
        wilcoxon_p_holm: the p-value of Wilcoxon's test, see `corrected`; NaN before.
        t_p_holm: that of the t-test.
    """

    pair: RowPair
    key: ScoreKey
    paired: PairedComparison
    wilcoxon_p_holm: float = np.nan
    t_p_holm: float = np.nan


def choose_pairs(group: RowGroup) -> list[tuple[str, str]]:
    """Names the rows that are compared.

    Args:
        group: of the rows.

    Returns:
        Every row with the baseline, if one was chosen; else pairs by `experiment.compare` of the runs; else every row
        with the table's first.
    """
    names = list(dict.fromkeys(row.row for row in group.rows))
    if group.baseline in names:
        return [(name, group.baseline) for name in names if name != group.baseline]
    return compared_rows(group.runs) or [(name, names[0]) for name in names[1:]]


def group_differences(group: RowGroup) -> tuple[list[RowDifference], list[str]]:
    """Compares the rows of a table.

    Args:
        group: of the rows.

    Returns:
        The differences of all pairs that can be compared, by the scores that judge; p-values are corrected over all of
        them. And sentences on the pairs that cannot be.
    """
    pairs, notes = comparable_pairs(group)
    return corrected(row_differences(pairs, _judging_keys(group))), notes


def corrected(found: Sequence[RowDifference]) -> list[RowDifference]:
    """The same differences with the p-values of each test corrected over all of them, see `holm`."""
    wilcoxon, t = (holm([getattr(one.paired, test) for one in found]).tolist() for test in ("wilcoxon_p", "t_p"))
    return [replace(one, wilcoxon_p_holm=p, t_p_holm=t_p) for one, p, t_p in zip(found, wilcoxon, t, strict=True)]


def row_differences(
    pairs: Iterable[RowPair], keys: Sequence[ScoreKey], *, cases: Collection[str] | None = None
) -> list[RowDifference]:
    """Compares rows case by case.

    Args:
        pairs: rows that were scored on the same cases.
        keys: scores, which are compared by their size where they are better near zero.
        cases: on which they are compared; None: all.

    Returns:
        Pair by pair the scores that both rows have; their p-values are not corrected.
    """
    found = []
    for pair in pairs:
        first, second = (averaged(comparable(table) for table in row.tables) for row in pair)
        for key in keys:
            values = pd.concat([case_values(first, key, keys), case_values(second, key, keys)], axis="columns")
            values = values if cases is None else values[values.index.isin(list(cases))]
            if values.notna().any().all():
                found.append(RowDifference(pair, key, compare_pair(values.iloc[:, 0], values.iloc[:, 1])))
    return found


def between_section(group: RowGroup) -> TableSection | None:
    """Lays out the differences between the rows of a table.

    Args:
        group: of the rows.

    Returns:
        The table, whose p-values are corrected together, and why rows are not in it; None where there are no two rows.
    """
    found, notes = group_differences(group)
    if len({row.row for row in group.rows}) < 2 or not (found or notes):
        return None
    rows = [
        TableRow("", None, difference_cells(one), kind="" if index and found[index - 1].pair == one.pair else "group")
        for index, one in enumerate(found)
    ]
    taking_part = {row for difference in found for row in difference.pair}
    return TableSection(
        id=f"between-{group.id}",
        title=f"Between the rows: {group.table} on {group.data}",
        caption=caption_of(found),
        header=HEADER,
        rows=rows,
        notes=[*synthesized_note(group), *notes, *(code_notes(group.runs) if found else [])],
        explanations=_explanations([row for row in group.rows if row in taking_part], group) if found else [],
        by_run=False,
        n_text=N_TEXT,
    )


def comparable_pairs(group: RowGroup) -> tuple[list[RowPair], list[str]]:
    """Pairs that can be compared, and sentences on those that cannot."""
    pairs: list[RowPair] = []
    notes: list[str] = []
    chosen, names = choose_pairs(group), {row.row for row in group.rows}
    if absent := [name for name in dict.fromkeys(name for pair in chosen for name in pair) if name not in names]:
        notes.append(f"Not compared, since the report has no scored runs of them on this data: {', '.join(absent)}.")
    for name, other in chosen:
        if not {name, other} <= names:
            continue
        both = [
            (row, base)
            for row in group.rows
            for base in group.rows
            if (row.row, base.row) == (name, other) and row.settings == base.settings
        ]
        if not both:
            notes.append(f"Not compared for want of runs with the same settings: {name} minus {other}.")
        for row, base in both:
            if sentence := _apart(row, base, [metric for _, metric, _ in group.keys]):
                notes.append(sentence)
            else:
                pairs.append((row, base))
    return pairs, list(dict.fromkeys(notes))


def _apart(row: MeasuredRow, other: MeasuredRow, metrics: Sequence[str]) -> str | None:
    """Sentence on the first run that cannot be compared with the others, if there is one."""
    first, *rest = [*other.runs, *row.runs]
    return next((sentence for run in rest if (sentence := apart(run, first, metrics))), None)


def caption_of(found: Sequence[RowDifference]) -> str:
    """Says what the cells of these differences are, and over how many their p-values are corrected."""
    family = family_words(*([getattr(one.paired, test) for one in found] for test in ("wilcoxon_p", "t_p")))
    return _CAPTION.format(start=FROM, family=family, arrows=ARROWS)


def difference_cells(difference: RowDifference) -> list[str]:
    """Formats a difference under `HEADER`."""
    row, other = difference.pair
    region, metric, _ = difference.key
    paired = difference.paired
    gap = paired.difference
    return [
        f"{row.title} minus {other.title}",
        score_title(region or "", metric),
        signed_with_interval(gap),
        f"{gap.n} of {gap.n + gap.n_undefined}",
        f"{len(row.runs)} and {len(other.runs)}",
        f"{p_value(paired.wilcoxon_p)} ({p_value(difference.wilcoxon_p_holm)})",
        f"{p_value(paired.t_p)} ({p_value(difference.t_p_holm)})",
        decimal(paired.rank_biserial, 2),
        decimal(paired.cohens_dz, 2),
    ]


def _judging_keys(group: RowGroup) -> list[ScoreKey]:
    return [key for key in group.keys if judges(key[1])]


def _explanations(rows: Sequence[MeasuredRow], group: RowGroup) -> list[str]:
    """Sentences under the table: what it is over, how far trainings lie apart, what pixel accuracy is worth."""
    keys = _judging_keys(group)
    remark = accuracy_remark((metric for _, metric, _ in keys), [row.metrics for row in rows])
    return [AVERAGED, *_spreads(rows, keys), *remark]


def _spreads(rows: Iterable[MeasuredRow], keys: Sequence[ScoreKey]) -> list[str]:
    """A sentence for each row that was trained more than once, on how far its trainings lie apart."""
    return [_spread(row, keys) for row in rows if len(row.runs) > 1] or [
        "Every row was trained once, so that nothing here tells what another seed would change."
    ]


def _spread(row: MeasuredRow, keys: Sequence[ScoreKey]) -> str:
    tables = [comparable(table) for table in row.tables]
    means = {key: pd.Series([case_values(table, key, keys).mean() for table in tables]).dropna() for key in keys}
    ranges = [
        f"{_name(region, metric)} {decimal(of_runs.min())} to {decimal(of_runs.max())}"
        for (region, metric, _), of_runs in means.items()
        if not of_runs.empty
    ]
    return f"Means of the {len(row.runs)} runs of {row.title}, smallest to largest: {'; '.join(ranges)}."


def _name(region: str | None, metric: str) -> str:
    return f"{words(region)}, {metric_name(metric)}" if region else metric_name(metric)


def synthesized_note(group: RowGroup, numbers: str = "differences") -> list[str]:
    """A sentence where images are made up: what such numbers do not say."""
    if not group.synthesized:
        return []
    return [f"SYNTHESIZED: the images of {group.data} are made up, so that these {numbers} say nothing about patients."]
