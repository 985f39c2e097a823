"""What a score costs: Dice of each run or row against the FLOPs of a case, with its parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kidney_lab.reporting import svg
from kidney_lab.reporting.compared import Method
from kidney_lab.reporting.derived_scores import network_costs
from kidney_lab.reporting.formatting import count, mean_with_interval
from kidney_lab.reporting.paper_metrics import GFLOPS, PARAMETERS
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.statistics import Interval, bootstrap_interval

WIDTH: Final = 376.0
"""Of a picture that fits a column of text, in SVG units."""

PER_CASE, PER_PASS = "FLOPs of a case", "FLOPs of one forward pass"
CAPTION: Final = (
    "Large dot: mean over cases, with its 95 % interval (bootstrap over cases); its area grows with the number of "
    "parameters. Small dots: the runs (seeds). {what} (twice the multiply-adds; logarithmic axis). Points that would "
    "cover each other are moved a little sideways."
)
MEANING: Final = {
    PER_CASE: "FLOPs are those of all windows of a case, of all networks, median over the test cases",
    PER_PASS: "FLOPs are those of one forward pass of each network, of inputs of the size of a training sample",
}

_AREA: Final = (20.0, 200.0)  # of a dot without parameters and of that with the most, in SVG units squared


@dataclass(frozen=True)
class Cost:
    """A point of the plot.

    Args:
        name: of the run or row.
        color: index of its colour.
        flops: mean over its runs.
        parameters: of all its networks.
        dice: mean over the cases.
        seeds: mean Dice of each run.
    """

    name: str
    color: int
    flops: float
    parameters: float
    dice: Interval
    seeds: list[float]


def costs_of(methods: Sequence[Method], regions: Sequence[str]) -> tuple[str, dict[str, list[Cost]]]:
    """Puts Dice beside what it costs.

    Args:
        methods: runs or rows.
        regions: whose Dice.

    Returns:
        `PER_CASE` if every method says so, else `PER_PASS`; and by region the points of those methods that say it.
    """
    per_case = [_mean([_of_case(run.record) for run in method.runs]) for method in methods]
    what = PER_PASS if np.isnan(per_case).any() else PER_CASE
    points: dict[str, list[Cost]] = {region: [] for region in regions}
    for color, method in enumerate(methods):
        networks = [network_costs(run) for run in method.runs]
        flops = per_case[color] if what == PER_CASE else 2e9 * _mean([costs[GFLOPS] for costs in networks])
        parameters = 1e6 * _mean([costs[PARAMETERS] for costs in networks])
        if not np.isfinite([flops, parameters]).all() or flops <= 0:
            continue
        for region in regions:
            dice = bootstrap_interval(values_of(method.metrics, region, "dice").to_numpy())
            means = [float(values_of(run.metrics, region, "dice").mean()) for run in method.runs]
            seeds = [mean for mean in means if np.isfinite(mean)]
            points[region].append(Cost(method.name, color, flops, parameters, dice, seeds))
    return what, points


def _of_case(record: dict[str, Any]) -> float:
    flops = (record.get("cost_per_case") or {}).get("flops")
    return np.nan if flops is None else float(flops)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def unit_of(flops: float) -> tuple[float, str]:
    """A unit in which a number of FLOPs is no long number.

    >>> unit_of(6.9e10)
    (1000000000.0, 'GFLOPs')
    """
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if flops >= factor:
            return factor, f"{prefix}FLOPs"
    return 1.0, "FLOPs"


def side_by_side(positions: Sequence[float], gap: float = 11.0, width: float = 110.0) -> list[float]:
    """Moves positions apart that would cover each other, around the middle of those that touch.

    Args:
        positions: in SVG units.
        gap: smallest distance between two.
        width: that a group may take; a larger one has smaller gaps.

    Returns:
        Positions in the same order.

    >>> side_by_side([100.0, 100.0, 200.0])
    [94.5, 105.5, 200.0]
    """
    order = sorted(range(len(positions)), key=lambda place: positions[place])
    groups: list[list[int]] = []
    for place in order:
        if groups and positions[place] - positions[groups[-1][-1]] < gap:
            groups[-1].append(place)
        else:
            groups.append([place])
    moved = list(positions)
    for group in groups:
        middle = sum(positions[place] for place in group) / len(group)
        step = min(gap, width / len(group))
        for rank, place in enumerate(group if len(group) > 1 else ()):
            moved[place] = round(middle + step * (rank - (len(group) - 1) / 2), 2)
    return moved


def cost_plot(points: Sequence[Cost], what: str, title: str) -> str:
    """Draws Dice against FLOPs.

    Args:
        points: at least one.
        what: `PER_CASE` or `PER_PASS`.
        title: of the score.

    Returns:
        SVG. The axis of Dice shows the points, their seeds and intervals, and no more of 0 to 1.
    """
    left, right, top, bottom = 58.0, WIDTH - 12, 28.0, 250.0
    factor, unit = unit_of(min(point.flops for point in points))
    x = svg.log_span_of([point.flops / factor for point in points], left + 14, right - 14)
    y = svg.span_of([v for p in points for v in (p.dice.mean, p.dice.low, p.dice.high, *p.seeds)], bottom, top)
    picture = svg.picture(WIDTH, bottom + 42, f"{title} against {what}: {', '.join(point.name for point in points)}")
    exact = [x(point.flops / factor) for point in points]
    moved = side_by_side(exact)
    axis = f"{what} ({unit}{'' if moved == exact else '; equal ones side by side'})"
    svg.add_horizontal_axis(picture, x, top=top, bottom=bottom, title=axis)
    svg.add_vertical_axis(picture, y, left=left, right=right, title=title)
    largest = max(point.parameters for point in points)
    for point, at in zip(points, moved, strict=True):
        group = svg.add(picture, "g", kind=svg.color_class(point.color), data_run=point.name)
        if np.isfinite(point.dice.low):
            svg.add(group, "line", kind="interval", x1=at, x2=at, y1=y(point.dice.low), y2=y(point.dice.high))
        area = _AREA[0] + (_AREA[1] - _AREA[0]) * point.parameters / largest
        dot = svg.add(
            group, "circle", kind="dot", cx=at, cy=y(point.dice.mean), r=round(float(np.sqrt(area / np.pi)), 2)
        )
        dot.set("data-value", repr(point.dice.mean))
        costs = f"{count(point.flops, 'FLOPs')}, {count(point.parameters)} parameters"
        svg.add_hint(dot, f"{point.name}: {mean_with_interval(point.dice)}, {costs}")
        for seed in point.seeds if len(point.seeds) > 1 else ():
            small = svg.add(group, "circle", kind="dot marked", cx=at, cy=y(seed), r=2.2, data_value=repr(seed))
            svg.add_hint(small, f"{point.name}, one of {len(point.seeds)} runs: {seed:.3f}")
    return svg.markup(picture)
