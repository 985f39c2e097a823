"""`metrics.csv` and `summary.json`: the scores of a set of cases, one row per value, and their summary.

`metrics.csv` is tidy (UTF-8, header `case,region,metric,value`, decimal point, every float written so that it reads
back to the same bits); an empty value is undefined, never a made-up number. `summary.json` beside it holds
`{region: {metric: {mean, std, median, n, n_undefined}}}`. Where the four counts of voxels were scored, a metric that is
made of them has a sixth, `pooled`: its value over the voxels of all cases (`kidney_lab.metrics.pooled`). Where the same
predictions were scored before post-processing too, each metric has the same of those scores under
`before_postprocessing`. Beside the regions it may hold one more key, `scored`, which readers of the regions skip: it is
"validation" where a split has no test cases, so that those by which the weights were chosen are scored instead, and
scores are too good.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.metrics.pooled import pooled_scores

COLUMNS: Final = ("case", "region", "metric", "value")

Summary = dict[str, dict[str, dict[str, float | int | None]]]


def metrics_frame(scores: Mapping[str, Mapping[tuple[str, str], float]]) -> pd.DataFrame:
    """Makes the tidy table out of the scores of each case.

    Args:
        scores: for each case the value of every (region, metric), as `kits_scores` returns; NaN is undefined.

    Returns:
        Columns `case,region,metric,value`, one row per value, in the order given.
    """
    rows = [
        (case, region, metric, value) for case, values in scores.items() for (region, metric), value in values.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"value": float})


def summarize(frame: pd.DataFrame) -> Summary:
    """Summarises each metric of each region over the cases.

    Args:
        frame: tidy table with `case,region,metric,value`; NaN is undefined and left out.

    Returns:
        `{region: {metric: {mean, std, median, n, n_undefined}}}`: the sample standard deviation (ddof = 1), None with
        fewer than two values; mean and median None without any; `n` counts defined values only. A metric of a region
        whose voxels were counted has `pooled` too, None where undefined.
    """
    summary: Summary = {}
    pooled = pooled_scores(frame)
    for names, values in frame.groupby(["region", "metric"], sort=False)["value"]:
        region, metric = map(str, names)
        defined = values.dropna()
        summary.setdefault(region, {})[metric] = {
            "mean": _number(defined.mean()),
            "std": _number(defined.std(ddof=1)),
            "median": _number(defined.median()),
            "n": len(defined),
            "n_undefined": len(values) - len(defined),
            **({"pooled": _number(pooled[region, metric])} if (region, metric) in pooled else {}),
        }
    return summary


def write_metrics(
    frame: pd.DataFrame,
    folder: Path,
    *,
    scored: Literal["test", "validation"] = "test",
    before: pd.DataFrame | None = None,
) -> None:
    """Writes `metrics.csv` and `summary.json` into a folder; each appears whole or not at all.

    Args:
        frame: tidy table with `case,region,metric,value`; finite values, or NaN for undefined.
        folder: created if missing.
        scored: the part of a split that the cases are; `summary.json` says so where it is not the test.
        before: the same table of the same predictions before post-processing; `summary.json` then shows both.

    Raises:
        ValueError: if a value is infinite: neither JSON nor a mean can hold it, so a metric must leave it undefined; or
            if `before` does not score what `frame` scores.
    """
    if any(np.isinf(table["value"]).any() for table in (frame, before) if table is not None):
        raise ValueError("a value is infinite; an undefined metric must be NaN")
    regions = summarize(frame) if before is None else _beside_before(frame, before)
    table = frame.to_csv(columns=list(COLUMNS), index=False, lineterminator="\n")
    write_text(folder / "metrics.csv", table)
    summary = regions if scored == "test" else {"scored": scored, **regions}
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")


def read_metrics(path: Path) -> pd.DataFrame:
    """Reads a `metrics.csv`.

    Args:
        path: the file, or the folder that holds it.

    Returns:
        Columns `case,region,metric` (text) and `value` (float64, NaN where undefined); values are exact to the bit.

    Raises:
        InputError: if the file is missing or no table of metrics, a score of a case stands twice, or a value is neither
            a finite number nor empty.
    """
    file = path / "metrics.csv" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"The table {file} does not exist: give a run folder whose test phase has ended.")
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)  # a case may be called "NA"
        if tuple(frame.columns) != COLUMNS:
            raise ValueError(f"its columns are {','.join(frame.columns)}")
        twice = frame[frame.duplicated(list(COLUMNS[:3]))]
        if not twice.empty:
            case, region, metric = twice.iloc[0][list(COLUMNS[:3])]
            raise ValueError(f"{metric} of {region} stands twice for {case}")
        return frame.assign(value=[_value(text) for text in frame["value"]])
    except ValueError as error:
        raise InputError(
            f"The table {file} cannot be read: {error}; its columns must be {','.join(COLUMNS)}, with one row per "
            "score of a case, and a value that is a finite number, or empty where undefined."
        ) from error


def _beside_before(frame: pd.DataFrame, before: pd.DataFrame) -> dict[str, dict[str, dict[str, object]]]:
    """Summary of `frame`, each metric with that of `before` under `before_postprocessing`."""
    scored, scored_before = (sorted(map(tuple, table[list(COLUMNS[:3])].to_numpy())) for table in (frame, before))
    if scored != scored_before:
        raise ValueError("the scores before post-processing are not of the same cases, regions and metrics")
    earlier = summarize(before)
    return {
        region: {
            metric: {**figures, "before_postprocessing": earlier[region][metric]}
            for metric, figures in by_metric.items()
        }
        for region, by_metric in summarize(frame).items()
    }


def _value(text: str) -> float:
    if text == "":
        return np.nan
    value = float(text)  # Python reads floats exactly, which pandas does in some of its versions only
    if not np.isfinite(value):
        raise ValueError(f"a value is {text}")
    return value


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
