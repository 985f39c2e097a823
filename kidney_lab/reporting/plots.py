"""Plots of the report: scores of all cases by region, and learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd

from kidney_lab.reporting import svg
from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import regions_of, values_of

WIDTH = 560.0


@dataclass(frozen=True)
class Series:
    """A line of a plot.

    Args:
        label: in the legend.
        color: index of its colour.
        x: positions, ascending.
        y: values, finite.
        marked: position of a value to stress, such as the chosen epoch.
    """

    label: str
    color: int
    x: Sequence[float]
    y: Sequence[float]
    marked: float | None = None


def score_plot(runs: Sequence[Run], metric: str) -> str:
    """Draws every case's score as a dot over a box of quartiles, region by region and run by run.

    Args:
        runs: one colour each.
        metric: "dice" or "surface_dice".

    Returns:
        SVG. Whiskers reach the extreme values, the diamond is the mean; undefined values are left out.
    """
    regions = regions_of(run.metrics for run in runs)
    row, gap, left, top = (34.0 if len(runs) == 1 else 22.0), 18.0, 126.0, 8.0
    bottom = top + len(regions) * (row * len(runs) + gap)
    x = svg.Span(0.0, 1.0, left, WIDTH - 14)
    picture = svg.picture(WIDTH, bottom + 42, f"{words(metric)} of every test case by region")
    svg.add_horizontal_axis(picture, x, top=top, bottom=bottom, title=words(metric))
    y = top + gap / 2
    for region in regions:
        middle = y + row * len(runs) / 2
        svg.add(picture, "text", words(region), kind="label", x=left - 12, y=middle + 4, text_anchor="end")
        for index, run in enumerate(runs):
            group = svg.add(picture, "g", kind=svg.color_class(index))
            _add_strip(group, values_of(run.metrics, region, metric).dropna(), x=x, y=y + row / 2, run=run.name)
            y += row
        y += gap
    return svg.markup(picture)


def _add_strip(group: Element, values: "pd.Series[float]", *, x: svg.Span, y: float, run: str) -> None:
    if values.empty:
        return
    low, q1, median, q3, high = (float(v) for v in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    svg.add(group, "line", kind="whisker", x1=x(low), x2=x(high), y1=y, y2=y)
    svg.add(group, "rect", kind="box", x=x(q1), y=y - 8, width=round(x(q3) - x(q1), 2), height=16, rx=2)
    svg.add(group, "line", kind="median", x1=x(median), x2=x(median), y1=y - 8, y2=y + 8)
    # the golden ratio spreads neighbours evenly, and the same table always gives the same picture
    for rank, (case, value) in enumerate(values.items()):
        offset = round((rank * 0.618034 % 1 - 0.5) * 13, 1)
        dot = svg.add(group, "circle", kind="dot", cx=x(float(value)), cy=round(y + offset, 1), r=2.8)
        svg.add_hint(dot, f"{run}, {case}: {decimal(float(value))}")
    at = x(float(values.mean()))
    mean = svg.add(group, "path", kind="mean", d=f"M{at} {y - 5}l5 5l-5 5l-5 -5z")
    svg.add_hint(mean, f"{run}: mean {decimal(float(values.mean()))}, median {decimal(median)}, {len(values)} cases")


def line_plot(series: Sequence[Series], *, title: str, unit_interval: bool = False) -> str:
    """Draws lines over the epochs.

    Args:
        series: with at least one point each.
        title: what the values are.
        unit_interval: whether the axis shows 0 to 1.

    Returns:
        SVG.
    """
    height, left, right, top, bottom = 268.0, 52.0, WIDTH - 12, 12.0, 220.0
    epochs = [value for line in series for value in line.x]
    x = svg.Span(min(epochs), max(max(epochs), min(epochs) + 1), left, right)
    values = [value for line in series for value in line.y]
    y = svg.Span(0.0, 1.0, bottom, top) if unit_interval else svg.span_of(values, bottom, top)
    picture = svg.picture(WIDTH, height, f"{title} by epoch: {', '.join(line.label for line in series)}")
    svg.add_horizontal_axis(picture, x, top=top, bottom=bottom, title="Epoch", integer=True)
    svg.add_vertical_axis(picture, y, left=left, right=right)
    for line in series:
        _add_line(picture, line, x=x, y=y)
    return svg.markup(picture)


def _add_line(picture: Element, line: Series, *, x: svg.Span, y: svg.Span) -> None:
    group = svg.add(picture, "g", kind=svg.color_class(line.color))
    points = list(zip(line.x, line.y, strict=True))
    path = svg.add(group, "polyline", kind="line", points=" ".join(f"{x(a)},{y(b)}" for a, b in points))
    svg.add_hint(path, line.label)
    for epoch, value in points:
        is_marked = epoch == line.marked
        if is_marked or len(points) <= 60:
            kind, radius = ("dot marked", 5) if is_marked else ("dot", 2.4)
            dot = svg.add(group, "circle", kind=kind, cx=x(epoch), cy=y(value), r=radius)
            svg.add_hint(dot, f"{line.label}, epoch {epoch:g}: {value:.4g}{' (kept)' if is_marked else ''}")
