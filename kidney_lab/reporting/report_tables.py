"""All tables of a report, in the order of its page."""

from collections.abc import Sequence

from kidney_lab.reporting.contents import Contents
from kidney_lab.reporting.overview import COST_HEADER, cost_rows, facts
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.tables import cases_section, scores_section


def report_tables(contents: Contents) -> list[TableSection]:
    """Gathers what is written as files of their own.

    Args:
        contents: of a report.

    Returns:
        What was run, the scores, papers' tables and the others, every case, and what every run cost.
    """
    runs = contents.runs
    cases = cases_section(runs)
    return [
        _runs_section(runs),
        scores_section(contents.rows, runs, notes=contents.notes),
        *contents.sections,
        *([cases] if cases is not None else []),
        _stage_costs_section(runs),
    ]


def _runs_section(runs: Sequence[Run]) -> TableSection:
    described = [facts(run) for run in runs]
    return TableSection(
        id="runs",
        title="What was run",
        caption="Data, split, seed, code and hardware of every run.",
        header=[name for name, _ in described[0]],
        rows=[TableRow(run.name, None, [value for _, value in own]) for run, own in zip(runs, described, strict=True)],
        n_text=len(described[0]),
    )


def _stage_costs_section(runs: Sequence[Run]) -> TableSection:
    return TableSection(
        id="cost",
        title="Cost by stage",
        caption=(
            "FLOPs are of one forward pass of the given input (twice the multiply-adds), those of a case of all its "
            "windows. Peak memory is that of the process."
        ),
        header=COST_HEADER,
        rows=[row for run in runs for row in cost_rows(run, 0)],
    )
