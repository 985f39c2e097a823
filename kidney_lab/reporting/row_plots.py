"""How the scores of the cases spread, row by row of a paper's table, as Fig. 3 of MSALDS shows them.

S. Zheng, Q. Sun, X. Ye, W. Li and L. Li, "Multi-Scale Adversarial Learning and Difficult Supervision for Kidney and
Kidney Tumor Segmentation Methods", BMVC 2022.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kidney_lab.reporting.metric_words import metric_name
from kidney_lab.reporting.plots import score_plot
from kidney_lab.reporting.row_groups import RowGroup


@dataclass(frozen=True)
class RowPlots:
    """Plots of one table.

    Args:
        title: names the table and the data.
        plots: title and SVG, one for each metric of the table.
        legend: (index of the colour, row).
        averaged: whether a row has several runs.
    """

    title: str
    plots: list[tuple[str, str]]
    legend: list[tuple[int, str]]
    averaged: bool


def row_plots(groups: Iterable[RowGroup]) -> list[RowPlots]:
    """Draws the scores of every table, case by case and averaged over the runs of a row.

    Args:
        groups: rows on the same data; one with a single run is left out, since the run is drawn by itself.

    Returns:
        Plots by table, a colour for each row.
    """
    return [_plots(group) for group in groups if len(group.runs) > 1]


def _plots(group: RowGroup) -> RowPlots:
    tables = {row.title: row.metrics for row in group.rows}
    plots = []
    for metric in dict.fromkeys(metric for region, metric, _ in group.keys if region):
        regions = [region for region, of, _ in group.keys if region and of == metric]
        frames = {
            title: frame[(frame["metric"] == metric) & frame["region"].isin(regions)].dropna(subset="value")
            for title, frame in tables.items()
        }
        if not all(frame.empty for frame in frames.values()):
            plots.append((metric_name(metric), score_plot(frames, metric)))
    made_up = " (SYNTHESIZED images)" if group.synthesized else ""
    return RowPlots(
        title=f"By row: {group.table} on {group.data}{made_up}",
        plots=plots,
        legend=list(enumerate(tables)),
        averaged=any(len(row.runs) > 1 for row in group.rows),
    )
