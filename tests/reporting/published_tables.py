"""The tables of papers that a report has, without the rest of it."""

from collections.abc import Sequence
from pathlib import Path

from kidney_lab.reporting.human import HumanAgreement
from kidney_lab.reporting.paper_rows import paper_tables
from kidney_lab.reporting.published import published_section
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.sections import TableSection


def published_sections(
    runs: Sequence[Run], experiments: Path, human: HumanAgreement | None = None
) -> list[TableSection]:
    """Every table that any of the runs is of, a line for each score."""
    return [published_section(table, human) for table in paper_tables(runs, experiments)]
