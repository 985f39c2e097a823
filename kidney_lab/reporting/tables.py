"""The scores as tables: in the terminal and in Markdown."""

from collections.abc import Sequence
from typing import Final

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kidney_lab.reporting.formatting import decimal, mean_with_interval, words
from kidney_lab.reporting.provenance import (
    comparison_warnings,
    excluded_words,
    scored_part,
    split_words,
    validation_warning,
)
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import ScoreRow, cases_worst_first, score_rows
from kidney_lab.reporting.sections import TableSection, markdown_table, section_markdown

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
    lines += [line for sentence in (*validation_warning(runs), *comparison_warnings(runs)) for line in ("", sentence)]
    lines += ["", "Means over cases with 95 % bootstrap intervals; undefined values are left out.", ""]
    lines += [line for sentence in notes for line in (sentence, "")]
    cells = [[row.run, *score_cells(row)] for row in rows]
    lines += [*markdown_table(["Run", *score_header(rows)], cells, n_text=2), ""]
    return "\n".join([*lines, *(line for section in sections for line in section_markdown(section))])


def cases_markdown(runs: Sequence[Run]) -> str:
    """Writes every case's scores, run after run, worst first."""
    lines = ["# Scores by case", ""]
    for run in runs:
        wide = cases_worst_first(run.metrics)
        lines += [f"## {run.name}", "", *([_PHANTOM, ""] if run.synthesized else [])]
        if wide.empty:
            lines += [f"No {run.scored} scores.", ""]
            continue
        header = ["Case", *(f"{words(column[0])}, {words(column[1])}" for column in wide.columns)]
        cells = [[str(case), *map(decimal, values)] for case, values in zip(wide.index, wide.to_numpy(), strict=True)]
        lines += [*markdown_table(header, cells, n_text=1), ""]
    return "\n".join(lines)


_PHANTOM = "**Phantom data**: the images are synthesized, so that these scores say nothing about patients."


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
    return ", ".join(facts) + (f". {_PHANTOM}" if run.synthesized else "")
