"""Rows of a paper's table that can be set against each other: those scored on the same split of the same data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.metrics.scoring import find_metric
from kidney_lab.reporting.measured import MeasuredRow, measured_rows
from kidney_lab.reporting.paper_metrics import GAINS, MEAN_DICE
from kidney_lab.reporting.paper_rows import table_keys
from kidney_lab.reporting.published_scores import ScoreKey, read_published
from kidney_lab.reporting.runs import Run


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Rows of one table on one split of one dataset.

    Args:
        table: `<paper>/<table>`.
        data: name of the dataset, with the hash of the split where the report has several of them.
        rows: at least one, in the table's order.
        keys: scores of single cases by which its rows are compared.
        baseline: row that the user chose to compare the others with; None, or one of another table: none.
    """

    table: str
    data: str
    rows: list[MeasuredRow]
    keys: list[ScoreKey]
    baseline: str | None = None

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


def compared_keys(keys: Iterable[ScoreKey]) -> list[ScoreKey]:
    """Scores by which rows are compared, of those that a table is about.

    Args:
        keys: of the table.

    Returns:
        Its scores of single cases, in the place of a gain the metric that it is of; before them Dice and the Jaccard
        index of their regions where no metric over all cases is among them.
    """
    found = dict.fromkeys(
        (region, GAINS[metric].metric if metric in GAINS else metric, level)
        for region, metric, level in keys
        if level == "case"
    )
    if any(find_metric(metric) or metric == MEAN_DICE for _, metric, _ in found):
        return list(found)
    regions = dict.fromkeys(region for region, _, _ in found if region)
    return [*((region, metric, "case") for region in regions for metric in ("dice", "jaccard")), *found]


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
        keys = compared_keys(table_keys(table, experiments, measured))
        for (dataset, split), rows in by_data.items():
            data = dataset if datasets.count(dataset) == 1 else f"{dataset}, split {split}"
            groups.append(RowGroup(table, data, rows, keys))
    return groups


def averaged_runs(groups: Iterable[RowGroup]) -> set[Path]:
    """Folders of the runs of those groups in which a row has several."""
    return {run.path for group in groups if any(len(row.runs) > 1 for row in group.rows) for run in group.runs}
