"""A paper's table beside what was measured: numbers of `experiments/<paper>/published.json`, joined to runs by row."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from kidney_lab.reporting.accuracy_remark import accuracy_remark
from kidney_lab.reporting.best import Candidate, best_cells
from kidney_lab.reporting.consistency import POOLED
from kidney_lab.reporting.formatting import MISSING, decimal, mean_with_interval, words
from kidney_lab.reporting.human import HumanAgreement
from kidney_lab.reporting.measured import UNDEFINED_RULE
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.paper_metrics import GAINS, MEAN_DICE, SECONDS, TRAINING
from kidney_lab.reporting.paper_rows import PaperRow, PaperTable
from kidney_lab.reporting.published_checks import check_notes
from kidney_lab.reporting.published_scores import ScoreKey
from kidney_lab.reporting.row_runs import code_notes
from kidney_lab.reporting.sections import TableRow, TableSection, section_markdown
from kidney_lab.reporting.statistics import FROM, Interval
from kidney_lab.reporting.training_scores import training_scores

MEASURED: Final = "Measured [95% CI]"
MEDIAN: Final = "Median"
SPREAD: Final = "SD of runs"
HUMAN: Final = "Human [95% CI]"
N_TEXT: Final = 3
"""Columns of words: row, region and metric."""

_CAPTION: Final = f"Measured: mean over cases with its 95 % bootstrap interval, {FROM}; median: of the same cases."
_DIFFERENCE: Final = (
    " Difference: measured minus published. The paper scored cases of its own, so that there is no paired test of a "
    "difference."
)
_JACCARD: Final = " The Jaccard index of a case is that of its Dice, D / (2 - D), where it was not scored itself."
_NO_REGION: Final = " A score of no region is the mean over the regions whose Dice the table has."
_GAIN: Final = " A gain is the difference of two rows, of scores case by case, and not relative to either."
_SECONDS: Final = " The time per case is that of the machine that ran it."
_POOLED: Final = (
    " Pooled: of the voxels of all cases, where the mean weighs each case alike. A number of which the paper does not "
    "say which of the two it is stands beside both."
)
_TRAINING: Final = (
    " Accuracies and losses of training and validation are those of the epoch whose weights were kept, of several "
    "networks in one run, as in an ensemble, the mean of theirs."
)
_SEEDS: Final = (
    "Several runs (seeds) of a row are pooled by one rule: a score is averaged over the runs case by case, and the "
    f"mean and its interval are over the cases. {UNDEFINED_RULE} The interval says what other patients would change, "
    "and nothing of what other seeds would."
)
_SPREAD: Final = "SD of runs: the standard deviation of the runs' own means, which says what other seeds would change."
_UNREADABLE: Final = "not readable"

Column = Callable[[PaperRow, ScoreKey], str]


def published_markdown(sections: Sequence[TableSection]) -> str:
    """Writes the sections of papers' tables in Markdown."""
    lines = [line for section in sections for line in section_markdown(section)]
    return "\n".join(["# Measured beside published", "", *lines])


def published_section(table: PaperTable, human: HumanAgreement | None = None) -> TableSection:
    """Lays out one table, a line for each score of each row.

    Args:
        table: of a paper, or of our own, which has no columns of published numbers.
        human: how far annotators agree, a column where they were scored by one of the table's scores.
    """
    columns = _columns(table, human)
    rows: list[TableRow] = []
    candidates = []
    for row in table.rows:
        shown = [key for key in table.keys if key in row.measured or key in row.published]
        for index, key in enumerate(shown):
            cells = [column(row, key) for column in columns.values()]
            candidates.append(Candidate(len(rows), N_TEXT, cells[N_TEXT], cells[N_TEXT - 1], (key, row.data)))
            rows.append(TableRow("", None, cells, kind="" if index else "group"))
    return TableSection(
        id=f"published-{table.id}",
        title=f"{'Beside the paper' if table.published else 'Measured'}: {table.title}",
        caption=_caption(table),
        header=tuple(columns),
        rows=rows,
        notes=[
            *data_notes(table),
            *check_notes(table.contradictions),
            *dict.fromkeys(c.sentence for c in table.claims),
        ],
        explanations=[
            *seed_rule(table),
            *([_SPREAD] if SPREAD in columns else []),
            *human_rule(table, human if HUMAN in columns else None),
            *_accuracy(table),
        ],
        by_run=False,
        n_text=N_TEXT,
        best=best_cells(candidates),
    )


def _columns(table: PaperTable, human: HumanAgreement | None) -> dict[str, Column]:
    """Columns by their titles, without those in which every cell would be a dash."""
    columns: dict[str, Column] = {
        "Row": lambda row, key: row.title,
        "Region": lambda row, key: words(key[0]) if key[0] else "",
        "Metric": lambda row, key: metric_title(key[1], key[2]),
        MEASURED: lambda row, key: _mean(row.measured.get(key)),
        "Runs": lambda row, key: str(len(row.row.runs)) if row.row and key in row.measured else MISSING,
        "Cases": lambda row, key: _cases(row.measured.get(key)),
    }
    if table.published:
        columns["Published"] = published_cell
        columns["Difference"] = difference_cell
    if any(row.spread for row in table.rows):
        columns[SPREAD] = lambda row, key: decimal(row.spread.get(key))
    agreement = {} if human is None else human.scores(table.keys)
    if agreement:
        columns[HUMAN] = lambda row, key: _mean(agreement.get(key))
    if any(not math.isnan(interval.median) for row in table.rows for interval in row.measured.values()):
        columns[MEDIAN] = lambda row, key: decimal(row.measured[key].median) if key in row.measured else MISSING
    return columns


def published_cell(row: PaperRow, key: ScoreKey) -> str:
    """What a paper prints, with its marks in front: four decimals, which are two of a percentage; a rank is whole."""
    if key not in row.published:
        return MISSING
    value = row.published[key]
    if value is None:
        return f"{row.marks[key]}{_UNREADABLE}"
    return row.marks[key] + (str(value) if isinstance(value, int) else decimal(value, 4))


def difference_cell(row: PaperRow, key: ScoreKey) -> str:
    """By how much the measured mean is larger than the published one."""
    interval, value = row.measured.get(key), row.published.get(key)
    return MISSING if interval is None or value is None else f"{interval.mean - value:+.3f}"


def _mean(interval: Interval | None) -> str:
    return MISSING if interval is None else mean_with_interval(interval)


def _cases(interval: Interval | None) -> str:
    """Number of cases; what is measured of a network has none."""
    return str(interval.n) if interval is not None and interval.n else MISSING


def _caption(table: PaperTable) -> str:
    """What the numbers are, as far as the table has such."""
    metrics = {metric for _, metric, _ in table.keys}
    parts = {
        _DIFFERENCE: bool(table.published),
        _JACCARD: "jaccard" in metrics,
        _NO_REGION: any(region is None and level == "case" and name != MEAN_DICE for region, name, level in table.keys),
        _GAIN: not metrics.isdisjoint(GAINS),
        _SECONDS: SECONDS in metrics,
        _POOLED: any(level == POOLED for _, _, level in table.keys),
        _TRAINING: not metrics.isdisjoint(TRAINING),
    }
    return _CAPTION + "".join(sentence for sentence, needed in parts.items() if needed)


def seed_rule(table: PaperTable) -> list[str]:
    """The rule by which runs of a row are pooled, where there are several."""
    return [_SEEDS] if any(len(row.runs) > 1 for row in table.measured) else []


def human_rule(table: PaperTable, human: HumanAgreement | None) -> list[str]:
    """What the scores of annotators are, where there are such."""
    return [] if human is None else [human.words([run for row in table.measured for run in row.runs])]


def _accuracy(table: PaperTable) -> list[str]:
    return accuracy_remark(
        (metric for _, metric, _ in table.keys),
        [row.metrics for row in table.measured],
        table.published,
        [training_scores(run) for row in table.measured for run in row.runs],
    )


def data_notes(table: PaperTable) -> list[str]:
    """Sentences on measured data that are not the paper's, on runs that do not count, and on those of other code."""
    notes = []
    made_up = sorted({row.dataset for row in table.measured if row.synthesized})
    if made_up:
        to_paper = ", and its difference to the paper nothing about the method" if table.published else ""
        notes.append(
            f"SYNTHESIZED: the images of {', '.join(made_up)} are made up, so that what was measured on them says "
            f"nothing about patients{to_paper}."
        )
    others = sorted({row.dataset for row in table.measured if row.dataset != table.dataset and not row.synthesized})
    if table.dataset is not None and others:
        notes.append(
            f"The paper scored {table.dataset}: what was measured on {', '.join(others)} does not reproduce it."
        )
    return [*notes, *table.left_out, *code_notes([run for row in table.measured for run in row.runs])]
