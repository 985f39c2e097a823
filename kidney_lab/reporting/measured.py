"""Runs as the rows of a paper's table: a run's configuration says which, by `experiment.table` and `experiment.row`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pandas as pd
from omegaconf import OmegaConf

from kidney_lab.composition.row_pairs import row_pairs
from kidney_lab.reporting.derived_scores import with_borders, with_small_tumors
from kidney_lab.reporting.row_runs import RowKey, choose_runs, row_key
from kidney_lab.reporting.runs import Run

UNDEFINED_RULE: Final = "What is undefined for a case in any run of a row is undefined for that case of the row."
"""How `averaged` treats undefined values, in words."""


@dataclass(frozen=True, eq=False)
class MeasuredRow:
    """Runs of one row on the same cases, which differ by their seeds at most.

    Args:
        row: published name of the row.
        runs: at least one, with scores.
        changes: overrides that other runs of the row do not have.
        settings: overrides that this row shares with some runs of a row of the table and not with others of that row;
            rows with unequal ones differ by more than the table says.
    """

    row: str
    runs: list[Run]
    changes: tuple[str, ...] = ()
    settings: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """Name of the row, with what sets these runs of it apart."""
        return f"{self.row} ({', '.join(self.changes)})" if self.changes else self.row

    @property
    def dataset(self) -> str:
        """Name of the data that was scored."""
        return str(self.runs[0].data.get("name"))

    @property
    def split(self) -> str:
        """Hash of the split of the data."""
        return str(self.runs[0].data.get("split_hash"))

    @property
    def strata(self) -> pd.DataFrame | None:
        """What kind of case each case is, by the first run that says it; None where none does."""
        return next((run.strata for run in self.runs if run.strata is not None), None)

    @property
    def synthesized(self) -> bool:
        """Whether the images are made up."""
        return any(run.synthesized for run in self.runs)

    @cached_property
    def tables(self) -> list[pd.DataFrame]:
        """The tidy table `case,region,metric,value` of each run, with what follows from its scores and strata."""
        return [with_small_tumors(with_jaccard(with_borders(run.metrics, run.strata)), run.strata) for run in self.runs]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The tidy table `case,region,metric,value` of the means over the runs."""
        return averaged(self.tables)


def averaged(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Averages scores case by case.

    What is undefined in any table stays undefined: a run that misses a tumor, so that no distance is defined, would
    else take the distances of those that found it.

    Args:
        tables: tidy, `case,region,metric,value`; a score that one does not have at all is the mean of the others'.

    Returns:
        One such table.
    """
    values = pd.concat(tables).groupby(["case", "region", "metric"], sort=False)["value"]
    return values.mean().where(values.count() == values.size()).reset_index()


def with_jaccard(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds the Jaccard index where it was not scored, from Dice of the same case and region: `D / (2 - D)`.

    Both count the same voxels, so that this holds for every case, and for no mean over cases. Where both masks are
    empty it is 1, as Dice is by the challenges' rule.

    Args:
        frame: tidy table `case,region,metric,value`.
    """
    if frame["metric"].eq("jaccard").any():
        return frame
    dice = frame[frame["metric"] == "dice"]
    return pd.concat([frame, dice.assign(metric="jaccard", value=dice["value"] / (2 - dice["value"]))])


def runs_by_table(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Sorts runs by the table that they are of; those of none are left out."""
    tables: dict[str, list[Run]] = {}
    for run in runs:
        if run.experiment:
            tables.setdefault(run.experiment[0], []).append(run)
    return tables


def compared_rows(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """Pairs of rows that runs of one table were started to compare, by `experiment.compare`, each once.

    Raises:
        InputError: a run's configuration does not name pairs there.
    """
    pairs = []
    for run in runs:
        node = OmegaConf.select(run.settings, "experiment.compare")
        pairs += row_pairs(OmegaConf.to_container(node) if OmegaConf.is_config(node) else node)
    return list(dict.fromkeys(pairs))


def measured_rows(runs: Sequence[Run]) -> dict[str, list[MeasuredRow]]:
    """Puts the runs of the same rows together.

    Args:
        runs: of a report; `choose_runs` says which of them count.

    Returns:
        Rows by table, in order of appearance. Runs of one row on other data, or with other overrides, are a row apart.
    """
    groups: dict[RowKey, list[Run]] = {}
    for run in choose_runs(runs)[0]:
        if key := row_key(run):
            groups.setdefault(key, []).append(run)
    changes = {
        key: key[-1] - frozenset.intersection(*(other[-1] for other in groups if other[:2] == key[:2]))
        for key in groups
    }
    tables: dict[str, list[MeasuredRow]] = {}
    for key, together in groups.items():
        table, row, overrides = key[0], key[1], key[-1]
        settings = overrides & frozenset().union(*(own for other, own in changes.items() if other[0] == table))
        tables.setdefault(table, []).append(MeasuredRow(row, together, tuple(sorted(changes[key])), settings))
    return tables
