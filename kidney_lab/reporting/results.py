"""The results of some runs as one JSON file: what an experiment keeps beside the paper's numbers."""

import json
import math
from typing import Any

from kidney_lab.reporting.contents import Contents
from kidney_lab.reporting.differences import Differences
from kidney_lab.reporting.json_numbers import json_interval, json_number
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import ScoreRow, score_rows
from kidney_lab.reporting.statistics import Interval
from kidney_lab.reporting.strata_tables import REGION, StratumScores

KEPT = (
    "overrides",
    "config_hash",
    "commit",
    "dirty",
    "metrics_version",
    "seed",
    "device",
    "precision",
    "versions",
    "wall_time_s",
    "stages",
    "cost_per_case",
)
"""What is kept of a run's record; its paths are not, since they mean nothing elsewhere."""

_OF_THE_MACHINE = ("data.root=", "prepare.root=", "hydra.")
_DIGITS = 6
_TESTS = ("wilcoxon_p", "wilcoxon_p_holm", "t_p", "t_p_holm", "rank_biserial", "cohens_dz")


def results_json(contents: Contents) -> str:
    """Writes down every run with its provenance and its scores.

    Args:
        contents: of the report.

    Returns:
        JSON: a list of runs; a score that is undefined is null. A run of several stages has their scores, as
        `earlier`; one that was compared with another, or whose cases are sorted into strata, `differences` or `strata`.
    """
    return json.dumps([_result(run, contents) for run in contents.runs], indent=2) + "\n"


def _result(run: Run, contents: Contents) -> dict[str, Any]:
    data = {key: value for key, value in run.data.items() if key != "root"}
    overrides = [item for item in run.record.get("overrides", []) if not item.startswith(_OF_THE_MACHINE)]
    differences = _differences(run, contents.differences)
    strata = {row.stratum: _stratum(row) for row in contents.strata if row.run == run.name}
    return {
        "name": run.name,
        "scores_only": run.scores_only,
        **{key: run.record.get(key) for key in KEPT},
        "overrides": overrides,
        "data": data,
        "scores": {row.region: _scores(row) for row in contents.rows if row.run == run.name},
        **({"earlier": earlier} if (earlier := _earlier(run)) else {}),
        **({"differences": differences} if differences else {}),
        **({"strata": strata} if strata else {}),
    }


def _earlier(run: Run) -> dict[str, Any]:
    """Scores of the stages on the way to the result."""
    return {
        stage: {row.region: _scores(row) for row in score_rows({run.name: frame})}
        for stage, frame in run.earlier.items()
    }


def _differences(run: Run, found: Differences | None) -> dict[str, Any]:
    if found is None or found.table.empty:
        return {}
    rows = found.table[found.table["run"] == run.name].to_dict("records")
    scores: dict[str, Any] = {}
    for row in rows:
        interval = Interval(row["difference"], row["low"], row["high"], row["n"], row["n_undefined"])
        tests = {name: _exact(row[name]) for name in _TESTS}
        scores.setdefault(row["region"], {})[row["metric"]] = {**json_interval(interval, _DIGITS), **tests}
    return (
        {"baseline": found.baseline, "n_comparisons": int(found.table["wilcoxon_p"].notna().sum()), "scores": scores}
        if scores
        else {}
    )


def _stratum(row: StratumScores) -> dict[str, Any]:
    return {
        "n_cases": row.n,
        REGION: {metric: json_interval(interval, _DIGITS) for metric, interval in row.scores.items()},
    }


def _scores(row: ScoreRow) -> dict[str, Any]:
    return {
        metric: {**json_interval(score.interval, _DIGITS), "median": json_number(score.median, _DIGITS)}
        for metric, score in row.scores.items()
    }


def _exact(value: float) -> float | None:
    """A p-value must not be rounded to 0."""
    return None if math.isnan(value) else float(f"{value:.6g}")
