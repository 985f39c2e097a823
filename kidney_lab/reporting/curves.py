"""Learning curves: which columns of `epochs.csv` are drawn, stage by stage."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kidney_lab.reporting.plots import Series, line_plot
from kidney_lab.reporting.runs import Run


@dataclass(frozen=True)
class Curve:
    """A plot of one stage.

    Args:
        stage: name.
        title: what is drawn.
        svg: the plot.
        legend: (index of the colour, label) of every line.
        shows_kept: whether the epoch whose weights were kept is marked.
    """

    stage: str
    title: str
    svg: str
    legend: list[tuple[int, str]]
    shows_kept: bool


LOSS: Final = "Loss"
SCORES: Final = "Validation Dice"
_ACCURACY: Final = "Pixel accuracy (mostly background)"
COLUMNS: Final = {
    LOSS: r"[^/]*/.*loss",
    SCORES: r"val[^/]*/(?!.*loss).*dice",
    _ACCURACY: r"(train|val[^/]*)/(background_)?accuracy$",  # of the network, and of an empty prediction
    # of an adversarial training, a line for each level of the decoder, 0 the finest
    "Dice loss by level": r"train/dice_\d+$",
    "Cross-entropy by level": r"train/ce_\d+$",
    "Adversarial loss by level": r"train/adv_\d+$",
    "Discriminators' loss by level": r"train/discriminator_\d+$",
    "Mean weight of a pixel by level": r"train/lambda_\d+$",
}
"""Plots by title, and the beginning of the columns that each of them draws."""


def learning_curves(runs: Sequence[Run], averaged: Collection[Path] = ()) -> list[Curve]:
    """Draws loss, validation Dice and accuracy of every stage, and of adversarial ones the terms by decoder level.

    Args:
        runs: with or without epochs.
        averaged: folders of runs that are drawn with the others of their row, see `kidney_lab.reporting.mean_curves`.

    Returns:
        One run shows all its losses and Dice values; several show the loss in training and the value by which the
        checkpoint was chosen, one colour per run, and nothing else.
    """
    curves = []
    alone = [(index, run) for index, run in enumerate(runs) if run.path not in averaged]
    for stage in stages_of([run for _, run in alone]):
        for title in COLUMNS if len(runs) == 1 else (LOSS, SCORES):
            series = [line for index, run in alone for line in _lines(run, stage, title, index, len(runs))]
            recolored = series if len(runs) > 1 else [_colored(line, i) for i, line in enumerate(series)]
            if recolored:
                picture = line_plot(recolored, title=f"{title}, {stage}", unit_interval=title == SCORES)
                legend = [(line.color, line.label) for line in recolored]
                kept = any(line.marked is not None for line in recolored)
                curves.append(Curve(stage, title, picture, legend, shows_kept=kept))
    return curves


def stages_of(runs: Sequence[Run]) -> list[str]:
    """Stages that any of the runs trained, in order of appearance."""
    named = [stage for run in runs if "stage" in run.epochs for stage in run.epochs["stage"]]
    return list(dict.fromkeys(str(stage) for stage in named))


def _lines(run: Run, stage: str, title: str, color: int, n_runs: int) -> list[Series]:
    if "stage" not in run.epochs:
        return []
    rows = run.epochs[run.epochs["stage"] == stage]
    best = ((run.record.get("stages") or {}).get(stage) or {}).get("best") or {}
    columns = [name for name in rows.columns if re.match(COLUMNS[title], name)]
    if n_runs > 1:
        chosen = "train/loss" if title == LOSS else best.get("monitor")
        columns = [chosen] if chosen in columns else columns[:1]
    lines = (_line(rows, name, run.name if n_runs > 1 else name, color, best) for name in columns)
    return [line for line in lines if line is not None]


def _line(rows: pd.DataFrame, column: str, label: str, color: int, best: dict[str, Any]) -> Series | None:
    drawn = rows[["epoch", column]].dropna().groupby("epoch", as_index=False).mean()
    if drawn.empty:
        return None
    marked = best.get("epoch") if best.get("monitor") == column else None
    return Series(label, color, drawn["epoch"].tolist(), drawn[column].tolist(), marked)


def _colored(line: Series, color: int) -> Series:
    return Series(line.label, color, line.x, line.y, line.marked)
