"""The scores as tables: in the terminal and in Markdown."""

from collections.abc import Sequence
from typing import Final

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kidney_lab.reporting.best import Candidate, best_cells
from kidney_lab.reporting.case_table import case_table
from kidney_lab.reporting.comparability import first_difference
from kidney_lab.reporting.formatting import decimal, mean_with_interval, words
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.provenance import (
    comparison_warnings,
    excluded_words,
    made_up,
    scored_part,
    split_words,
    unscored_warning,
    validation_warning,
)
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import ScoreRow, cases_worst_first, score_rows
from kidney_lab.reporting.sections import TableRow, TableSection, markdown_table, section_markdown
from kidney_lab.reporting.statistics import FROM

_SURFACE: Final = "Surface Dice, mean [95% CI]"
MIN_WIDTHS: Final = {
    "Region": 15,
    "Dice, mean [95% CI]": 20,
    "Dice, median": 6,
    _SURFACE: 20,
    "Cases": 5,
    "Undefined": 9,
}
"""Columns of the table of scores, and how wide they are at least in a terminal."""


_MEANS: Final = f"Means over cases with 95 % bootstrap intervals, {FROM}; undefined values are left out."


def print_scores(frame: pd.DataFrame, *, title: str | None = None, console: Console | None = None) -> None:
    """Prints the scores of a set of cases, a row per region.

    Args:
        frame: tidy table `case,region,metric,value`.
        title: above the table: what was scored.
        console: to print to; standard output unless given.
    """
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    rows = score_rows({"": frame})
    for index, title in enumerate(score_header(rows)):
        # Headings may wrap in a narrow terminal, numbers and their intervals not.
        table.add_column(title, justify="left" if index == 0 else "right", no_wrap=False, min_width=MIN_WIDTHS[title])
    for row in rows:
        table.add_row(*score_cells(row))
    (console or Console()).print(table)


def score_header(rows: Sequence[ScoreRow]) -> list[str]:
    """Heads the columns of the table of scores: without surface Dice where no run was scored by it."""
    surface = not rows or any("surface_dice" in row.scores for row in rows)
    return [title for title in MIN_WIDTHS if surface or title != _SURFACE]


def score_cells(row: ScoreRow) -> list[str]:
    """Formats a row of scores under `score_header`."""
    dice, surface = row.scores["dice"], row.scores.get("surface_dice")
    return [
        words(row.region),
        mean_with_interval(dice.interval),
        decimal(dice.median),
        *([] if surface is None else [mean_with_interval(surface.interval)]),
        str(row.cases.n),
        str(row.cases.n_undefined),
    ]


def scores_section(rows: Sequence[ScoreRow], runs: Sequence[Run], *, notes: Sequence[str] = ()) -> TableSection:
    """Lays out the table of scores, a row per region and run.

    Args:
        rows: of the table; their runs may be others than `runs`, such as the annotators, which win nothing.
        runs: of the report.
        notes: sentences under the table's caption.
    """
    header, names = score_header(rows), {run.name for run in runs}
    cells = [score_cells(row) for row in rows]
    scored = [place for place, title in enumerate(header) if "Dice" in title]
    # Larger is better for both kinds of Dice; runs that were not scored alike win nothing.
    best = best_cells(
        Candidate(index, place, cells[index][place], metric_title("dice"), (row.region, place))
        for index, row in enumerate(rows)
        for place in scored
        if row.run in names
    )
    return TableSection(
        id="scores",
        title=f"Scores of the {scored_part(runs)} cases",
        caption=_MEANS,
        header=header,
        rows=[TableRow(row.run, None, line) for row, line in zip(rows, cells, strict=True)],
        notes=[*dict.fromkeys(_made_up(run).replace("*", "") for run in runs if run.synthesized), *notes],
        best=() if first_difference(runs) else best,
    )


def cases_section(runs: Sequence[Run]) -> TableSection | None:
    """Lays out every case's scores, a row per case and run, worst first; None without any score."""
    table = case_table(runs)
    if table is None:
        return None
    return TableSection(
        id="cases",
        title="Scores by case",
        caption="Worst first.",
        header=["Case", *(column.name for column in table.columns if column.number)],
        rows=[TableRow(row.run, None, [row.name, *map(decimal, row.values)]) for row in table.rows],
    )


def scores_markdown(
    rows: Sequence[ScoreRow], runs: Sequence[Run], *, notes: Sequence[str] = (), sections: Sequence[TableSection] = ()
) -> str:
    """Writes the table of scores, a row per region and run, under a line on each run.

    Args:
        rows: of the table; their runs may be others than `runs`, such as the annotators.
        runs: that are described.
        notes: sentences under the table's caption.
        sections: below it.

    Returns:
        Markdown.
    """
    lines = [f"# Scores of the {scored_part(runs)} cases", ""]
    lines += [f"- **{run.name}**: {_provenance(run)}" for run in runs]
    lines += [
        line
        for sentence in (*validation_warning(runs), *unscored_warning(runs), *comparison_warnings(runs))
        for line in ("", sentence)
    ]
    lines += ["", _MEANS, ""]
    lines += [line for sentence in notes for line in (sentence, "")]
    cells = [[row.run, *score_cells(row)] for row in rows]
    lines += [*markdown_table(["Run", *score_header(rows)], cells, n_text=2), ""]
    return "\n".join([*lines, *(line for section in sections for line in section_markdown(section))])


def cases_markdown(runs: Sequence[Run]) -> str:
    """Writes every case's scores, run after run, worst first."""
    lines = ["# Scores by case", ""]
    for run in runs:
        wide = cases_worst_first(run.metrics)
        lines += [f"## {run.name}", "", *([_made_up(run), ""] if run.synthesized else [])]
        if wide.empty:
            lines += [f"No {run.scored} scores.", ""]
            continue
        header = ["Case", *(f"{words(column[0])}, {words(column[1])}" for column in wide.columns)]
        cells = [[str(case), *map(decimal, values)] for case, values in zip(wide.index, wide.to_numpy(), strict=True)]
        lines += [*markdown_table(header, cells, n_text=1), ""]
    return "\n".join(lines)


_NO_PATIENTS: Final = "these scores say nothing about patients."


def _made_up(run: Run) -> str:
    return f"**{made_up(run).capitalize()}**: {_NO_PATIENTS}"


def _provenance(run: Run) -> str:
    if run.scores_only:
        return f"scores only, of {run.metrics['case'].nunique()} cases; what made the predictions is not recorded"
    record = run.record
    commit = (
        f"{str(record.get('commit') or 'unknown')[:12]}{' with uncommitted changes' if record.get('dirty') else ''}"
    )
    facts = [
        f"data {run.data.get('name', 'unknown')}",
        f"split {split_words(run.data)}",
        f"excluded: {excluded_words(run.data)}",
        f"seed {record.get('seed', 'unknown')}",
        f"commit {commit}",
        f"on {record.get('device', 'unknown hardware')}",
        f"status {record.get('status', 'unknown')}",
    ]
    return ", ".join(facts) + (f". {_made_up(run)}" if run.synthesized else "")
