"""Learning curves of several runs or rows in one plot: thin lines for the seeds, and their mean."""

import re
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from kidney_lab.reporting.compared import Compared
from kidney_lab.reporting.curves import COLUMNS, LOSS, SCORES, stages_of
from kidney_lab.reporting.formatting import words
from kidney_lab.reporting.plot import Plot
from kidney_lab.reporting.plots import Series, line_plot
from kidney_lab.reporting.runs import Run

CAPTION = "Thick: the mean over the runs (seeds), of the epochs that all of them have; thin: every run."


def mean_curves(found: Compared) -> list[Plot]:
    """Draws the loss in training and the validation Dice of every stage.

    Args:
        found: runs, or rows with their runs.

    Returns:
        A plot per stage and quantity that any method logged; the page shows those of single runs anyway. All lines of
        a plot are of the same column: that by which most runs chose their checkpoint, where it is such a one, else the
        first that every run has.
    """
    plots = []
    for stage in stages_of(found.runs):
        for title in (LOSS, SCORES):
            column = _column(found.runs, stage, title)
            lines = [] if column is None else _lines(found, stage, column)
            if column is None or not any(len(line.x) > 1 for line in lines):  # one epoch is no curve
                continue
            drawn = f"{words(column.rpartition('/')[2])} ({column})"
            plots.append(
                Plot(
                    name=f"learning-{stage}-{title.split()[-1].lower()}-{found.id}",
                    title=f"{title} in stage {stage}: {found.title}",
                    svg=line_plot(lines, title=drawn, unit_interval=title == SCORES),
                    caption=f"{drawn} in stage {stage} by epoch. {CAPTION if found.averaged else ''}".strip(),
                    legend=[(line.color, line.label) for line in lines if not line.is_seed],
                    note=found.note,
                    repeats=not found.averaged,
                )
            )
    return plots


def _column(runs: Sequence[Run], stage: str, title: str) -> str | None:
    """Column to draw; None where the runs that trained the stage have none in common."""
    logged = [{name for name in rows if rows[name].notna().any()} for run in runs if len(rows := _epochs(run, stage))]
    names = [name for run in runs for name in run.epochs.columns if re.match(COLUMNS[title], name)]
    shared = [name for name in dict.fromkeys(names) if logged and all(name in columns for columns in logged)]
    if title == LOSS and "train/loss" in shared:
        return "train/loss"
    chosen = Counter(_monitor(run, stage) for run in runs)
    return next((name for name, _ in chosen.most_common() if name in shared), shared[0] if shared else None)


def _monitor(run: Run, stage: str) -> str | None:
    best = ((run.record.get("stages") or {}).get(stage) or {}).get("best") or {}
    return best.get("monitor")


def _epochs(run: Run, stage: str) -> pd.DataFrame:
    return run.epochs[run.epochs["stage"] == stage] if "stage" in run.epochs else run.epochs


def _lines(found: Compared, stage: str, column: str) -> list[Series]:
    lines = []
    for color, method in enumerate(found.methods):
        of_runs = [
            drawn.groupby("epoch")[column].mean()
            for run in method.runs
            if column in (rows := _epochs(run, stage)) and len(drawn := rows[["epoch", column]].dropna())
        ]
        if len(of_runs) > 1:
            lines += [Series(method.name, color, [*seed.index], seed.tolist(), is_seed=True) for seed in of_runs]
        if of_runs:
            mean = pd.concat(of_runs, axis="columns", join="inner").mean(axis="columns").sort_index()
            if len(mean):
                lines.append(Series(method.name, color, [*mean.index], mean.tolist()))
    return lines
