"""Metrics in words: titles, units and directions out of the tables of metrics."""

from typing import Final

from kidney_lab.metrics.scoring import find_metric
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


def metric_title(name: str) -> str:
    """Title of a metric with its unit and direction.

    >>> metric_title("hd95"), metric_title("my_score")
    ('Hausdorff distance, 95th percentile (mm) ↓', 'My score')
    """
    metric = find_metric(name)
    if metric is None:
        return metric_name(name) + (_ARROWS[TITLES[name][1]] if name in TITLES else "")
    return metric_name(name) + _ARROWS[metric.better]
