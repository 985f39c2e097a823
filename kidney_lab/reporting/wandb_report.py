"""Finished runs as a report and a workspace of W&B: what is built here is saved by `kidney_lab.tasks.wandb_report`.

Both show the same panels over the same runs, which they choose by their ids. Runs of a paper's table are grouped by its
rows, so that curves and bars are means over the seeds, with their range. W&B's own scores are means over the cases; the
tables with intervals and the paper's numbers are those of `task=report`, as text.
"""

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from kidney_lab.reporting.contents import Contents
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.tables import scores_markdown

ROW = "experiment.row"
"""Key of a run's configuration that its runs are grouped by."""

_LONGEST_TITLE = 128
_CURVES = ("val_case/mean_dice", "val_patch/loss", "train/loss_epoch")
_WHOLE, _HALF, _THIRD = wr.Layout(w=24, h=12), wr.Layout(w=12, h=8), wr.Layout(w=8, h=8)


def build_report(contents: Contents, *, entity: str, project: str) -> wr.Report:
    """Builds a report; nothing is saved.

    Args:
        contents: of runs that W&B has.
        entity: team or user that the runs belong to.
        project: of the runs.
    """
    runs = contents.runs
    text = scores_markdown(contents.rows, runs, notes=contents.notes, sections=contents.sections)
    blocks: list[Any] = [wr.MarkdownBlock(text)]
    for heading, panels in panels_of(runs).items():
        runset = wr.Runset(
            name=title_of(runs),
            filters=expr.And(expr.Metric("ID").isin(run_ids(runs))),
            groupby=[f"config.{ROW}"] if by_row(runs) else [],
        )
        blocks += [wr.H2(heading), wr.PanelGrid(runsets=[runset], panels=panels)]
    return wr.Report(
        entity=entity,
        project=project,
        title=title_of(runs)[:_LONGEST_TITLE],
        description=description_of(runs),
        blocks=blocks,
        width="fluid",
    )


def build_workspace(runs: Sequence[Run], *, entity: str, project: str) -> ws.Workspace:
    """Builds a saved view of a project's workspace; nothing is saved.

    Args:
        runs: that W&B has.
        entity: team or user that they belong to.
        project: of theirs.
    """
    return ws.Workspace(
        entity=entity,
        project=project,
        name=title_of(runs),
        sections=[ws.Section(name=heading, panels=panels, is_open=True) for heading, panels in panels_of(runs).items()],
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("ID").isin(run_ids(runs))),
            groupby=[expr.Config(ROW)] if by_row(runs) else [],
            pinned_columns=[f"summary:{name}" for name in score_names(runs)],
        ),
    )


def panels_of(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Panels by their headings: learning curves, scores by row, the scored cases, and cost.

    Args:
        runs: that W&B has.
    """
    group = wr.Config(ROW) if by_row(runs) else None
    curves: list[Any] = [
        wr.LinePlot(
            title=f"{stage}: {metric}",
            x=f"{stage}/epoch",
            y=[f"{stage}/{metric}"],
            groupby=group,
            groupby_aggfunc="mean" if group else None,
            groupby_rangefunc="minmax" if group else None,
            layout=_THIRD,
        )
        for stage, metric in logged_curves(runs)
    ]
    names = score_names(runs)
    scores: list[Any] = [
        wr.BarPlot(
            title=name,
            metrics=[name],
            groupby=group,
            groupby_aggfunc="mean" if group else None,
            groupby_rangefunc="minmax" if group else None,
            max_bars_to_show=50,
            layout=_HALF,
        )
        for name in names
    ]
    cases: list[Any] = [
        wr.WeavePanelSummaryTable(table_name=f"{part}/cases", layout=_WHOLE)
        for part in dict.fromkeys(run.scored for run in runs)
    ]
    cost: list[Any] = [
        wr.ScatterPlot(
            title=f"Cost and {name}",
            x=wr.SummaryMetric("cost_per_case.flops"),
            y=wr.SummaryMetric(name),
            log_x=True,
            layout=_HALF,
        )
        for name in names
        if name.endswith("/dice")
    ]
    found = {"Learning curves": curves, "Scores": scores, "Cases": cases, "Cost": cost}
    return {heading: panels for heading, panels in found.items() if panels}


def run_ids(runs: Sequence[Run]) -> list[str]:
    """Ids of the runs in W&B."""
    return [str(run.record["wandb"]["id"]) for run in runs]


def by_row(runs: Sequence[Run]) -> bool:
    """Whether the runs are rows of papers' tables, by which they are grouped."""
    return all(run.experiment for run in runs)


def title_of(runs: Sequence[Run]) -> str:
    """The table of the runs, the run, or how many they are."""
    tables = {run.experiment[0] if run.experiment else None for run in runs}
    if len(tables) == 1 and (table := tables.pop()) is not None:
        return table
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs"


def description_of(runs: Sequence[Run]) -> str:
    """Data and split of the runs, and whether their images are made up."""
    data = dict.fromkeys(f"{run.data.get('name')}, split {run.data.get('split')}" for run in runs)
    made_up = " The images are SYNTHESIZED: these scores say nothing about patients."
    return f"{'; '.join(data)}.{made_up if any(run.synthesized for run in runs) else ''}"


def score_names(runs: Sequence[Run]) -> list[str]:
    """Names in a run's summary of the means of every metric of every region, such as `test/tumor/dice`."""
    found = [
        f"{run.scored}/{region}/{metric}"
        for run in runs
        for region, metric in run.metrics[["region", "metric"]].drop_duplicates().itertuples(index=False)
    ]
    return list(dict.fromkeys(found))


def logged_curves(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Stages and the metrics whose curves are shown, by W&B's names of them; networks of folds are left out."""
    found = []
    for run in runs:
        for stage, epochs in run.epochs.groupby("stage", sort=False) if "stage" in run.epochs else ():
            logged = {name for name in epochs if epochs[name].notna().any()}
            shown = [name for name in _CURVES if name.removesuffix("_epoch") in logged]
            found += [(str(stage), name) for name in shown if "/" not in str(stage)]
    return list(dict.fromkeys(found))
