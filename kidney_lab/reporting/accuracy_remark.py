"""The remark that stands wherever pixel accuracy does: what a prediction that finds nothing would reach.

Nearly all pixels are background, so that the accuracy of an empty prediction is high. It is another on whole scans than
on the samples of training, which are drawn to hold more foreground, so that each accuracy has a baseline of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.paper_metrics import TRIVIAL_ACCURACIES
from kidney_lab.reporting.published_scores import PublishedScore, ScoreKey
from kidney_lab.reporting.scores import values_of

ACCURACY: Final = "pixel_accuracy"
TRIVIAL: Final = TRIVIAL_ACCURACIES[ACCURACY]
_SAMPLES: Final = {"train_accuracy": "the samples of training", "val_accuracy": "the samples of validation"}


def with_trivial_accuracy(keys: Iterable[ScoreKey]) -> list[ScoreKey]:
    """Puts behind each pixel accuracy that of an empty prediction, unless the table has it.

    A mean accuracy over regions has none.
    """
    known = list(keys)
    found: list[ScoreKey] = []
    for key in known:
        region, metric, level = key
        trivial = (region, TRIVIAL_ACCURACIES.get(metric, ""), level)
        has_one = metric in _SAMPLES or (metric == ACCURACY and region is not None)
        found += [key, trivial] if has_one and trivial not in known else [key]
    return found


def accuracy_remark(
    metrics: Iterable[str],
    frames: Sequence[pd.DataFrame],
    published: Iterable[PublishedScore] = (),
    training: Sequence[Mapping[str, float]] = (),
) -> list[str]:
    """Says what pixel accuracy is worth.

    Args:
        metrics: names of those that a table shows.
        frames: tidy tables `case,region,metric,value` of what was scored.
        published: numbers of a paper that the table shows beside them.
        training: what the trainings of the runs reached, see `kidney_lab.reporting.training_scores`.

    Returns:
        A sentence with the accuracy of an empty prediction: the mean over all cases and tables by region, and over all
        runs in training and validation. Then those that name the published accuracies below it, of several regions
        below the lowest. None where the table shows no pixel accuracy.
    """
    shown = {metric for metric in metrics if metric in TRIVIAL_ACCURACIES}
    if not shown:
        return []
    of_cases = trivial_accuracies(frames) if ACCURACY in shown else {}
    of_samples = {name: _mean(training, TRIVIAL_ACCURACIES[name]) for name in _SAMPLES if name in shown}
    of_samples = {name: value for name, value in of_samples.items() if not np.isnan(value)}
    if not of_cases and not of_samples:
        measured_by = f"; metrics={TRIVIAL} measures what it reaches" if ACCURACY in shown else ""
        return [
            "Pixel accuracy says little: nearly all voxels are background, and a prediction that finds nothing is "
            f"right on all of these{measured_by}."
        ]
    regions = ", ".join(f"{words(region)} {decimal(value)}" for region, value in of_cases.items())
    reached = [f"on the cases scored here {regions}"] if of_cases else []
    reached += [f"on {_SAMPLES[name]} {decimal(value)}" for name, value in of_samples.items()]
    remark = (
        "Pixel accuracy says little: nearly all voxels are background, so that a prediction that finds nothing "
        f"reaches: {'; '.join(reached)}."
    )
    scores = list(published)
    lower = {
        "if they are of whole scans as well": _below(scores, {ACCURACY: min(of_cases.values())} if of_cases else {}),
        "if they are of samples like these": _below(scores, of_samples),
    }
    return [
        remark,
        *(f"Published accuracies below that, {condition}: {rows}." for condition, rows in lower.items() if rows),
    ]


def _below(published: Iterable[PublishedScore], trivial: Mapping[str, float]) -> str:
    """Rows with those of their published accuracies that an empty prediction beats; "" where there are none."""
    rows: dict[str, list[str]] = {}
    for score in published:
        if score.value is not None and score.value < trivial.get(score.metric, -np.inf):
            rows.setdefault(score.row, []).append(decimal(score.value, 4))
    return ", ".join(f"{row} ({', '.join(dict.fromkeys(values))})" for row, values in rows.items())


def _mean(training: Sequence[Mapping[str, float]], name: str) -> float:
    """Over the runs that logged it; NaN without any."""
    values = [scores[name] for scores in training if not np.isnan(scores.get(name, np.nan))]
    return float(np.mean(values)) if values else np.nan


def trivial_accuracies(frames: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Mean accuracy of an empty prediction over all cases of all tables, by region; without those that lack it."""
    if not frames:
        return {}
    whole = pd.concat(frames)
    of_regions = {str(region): values_of(whole, str(region), TRIVIAL).mean() for region in whole["region"].unique()}
    return {region: float(value) for region, value in of_regions.items() if not pd.isna(value)}
