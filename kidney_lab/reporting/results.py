"""The results of some runs as one JSON file: what an experiment keeps beside the paper's numbers."""

import json
import math
from collections.abc import Sequence
from typing import Any

from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import ScoreRow

KEPT = (
    "overrides",
    "config_hash",
    "commit",
    "dirty",
    "seed",
    "device",
    "precision",
    "versions",
    "wall_time_s",
    "stages",
)
"""What is kept of a run's record; its paths are not, since they mean nothing elsewhere."""


def results_json(runs: Sequence[Run], rows: Sequence[ScoreRow]) -> str:
    """Writes down every run with its provenance and its scores.

    Args:
        runs: at least one.
        rows: their scores.

    Returns:
        JSON: a list of runs; a score that is undefined is null.
    """
    return json.dumps([_result(run, [row for row in rows if row.run == run.name]) for run in runs], indent=2) + "\n"


def _result(run: Run, rows: Sequence[ScoreRow]) -> dict[str, Any]:
    data = {key: value for key, value in run.data.items() if key != "root"}
    overrides = [item for item in run.record.get("overrides", []) if not item.startswith(("data.root=", "hydra."))]
    return {
        "name": run.name,
        **{key: run.record.get(key) for key in KEPT},
        "overrides": overrides,
        "data": data,
        "scores": {row.region: _scores(row) for row in rows},
    }


def _scores(row: ScoreRow) -> dict[str, Any]:
    return {
        metric: {
            "mean": _number(score.interval.mean),
            "interval_95": [_number(score.interval.low), _number(score.interval.high)],
            "median": _number(score.median),
            "n": score.interval.n,
            "n_undefined": score.interval.n_undefined,
        }
        for metric, score in row.scores.items()
    }


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 6)
