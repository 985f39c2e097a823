"""Rows of a paper's table that can be set against each other: those scored on the same split of the same data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.reporting.measured import MeasuredRow, measured_rows
from kidney_lab.reporting.published import table_keys
from kidney_lab.reporting.published_scores import ScoreKey, read_published
from kidney_lab.reporting.runs import Run


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Rows of one table on one split of one dataset.

    Args:
        table: `<paper>/<table>`.
        data: name of the dataset, with the hash of the split where the report has several of them.
        rows: at least one, in the table's order.
        keys: scores of single cases that the table is about.
    """

    table: str
    data: str
    rows: list[MeasuredRow]
    keys: list[ScoreKey]

    @property
    def id(self) -> str:
        """Ends the anchors of the group's parts of the page."""
        return "-".join([*self.table.split("/"), *self.data.replace(",", "").split()])

    @property
    def runs(self) -> list[Run]:
        """Runs of all rows."""
        return [run for row in self.rows for run in row.runs]

    @property
    def synthesized(self) -> bool:
        """Whether images of any row are made up."""
        return any(row.synthesized for row in self.rows)


def row_groups(runs: Sequence[Run], experiments: Path) -> list[RowGroup]:
    """Sorts runs into tables and the data that they were scored on.

    Args:
        runs: of the report; those of no table, and those without scores yet, are left out.
        experiments: folder of the papers' folders.

    Returns:
        Groups, table by table. Rows are in the paper's order, and those that it lacks in that of the runs.
    """
    groups = []
    for table, measured in measured_rows(runs).items():
        paper, _, name = table.rpartition("/")
        published = read_published(experiments / paper / "published.json")
        names = [*(score.row for score in published if score.table == name), *(row.row for row in measured)]
        order = {row: place for place, row in enumerate(dict.fromkeys(names))}
        by_data: dict[tuple[str, str], list[MeasuredRow]] = {}
        for row in sorted(measured, key=lambda row: order[row.row]):
            by_data.setdefault((row.dataset, row.split), []).append(row)
        datasets = [dataset for dataset, _ in by_data]
        keys = [key for key in table_keys(table, experiments, measured) if key[2] == "case"]
        for (dataset, split), rows in by_data.items():
            data = dataset if datasets.count(dataset) == 1 else f"{dataset}, split {split}"
            groups.append(RowGroup(table, data, rows, keys))
    return groups
