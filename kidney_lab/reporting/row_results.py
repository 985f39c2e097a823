"""The rows of papers' tables as JSON in full precision: what their runs scored together, and what rows differ by."""

import json
import math
from collections.abc import Sequence
from typing import Any

from kidney_lab.reporting.comparison import holm
from kidney_lab.reporting.differences import judges
from kidney_lab.reporting.measured import MeasuredRow
from kidney_lab.reporting.row_differences import RowDifference, comparable_pairs, row_differences
from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.row_scores import row_scores, spread_of_runs
from kidney_lab.reporting.statistics import Interval


def rows_json(groups: Sequence[RowGroup]) -> str:
    """Writes down the rows of all groups, by the scores by which they are compared.

    Args:
        groups: of a report.

    Returns:
        JSON: `rows`, each with its runs and their pooled scores (mean, interval, median over the cases, standard
        deviation of the runs' own means); `row_differences`, whose p-values are corrected within a group. Undefined is
        null.
    """
    rows = [_row(group, row) for group in groups for row in group.rows]
    differences = []
    for group in groups:
        keys = [key for key in group.keys if judges(key[1])]
        found = row_differences(comparable_pairs(group)[0], keys)
        corrected = zip(
            *(holm([getattr(one.paired, test) for one in found]) for test in ("wilcoxon_p", "t_p")), strict=True
        )
        differences += [_difference(group, *one) for one in zip(found, corrected, strict=True)]
    return json.dumps({"rows": rows, "row_differences": differences}, indent=2, allow_nan=False) + "\n"


def _row(group: RowGroup, row: MeasuredRow) -> dict[str, Any]:
    scores = [
        {
            **_named(key[0], key[1]),
            **_interval(interval),
            "median": _number(interval.median),
            "sd_of_runs": _number(spread_of_runs(row, key, group.keys)),
        }
        for key, interval in row_scores(row, group.keys, group.rows).items()
    ]
    of_row = {"row": row.title, "runs": [run.name for run in row.runs], "synthesized": row.synthesized}
    return {"table": group.table, "data": group.data, **of_row, "scores": scores}


def _difference(group: RowGroup, found: RowDifference, corrected: tuple[float, ...]) -> dict[str, Any]:
    first, second = found.pair
    paired = found.paired
    tests = {name: _number(getattr(paired, name)) for name in ("wilcoxon_p", "t_p", "rank_biserial", "cohens_dz")}
    tests |= {"wilcoxon_p_holm": _number(corrected[0]), "t_p_holm": _number(corrected[1])}
    of_rows = {"table": group.table, "data": group.data, "row": first.title, "other": second.title}
    return {**of_rows, **_named(found.key[0], found.key[1]), **_interval(paired.difference), **tests}


def _named(region: str | None, metric: str) -> dict[str, Any]:
    return {"region": region, "metric": metric}


def _interval(interval: Interval) -> dict[str, Any]:
    limits = [_number(interval.low), _number(interval.high)]
    return {
        "mean": _number(interval.mean),
        "interval_95": limits,
        "n": interval.n,
        "n_undefined": interval.n_undefined,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
