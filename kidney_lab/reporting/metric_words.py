"""Metrics in words: titles, units and directions out of the tables of metrics."""

from typing import Final

from kidney_lab.metrics.scoring import find_metric
from kidney_lab.reporting.consistency import POOLED
from kidney_lab.reporting.formatting import words
from kidney_lab.reporting.paper_metrics import TITLES

_ARROWS: Final = {
    "higher": " \N{UPWARDS ARROW}",
    "lower": " \N{DOWNWARDS ARROW}",
    "zero": " \N{RIGHTWARDS ARROW}0",
    "neither": "",
}
ARROWS: Final = (
    "\N{UPWARDS ARROW} larger is better, \N{DOWNWARDS ARROW} smaller is better, \N{RIGHTWARDS ARROW}0 nearer to zero "
    "is better."
)
"""What the arrows of `metric_title` mean, for captions."""


def metric_name(name: str) -> str:
    """Title of a metric with its unit.

    >>> metric_name("hd95"), metric_name("my_score")
    ('Hausdorff distance, 95th percentile (mm)', 'My score')
    """
    metric = find_metric(name)
    if metric is None:
        return TITLES[name][0] if name in TITLES else words(name)
    return f"{metric.title}{f' ({metric.unit})' if metric.unit else ''}"


def metric_title(name: str, level: str | None = None) -> str:
    """Title of a metric with its unit and direction; says so where voxels are pooled over cases.

    >>> metric_title("hd95"), metric_title("my_score"), metric_title("f1", "pooled")
    ('Hausdorff distance, 95th percentile (mm) ↓', 'My score', 'F1, pooled ↑')
    """
    return metric_name(name) + (f", {POOLED}" if level == POOLED else "") + _ARROWS.get(better(name) or "", "")


def better_by_arrow(title: str) -> str | None:
    """Which values are better by a title that `metric_title` is part of: "higher", "lower" or "zero"; None: unknown.

    >>> better_by_arrow("Tumor: Dice ↑, mean [95% CI]"), better_by_arrow("Cases")
    ('higher', None)
    """
    return next((name for name, arrow in _ARROWS.items() if arrow and arrow in title), None)


def better(name: str) -> str | None:
    """Which values of a metric are better: "higher", "lower", "zero" or "neither"; None where it is not known."""
    metric = find_metric(name)
    if metric is None:
        return TITLES[name][1] if name in TITLES else None
    return metric.better
