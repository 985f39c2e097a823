"""A paper's table in the paper's own form: a line for each method, a column for each score."""

from typing import Final

from kidney_lab.reporting.best import Candidate, best_cells
from kidney_lab.reporting.formatting import MISSING, mean_with_interval, words
from kidney_lab.reporting.human import NAME, HumanAgreement
from kidney_lab.reporting.measured import MeasuredRow
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.paper_rows import PaperRow, PaperTable
from kidney_lab.reporting.published import data_notes, human_rule, published_cell, seed_rule
from kidney_lab.reporting.published_checks import check_notes
from kidney_lab.reporting.published_scores import ScoreKey
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM

N_TEXT: Final = 1
"""Columns of words: the row."""

_CAPTION: Final = f"Means over cases with 95 % bootstrap intervals, {FROM}."
_BESIDE: Final = " Behind each score that the paper prints stands its own number."


def paper_section(table: PaperTable, human: HumanAgreement | None = None) -> TableSection:
    """Lays out one table as the paper does.

    Args:
        table: of a paper, or of our own.
        human: how far annotators agree, a line below where they were scored by one of the table's scores.

    Returns:
        The table; the best measured values of a score, of runs on the same data, are its best cells.
    """
    shown = [key for key in table.keys if any(key in row.measured or key in row.published for row in table.rows)]
    printed = {key for row in table.rows for key in row.published}
    header, rows, candidates = ["Row", "Runs", "Cases"], list[TableRow](), list[Candidate]()
    for key in shown:
        header += [_score(key), *([f"{_score(key)}, published"] if key in printed else [])]
    for row in table.rows:
        cells = [row.title, *([MISSING] * 2 if row.row is None else _counts(row.row))]
        for key in shown:
            candidates.append(Candidate(len(rows), len(cells), _measured(row, key), _score(key), (key, row.data)))
            cells += [_measured(row, key), *([published_cell(row, key)] if key in printed else [])]
        rows.append(TableRow("", None, cells))
    agreement = {} if human is None else human.scores(shown)
    if human is not None and agreement:
        cells = [NAME, MISSING, str(human.frame["case"].nunique())]
        for key in shown:
            mean = mean_with_interval(agreement[key]) if key in agreement else MISSING
            cells += [mean, *([MISSING] if key in printed else [])]
        rows.append(TableRow("", None, cells, kind="group"))
    return TableSection(
        id=f"paper-{table.id}",
        title=f"{'As the paper has it' if table.published else 'In one table'}: {table.title}",
        caption=_CAPTION + (_BESIDE if printed else ""),
        header=header,
        rows=rows,
        notes=[
            *data_notes(table),
            *check_notes(table.contradictions),
            *dict.fromkeys(c.sentence for c in table.claims),
        ],
        explanations=[*seed_rule(table), *human_rule(table, human if agreement else None)],
        by_run=False,
        n_text=N_TEXT,
        best=best_cells(candidates),
    )


def _counts(row: MeasuredRow) -> list[str]:
    """Numbers of runs and of cases."""
    return [str(len(row.runs)), str(row.metrics["case"].nunique())]


def _score(key: ScoreKey) -> str:
    """Heads the column of a score.

    >>> _score(("tumor", "dice", "case"))
    'Tumor: Dice ↑'
    """
    region, metric, level = key
    return f"{words(region)}: {metric_title(metric, level)}" if region else metric_title(metric, level)


def _measured(row: PaperRow, key: ScoreKey) -> str:
    return mean_with_interval(row.measured[key]) if key in row.measured else MISSING
