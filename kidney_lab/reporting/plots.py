"""Plots of the report: scores of all cases by region, and learning curves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import pandas as pd

from kidney_lab.reporting import svg
from kidney_lab.reporting.formatting import words
from kidney_lab.reporting.metric_words import metric_name
from kidney_lab.reporting.scores import regions_of, values_of
from kidney_lab.reporting.strips import add_strip

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
        is_seed: whether it is one of several lines whose mean is drawn beside it: thin, and without dots.
    """

    label: str
    color: int
    x: Sequence[float]
    y: Sequence[float]
    marked: float | None = None
    is_seed: bool = False


def score_plot(tables: Mapping[str, pd.DataFrame], metric: str) -> str:
    """Draws every case's score as a dot over a box of quartiles and a violin, region by region and table by table.

    Args:
        tables: for each name, of a run or of a row of a paper's table, the tidy table `case,region,metric,value`; one
            colour each.
        metric: that is drawn.

    Returns:
        SVG. Whiskers reach the extreme values, the diamond is the mean, violins are there from five values on
        (`strips.violin_outline`); undefined values are left out. The axis goes from 0 to 1 unless values lie outside.
    """
    regions = regions_of(tables.values())
    values = {
        (region, name): values_of(frame, region, metric).dropna()
        for name, frame in tables.items()
        for region in regions
    }
    row, gap, left, top = (34.0 if len(tables) == 1 else 26.0), 18.0, 126.0, 8.0
    bottom = top + len(regions) * (row * len(tables) + gap)
    x = axis_of(values.values(), left, WIDTH - 14)
    picture = svg.picture(WIDTH, bottom + 42, f"{metric_name(metric)} of every case by region: {', '.join(tables)}")
    svg.add_horizontal_axis(picture, x, top=top, bottom=bottom, title=metric_name(metric))
    y = top + gap / 2
    for region in regions:
        middle = y + row * len(tables) / 2
        svg.add(picture, "text", words(region), kind="label", x=left - 12, y=middle + 4, text_anchor="end")
        for index, name in enumerate(tables):
            group = svg.add(picture, "g", kind=svg.color_class(index), data_run=name)
            add_strip(group, values[region, name], x=x, y=y + row / 2, height=row, name=name)
            y += row
        y += gap
    return svg.markup(picture)


def axis_of(values: Iterable["pd.Series[float]"], start: float, end: float) -> svg.Span:
    """Axis of scores: 0 to 1 unless values lie outside."""
    every = pd.concat(list(values)).dropna()
    return svg.Span(0.0, 1.0, start, end) if every.between(0, 1).all() else svg.span_of(every.tolist(), start, end)


def line_plot(series: Sequence[Series], *, title: str, unit_interval: bool = False) -> str:
    """Draws lines over the epochs.

    Args:
        series: with at least one point each.
        title: what the values are.
        unit_interval: whether the axis shows 0 to 1.

    Returns:
        SVG.
    """
    height, left, right, top, bottom = 284.0, 52.0, WIDTH - 12, 28.0, 236.0
    epochs = [value for line in series for value in line.x]
    x = svg.Span(min(epochs), max(max(epochs), min(epochs) + 1), left, right)
    values = [value for line in series for value in line.y]
    y = svg.Span(0.0, 1.0, bottom, top) if unit_interval else svg.span_of(values, bottom, top)
    picture = svg.picture(WIDTH, height, f"{title} by epoch: {', '.join(line.label for line in series)}")
    svg.add_horizontal_axis(picture, x, top=top, bottom=bottom, title="Epoch", integer=True)
    svg.add_vertical_axis(picture, y, left=left, right=right, title=title)
    for line in series:
        _add_line(picture, line, x=x, y=y)
    return svg.markup(picture)


def _add_line(picture: Element, line: Series, *, x: svg.Span, y: svg.Span) -> None:
    group = svg.add(picture, "g", kind=svg.color_class(line.color), data_run=line.label)
    points = list(zip(line.x, line.y, strict=True))
    kind = "line seed" if line.is_seed else "line"
    path = svg.add(group, "polyline", kind=kind, points=" ".join(f"{x(a)},{y(b)}" for a, b in points))
    svg.add_hint(path, line.label)
    for epoch, value in points:
        is_marked = epoch == line.marked
        if is_marked or (len(points) <= 60 and not line.is_seed):
            kind, radius = ("dot marked", 5) if is_marked else ("dot", 2.4)
            dot = svg.add(group, "circle", kind=kind, cx=x(epoch), cy=y(value), r=radius, data_value=repr(float(value)))
            svg.add_hint(dot, f"{line.label}, epoch {epoch:g}: {value:.4g}{' (kept)' if is_marked else ''}")
