"""Figures of the clinical table: how measurements are distributed, what is an outlier, and how classes are balanced."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm, probplot

_INK, _MARK = "#0b63a5", "#c8500f"
_FEWEST_TO_DRAW: Final = 3
_LABELLED_OUTLIERS = 6  # of each box; more would cover each other


def draw_distribution(values: "pd.Series[Any]", title: str) -> Figure | None:
    """Draws a measurement and its logarithm beside the normal distributions that fit them best.

    Args:
        values: numbers; missing ones are left out, and of the logarithms those that are not above 0.
        title: name and unit.

    Returns:
        Histograms with the density, and quantiles against those of the normal distribution, on which normal values lie
        on the line. None if there are fewer than three values, or all are equal.
    """
    known = values.dropna().to_numpy(dtype=float)
    scales = [(title, known), (f"{title}, logarithm", np.log(known[known > 0]))]
    if any(len(sample) < _FEWEST_TO_DRAW or np.ptp(sample) == 0 for _, sample in scales):
        return None
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    for (left, right), (label, sample) in zip(figure.subplots(2, 2), scales, strict=True):
        _draw_histogram(left, sample, label)
        _draw_quantiles(right, sample, label)
    return figure


def draw_boxes(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure | None:
    """Draws a box of quartiles for each column, with whiskers to 1.5 interquartile ranges and the cases beyond.

    Args:
        table: of the patients.
        titles: name and unit by column; columns without values are left out.

    Returns:
        One box a column, each with its own axis; None without any column.
    """
    drawn = {name: table[name].dropna() for name in titles if name in table and table[name].notna().any()}
    if not drawn:
        return None
    figure = Figure(figsize=(2.6 * len(drawn), 4.2), dpi=110, layout="constrained")
    for axes, (column, values) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        box = axes.boxplot(values.to_numpy(dtype=float), widths=0.5, medianprops={"color": _INK, "linewidth": 2})
        beyond = set(np.asarray(box["fliers"][0].get_ydata(), dtype=float))
        outside = values[values.isin(beyond)].sort_values(ascending=False)
        for rank, (case, value) in enumerate(outside.head(_LABELLED_OUTLIERS).items()):
            x, side = (1.06, "left") if rank % 2 == 0 else (0.94, "right")  # neighbours would cover each other
            name = str(case).removeprefix("case_")
            axes.text(x, float(value), name, fontsize=7, color=_MARK, va="center", ha=side)
        axes.set_xticks([])
        axes.set_title(titles[column], fontsize=10)
        _strip(axes)
    return figure


def draw_balance(balance: pd.DataFrame, title: str) -> Figure:
    """Draws the count of every class as a bar, with its share beside it.

    Args:
        balance: as `class_balance` gives it.
        title: what the classes are.
    """
    figure = Figure(figsize=(7, 0.9 + 0.45 * len(balance)), dpi=110, layout="constrained")
    axes = figure.subplots()
    names = [str(name).replace("_", " ") for name in balance.index]
    bars = axes.barh(names, balance["count"], color=_INK, alpha=0.75)
    labels = [f" {count} ({share:.1%})" for count, share in zip(balance["count"], balance["share"], strict=True)]
    axes.bar_label(bars, labels, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("patients")
    axes.set_title(title, fontsize=10)
    _strip(axes)
    return figure


def png(figure: Figure) -> bytes:
    """Encodes a figure; the same figure gives the same bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _draw_histogram(axes: Axes, sample: NDArray[np.float64], label: str) -> None:
    _, edges, _ = axes.hist(sample, bins="auto", density=True, color=_INK, alpha=0.35, edgecolor="white")
    x = np.linspace(edges[0], edges[-1], 200)
    axes.plot(x, norm.pdf(x, sample.mean(), sample.std(ddof=1)), color=_MARK, linewidth=1.8)
    axes.set_xlabel(label)
    axes.set_ylabel("density")
    _strip(axes)


def _draw_quantiles(axes: Axes, sample: NDArray[np.float64], label: str) -> None:
    (theory, ordered), (slope, intercept, _) = probplot(sample)
    axes.plot(theory, slope * theory + intercept, color=_MARK, linewidth=1.8)
    axes.plot(theory, ordered, "o", color=_INK, alpha=0.6, markersize=4)
    axes.set_xlabel("quantile of the normal distribution")
    axes.set_ylabel(label)
    _strip(axes)


def _strip(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
