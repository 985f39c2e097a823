"""Losses and accuracies of a training, as papers print them: those of the epoch whose weights were kept.

Table 2 of Nagarajan and Ramprasath (IJETT 72(9), 2024) has the accuracy of training and of validation and the loss. Of
an ensemble it does not say whose they are: here the mean of its members'.
"""

import numpy as np

from kidney_lab.reporting.paper_metrics import TRAINING
from kidney_lab.reporting.runs import Run


def training_scores(run: Run) -> dict[str, float]:
    """What the trainings of a run's stages reached, by the names of `paper_metrics`.

    Args:
        run: finished or not; one without stages of its own, as an ensemble of other runs, has no such scores.

    Returns:
        Means over the stages, each at the epoch whose weights were kept; NaN where one of them did not log the score
        in that epoch.
    """
    stages = run.record.get("stages") or {}
    of_stages = {name: [_at_best(run, stage, column) for stage in stages] for name, column in TRAINING.items()}
    return {name: float(np.mean(values)) if values else np.nan for name, values in of_stages.items()}


def _at_best(run: Run, stage: str, column: str) -> float:
    """Value of a column of `epochs.csv` in the epoch whose weights of a stage were kept; NaN without any."""
    kept = (run.record["stages"][stage].get("best") or {}).get("epoch")
    if kept is None or not {"stage", "epoch", column} <= set(run.epochs.columns):
        return np.nan
    values = run.epochs[(run.epochs["stage"] == stage) & (run.epochs["epoch"] == kept)][column].dropna()
    return float(values.iloc[-1]) if len(values) else np.nan
