"""Runs as the rows of a paper's table: a run's configuration says which, by `experiment.table` and `experiment.row`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd
from omegaconf import OmegaConf

from kidney_lab.reporting.derived_scores import with_borders
from kidney_lab.reporting.runs import Run

_SAME_JOB: Final = ("seed=", "resume=", "data.root=", "prepare.root=", "hydra.", "logger")
"""Overrides by which runs of one row may differ and still be repetitions of it."""


@dataclass(frozen=True, eq=False)
class MeasuredRow:
    """Runs of one row on the same cases, which differ by their seeds at most.

    Args:
        row: published name of the row.
        runs: at least one, with scores.
        changes: overrides that other runs of the row do not have.
    """

    row: str
    runs: list[Run]
    changes: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        """Name of the data that was scored."""
        return str(self.runs[0].data.get("name"))

    @property
    def synthesized(self) -> bool:
        """Whether the images are made up."""
        return any(run.synthesized for run in self.runs)

    @property
    def metrics(self) -> pd.DataFrame:
        """The tidy table `case,region,metric,value` of the means over the runs; a run where it is undefined is none."""
        together = pd.concat([with_borders(run.metrics, run.strata) for run in self.runs])
        return together.groupby(["case", "region", "metric"], sort=False)["value"].mean().reset_index()


def experiment_of(run: Run) -> tuple[str, str] | None:
    """Names the table, as `<paper>/<table>`, and the row that a run is of; None for any other run."""
    config = OmegaConf.create(run.config)
    table, row = (OmegaConf.select(config, f"experiment.{key}") for key in ("table", "row"))
    return None if table is None or row is None else (str(table), str(row))


def measured_rows(runs: Sequence[Run]) -> dict[str, list[MeasuredRow]]:
    """Puts the runs of the same rows together.

    Args:
        runs: those of no table, and those without scores yet, are left out.

    Returns:
        Rows by table, in order of appearance. Runs of one row on other data, or with other overrides, are a row apart.
    """
    groups: dict[tuple[str, str, str, str, frozenset[str]], list[Run]] = {}
    for run in runs:
        experiment = experiment_of(run)
        if experiment is not None and not run.metrics.empty:
            data = (str(run.data.get("name")), str(run.data.get("split_hash")))
            groups.setdefault((*experiment, *data, _overrides(run)), []).append(run)
    tables: dict[str, list[MeasuredRow]] = {}
    for (table, row, *_, overrides), together in groups.items():
        common = frozenset.intersection(*(key[-1] for key in groups if key[:2] == (table, row)))
        tables.setdefault(table, []).append(MeasuredRow(row, together, tuple(sorted(overrides - common))))
    return tables


def _overrides(run: Run) -> frozenset[str]:
    overrides = [str(override) for override in run.record.get("overrides") or []]
    return frozenset(override for override in overrides if not override.startswith(_SAME_JOB))
