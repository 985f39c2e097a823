"""The rows of papers' tables as JSON in full precision: what their runs scored together, and what rows differ by."""

import json
from collections.abc import Sequence
from typing import Any

from kidney_lab.reporting.json_numbers import json_interval, json_number
from kidney_lab.reporting.measured import MeasuredRow
from kidney_lab.reporting.row_differences import RowDifference, group_differences
from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.row_scores import row_scores, spread_of_runs


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
    differences = [_difference(group, found) for group in groups for found in group_differences(group)[0]]
    return json.dumps({"rows": rows, "row_differences": differences}, indent=2, allow_nan=False) + "\n"


def _row(group: RowGroup, row: MeasuredRow) -> dict[str, Any]:
    scores = [
        {
            **_named(key[0], key[1]),
            **json_interval(interval),
            "median": json_number(interval.median),
            "sd_of_runs": json_number(spread_of_runs(row, key, group.keys)),
        }
        for key, interval in row_scores(row, group.keys, group.rows).items()
    ]
    of_row = {"row": row.title, "runs": [run.name for run in row.runs], "synthesized": row.synthesized}
    return {"table": group.table, "data": group.data, **of_row, "scores": scores}


def _difference(group: RowGroup, found: RowDifference) -> dict[str, Any]:
    first, second = found.pair
    tests = {name: getattr(found.paired, name) for name in ("wilcoxon_p", "t_p", "rank_biserial", "cohens_dz")}
    tests |= {"wilcoxon_p_holm": found.wilcoxon_p_holm, "t_p_holm": found.t_p_holm}
    numbers = json_interval(found.paired.difference) | {name: json_number(value) for name, value in tests.items()}
    of_rows = {"table": group.table, "data": group.data, "row": first.title, "other": second.title}
    return {**of_rows, **_named(found.key[0], found.key[1]), **numbers}


def _named(region: str | None, metric: str) -> dict[str, Any]:
    return {"region": region, "metric": metric}
