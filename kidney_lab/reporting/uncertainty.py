"""How unsure the members of an ensemble are of its answer, and whether its probabilities can be believed.

`uncertainty.csv` of a run has a row per case and region, see `kidney_lab.tasks.uncertainty`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.reporting.formatting import mean_with_interval, words
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM, bootstrap_interval

COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "variance_in_region": "Variance in the region",
        "variance_in_body": "Variance in the body",
        "entropy_in_region": "Entropy in the region (nats)",
        "entropy_in_body": "Entropy in the body (nats)",
        "uncertain_ml": "Uncertain volume (ml)",
        "ece": "Calibration error",
    }
)
"""Columns of the file and their titles."""


def uncertainty_section(runs: Sequence[Run]) -> TableSection | None:
    """Lays out the means over cases, region by region.

    Args:
        runs: of the report; those that wrote no uncertainty take no part.

    Returns:
        The table; None without any.

    Raises:
        InputError: a file is damaged.
    """
    tables = {index: _read(file) for index, run in enumerate(runs) if (file := run.path / "uncertainty.csv").is_file()}
    regions = dict.fromkeys(region for table in tables.values() for region in table["region"])
    rows = [
        TableRow(runs[index].name, index, [words(region), *_cells(table[table["region"] == region])])
        for region in regions
        for index, table in tables.items()
        if (table["region"] == region).any()
    ]
    if not rows:
        return None
    return TableSection(
        id="uncertainty",
        title="Uncertainty of the ensemble",
        caption=(
            "Variance of the members' probabilities and entropy of their mean, in what the ensemble marks and in the "
            "whole body; the volume where it is unsure; and how far its probabilities lie from how often they are "
            f"right (expected calibration error). Means over cases with 95 % bootstrap intervals, {FROM}."
        ),
        header=("Region", *(f"{title}, mean [95% CI]" for title in COLUMNS.values())),
        rows=rows,
        by_run=len(tables) > 1,
    )


def _read(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype={"case": str, "region": str})
    except (ValueError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{file} cannot be read: {error}; run the test phase again.") from error
    if missing := {"case", "region", *COLUMNS} - set(table.columns):
        raise InputError(f"{file} has no column {sorted(missing)[0]}: run the test phase again.")
    return table


def _cells(table: pd.DataFrame) -> list[str]:
    return [mean_with_interval(bootstrap_interval(table[column].to_numpy())) for column in COLUMNS]
