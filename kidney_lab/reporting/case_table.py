"""The sortable table of every case of every run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import cases_worst_first, decisive_region, regions_of, shown_metrics


@dataclass(frozen=True)
class CaseColumn:
    """A heading; `sorted` marks the column by which the rows are ordered at first."""

    name: str
    number: bool
    sorted: bool = False


@dataclass(frozen=True)
class CaseRow:
    """Scores of one case, NaN where undefined or not scored."""

    run: str
    color: int
    name: str
    values: tuple[float, ...]

    @property
    def cells(self) -> list[tuple[str, str]]:
        """For every value what is sorted by, empty if undefined, and what is shown."""
        return [("" if np.isnan(value) else repr(value), decimal(value)) for value in self.values]


@dataclass(frozen=True)
class CaseTable:
    """Rows worst first, by Dice of the region `decisive`; undefined ones last."""

    decisive: str
    columns: list[CaseColumn]
    rows: list[CaseRow]


def case_table(runs: Sequence[Run]) -> CaseTable | None:
    """Puts the cases of all runs into one table; None without any score."""
    scored = [(color, run) for color, run in enumerate(runs) if not run.metrics.empty]
    if not scored:
        return None
    frames = [run.metrics for _, run in scored]
    keys = [(region, metric) for region in regions_of(frames) for metric in shown_metrics(frames)]
    decisive = str(decisive_region(scored[0][1].metrics))
    rows = []
    for color, run in scored:
        wide = cases_worst_first(run.metrics).reindex(columns=keys)
        for case, values in zip(wide.index, wide.to_numpy(dtype=float), strict=True):
            rows.append(CaseRow(run.name, color, str(case), tuple(float(value) for value in values)))
    at = keys.index((decisive, "dice"))
    rows.sort(key=lambda row: np.nan_to_num(row.values[at], nan=np.inf))
    columns = [CaseColumn("Case", number=False)]
    columns += [CaseColumn(_title(key), number=True, sorted=index == at) for index, key in enumerate(keys)]
    if len(runs) > 1:
        columns.insert(0, CaseColumn("Run", number=False))
    return CaseTable(words(decisive).lower(), columns, rows)


def _title(key: tuple[str, str]) -> str:
    region, metric = key
    return f"{words(region)}: {words(metric)}"
