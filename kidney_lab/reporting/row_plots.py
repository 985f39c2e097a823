"""Plots of what a report compares: rows of papers' tables, or runs of none, that were scored on the same data.

Violins show how the scores of the cases spread, as Fig. 3 of MSALDS does (S. Zheng, Q. Sun, X. Ye, W. Li and L. Li,
"Multi-Scale Adversarial Learning and Difficult Supervision for Kidney and Kidney Tumor Segmentation Methods", BMVC
2022).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from kidney_lab.reporting import boxes, cost_plot, diameter_plot, rank_diagram
from kidney_lab.reporting.compared import Compared, Method, compared
from kidney_lab.reporting.formatting import words
from kidney_lab.reporting.mean_curves import mean_curves
from kidney_lab.reporting.measured import UNDEFINED_RULE
from kidney_lab.reporting.metric_words import metric_name
from kidney_lab.reporting.plot import Plot, PlotSet
from kidney_lab.reporting.plots import score_plot
from kidney_lab.reporting.rank_tests import MIN_CASES, MIN_METHODS, rank_tests
from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.strata_tables import REGION

VIOLINS = (
    "Violin, from five cases on: density, cut at the extreme values; box: quartiles with the median; line: range; "
    "diamond: mean. From top to bottom in the order of the legend."
)
TALLEST = 30
"""Violins that one plot holds at most, so that it fits a page."""

AVERAGED = f"Scores are averaged over the runs (seeds) of a row, case by case. {UNDEFINED_RULE}"


def plot_sets(runs: Sequence[Run], groups: Iterable[RowGroup]) -> list[PlotSet]:
    """Draws everything that there is of the runs of a report.

    Args:
        runs: of the report.
        groups: rows of papers' tables among them.

    Returns:
        For rows, and for runs of no table, on the same data: violins of every metric, box plots, Dice against the
        tumor's size and against FLOPs, critical-difference diagrams, learning curves; what is not known is not drawn.
    """
    return [
        PlotSet(
            id=f"plots-{found.id}",
            title=f"By {'row' if found.of_rows else 'run'}: {found.title}",
            plots=[
                *violins(found),
                *box_plots(found),
                *diameter_plots(found),
                *cost_plots(found),
                *rank_diagrams(found),
                *mean_curves(found),
            ],
            legend=found.legend,
            caption=AVERAGED if found.averaged else "",
        )
        for found in compared(runs, groups)
    ]


def violins(found: Compared) -> list[Plot]:
    """Draws every case's score, region by region, a plot for each metric, of each region where it grew too tall."""
    plots = []
    is_shown = not found.of_rows or len(found.runs) == 1
    for metric, regions in found.scores.items():
        is_tall = len(regions) * len(found.methods) > TALLEST
        for part in [[region] for region in regions] if is_tall else [regions]:
            tables = {method.name: _scores(method, part, metric) for method in found.methods}
            if not all(frame.empty for frame in tables.values()):
                kind = f"violins-{metric}{f'-{part[0]}' if is_tall else ''}"
                title = f"{f'{words(part[0])}: ' if is_tall else ''}{metric_name(metric)} of every case"
                plot = _plot(found, kind, title, score_plot(tables, metric), VIOLINS)
                plots.append(replace(plot, repeats=is_shown))
    return plots


def _scores(method: Method, regions: Sequence[str], metric: str) -> pd.DataFrame:
    frame = method.metrics
    return frame[(frame["metric"] == metric) & frame["region"].isin(list(regions))].dropna(subset="value")


def box_plots(found: Compared) -> list[Plot]:
    """Draws boxes, a plot for each metric and region; none of a single method."""
    plots = []
    for metric, regions in found.scores.items() if len(found.methods) > 1 else ():
        for region in regions:
            values = {method.name: values_of(method.metrics, region, metric) for method in found.methods}
            if any(by_case.notna().any() for by_case in values.values()):
                title = f"{words(region)}: {metric_name(metric)}"
                picture = boxes.box_plot(values, title)
                plots.append(_plot(found, f"boxes-{metric}-{region}", title, picture, boxes.CAPTION, labelled=True))
    return plots


def diameter_plots(found: Compared) -> list[Plot]:
    """Draws Dice of the tumor against its size; nothing where no sizes are known."""
    cases = {
        method.name: diameter_plot.with_diameters(values_of(method.metrics, REGION, "dice"), method.strata)
        for method in found.methods
    }
    largest = max(len(frame) for frame in cases.values())
    if not largest:
        return []
    picture = diameter_plot.diameter_plot(cases, "Dice of the tumor")
    window = diameter_plot.window_of(largest)
    caption = diameter_plot.CAPTION.format(window=window)
    return [_plot(found, "diameter-dice-tumor", "Dice of the tumor against its diameter", picture, caption)]


def cost_plots(found: Compared) -> list[Plot]:
    """Draws Dice of each region against FLOPs; nothing where fewer than two methods say them."""
    regions = found.dice_regions
    if len(found.methods) < 2 or not regions:
        return []
    what, points = cost_plot.costs_of(found.methods, regions)
    plots = []
    for region, of_region in points.items():
        if len(of_region) > 1:
            title = f"{words(region)}: mean Dice"
            picture = cost_plot.cost_plot(of_region, what, title)
            caption = cost_plot.CAPTION.format(what=cost_plot.MEANING[what])
            plots.append(_plot(found, f"cost-dice-{region}", f"{title} against {what}", picture, caption))
    return plots


def rank_diagrams(found: Compared) -> list[Plot]:
    """Draws the critical-difference diagram of each region's Dice; nothing with too few methods or cases."""
    plots = []
    for region in found.dice_regions:
        values = {method.name: values_of(method.metrics, region, "dice") for method in found.methods}
        table = pd.DataFrame(values)
        if len(values) >= MIN_METHODS and len(table.dropna()) >= MIN_CASES:
            tests = rank_tests(table)
            title = f"Dice of the {words(region).lower()}"
            picture = rank_diagram.rank_diagram(tests, title)
            caption = rank_diagram.caption(tests)
            name = f"critical-difference-dice-{region}"
            plots.append(_plot(found, name, f"Critical differences of {title}", picture, caption, labelled=True))
    return plots


def _plot(found: Compared, kind: str, title: str, svg: str, caption: str, *, labelled: bool = False) -> Plot:
    """A plot of these methods, with a legend unless each is `labelled` in the picture."""
    return Plot(
        name=f"{kind}-{found.id}",
        title=f"{title}: {found.title}",
        svg=svg,
        caption=f"{title}. {caption}",
        legend=[] if labelled else found.legend,
        note=found.note,
    )
