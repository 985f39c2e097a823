"""Learning curves: which columns of `epochs.csv` are drawn, stage by stage."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
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


_LOSS: Final = "Loss"
_SCORES: Final = "Validation Dice"
_COLUMNS: Final = {
    _LOSS: r"[^/]*/.*loss",
    _SCORES: r"val[^/]*/(?!.*loss).*dice",
    # of an adversarial training, a line for each level of the decoder, 0 the finest
    "Dice loss by level": r"train/dice_\d+$",
    "Cross-entropy by level": r"train/ce_\d+$",
    "Adversarial loss by level": r"train/adv_\d+$",
    "Discriminators' loss by level": r"train/discriminator_\d+$",
    "Mean weight of a pixel by level": r"train/lambda_\d+$",
}
"""Plots by title, and the beginning of the columns that each of them draws."""


def learning_curves(runs: Sequence[Run]) -> list[Curve]:
    """Draws loss and validation Dice of every stage, and of adversarial ones the terms by level of the decoder.

    Args:
        runs: with or without epochs.

    Returns:
        One run shows all its losses and Dice values; several show the loss in training and the value by which the
        checkpoint was chosen, one colour per run, and no levels.
    """
    curves = []
    for stage in _stages(runs):
        for title in _COLUMNS if len(runs) == 1 else (_LOSS, _SCORES):
            series = [line for index, run in enumerate(runs) for line in _lines(run, stage, title, index, len(runs))]
            recolored = series if len(runs) > 1 else [_colored(line, i) for i, line in enumerate(series)]
            if recolored:
                picture = line_plot(recolored, title=f"{title}, {stage}", unit_interval=title == _SCORES)
                legend = [(line.color, line.label) for line in recolored]
                kept = any(line.marked is not None for line in recolored)
                curves.append(Curve(stage, title, picture, legend, shows_kept=kept))
    return curves


def _stages(runs: Sequence[Run]) -> list[str]:
    named = [stage for run in runs if "stage" in run.epochs for stage in run.epochs["stage"]]
    return list(dict.fromkeys(str(stage) for stage in named))


def _lines(run: Run, stage: str, title: str, color: int, n_runs: int) -> list[Series]:
    if "stage" not in run.epochs:
        return []
    rows = run.epochs[run.epochs["stage"] == stage]
    best = ((run.record.get("stages") or {}).get(stage) or {}).get("best") or {}
    columns = [name for name in rows.columns if re.match(_COLUMNS[title], name)]
    if n_runs > 1:
        chosen = "train/loss" if title == _LOSS else best.get("monitor")
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
