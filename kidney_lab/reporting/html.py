"""The report of some runs: one HTML file that needs nothing else, and its tables in Markdown."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kidney_lab.files import write_text
from kidney_lab.reporting.case_table import case_table
from kidney_lab.reporting.contents import Choices, Contents, collect
from kidney_lab.reporting.curves import learning_curves
from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.overview import COST_HEADER, badges, command, cost_rows, facts, warnings
from kidney_lab.reporting.panels import choose_panels, confidence_panels, heatmap_panels
from kidney_lab.reporting.plots import score_plot
from kidney_lab.reporting.provenance import comparison_warnings, scored_part
from kidney_lab.reporting.published import published_markdown
from kidney_lab.reporting.results import results_json
from kidney_lab.reporting.row_plots import row_plots
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import ScoreRow, shown_metrics
from kidney_lab.reporting.sections import TableRow
from kidney_lab.reporting.svg import color_class
from kidney_lab.reporting.tables import cases_markdown, score_cells, score_header, scores_markdown

Context = dict[str, Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What was written.

    Args:
        html: the report.
        scores: Markdown, a row per region and run.
        cases: Markdown, a row per case.
        results: JSON, for `experiments/<paper>/results.json`.
        published: Markdown, papers' tables beside the runs; None where no run is of a table.
        runs: folders that are reported on.
        skipped: one sentence for each path that is not.
    """

    html: Path
    scores: Path
    cases: Path
    results: Path
    published: Path | None
    runs: tuple[Path, ...]
    skipped: tuple[str, ...]


def write_report(runs: Sequence[Path], output: Path, choices: Choices | None = None) -> Report:
    """Writes `report.html`, `scores.md`, `cases.md`, `results.json`, and `published.md` if a run is of a paper's table.

    Args:
        runs: run folders, and folders that `task=evaluate` wrote; other paths are skipped, and the report says so.
        output: the files are written directly into it; created if missing.
        choices: what the runs are compared with, and by what; None: the defaults.

    Returns:
        What was written, and what was skipped.

    Raises:
        InputError: if none of the paths is a run folder, or a choice does not fit the runs.
    """
    contents = collect(runs, choices or Choices())
    for sentence in (*comparison_warnings(contents.runs), *contents.left_out):
        log.warning("%s", sentence)
    report = Report(
        html=output / "report.html",
        scores=output / "scores.md",
        cases=output / "cases.md",
        results=output / "results.json",
        published=output / "published.md" if contents.published else None,
        runs=tuple(run.path for run in contents.runs),
        skipped=tuple(contents.skipped),
    )
    notes, sections = contents.notes, contents.sections
    write_text(report.html, render(contents))
    write_text(report.scores, scores_markdown(contents.rows, contents.runs, notes=notes, sections=sections))
    write_text(report.cases, cases_markdown(contents.runs))
    write_text(report.results, results_json(contents))
    if report.published is not None:
        write_text(report.published, published_markdown(contents.published))
    else:
        (output / "published.md").unlink(missing_ok=True)  # of other runs, which an earlier report was on
    return report


def render(contents: Contents) -> str:
    """Makes the HTML page.

    Args:
        contents: of at least one run.

    Returns:
        A page without any reference to something outside itself.
    """
    runs, rows = contents.runs, contents.rows
    tables = {run.name: run.metrics for run in runs}
    shown = shown_metrics(tables.values())
    return page(
        "report.html.j2",
        color_class=color_class,
        many=len(runs) > 1,
        title=runs[0].name if len(runs) == 1 else f"Comparison of {len(runs)} runs",
        badges=badges(runs),
        warnings=warnings(runs),
        part=scored_part(runs),
        runs=[_run_context(run, index) for index, run in enumerate(runs)],
        run_legend=[(index, run.name) for index, run in enumerate(runs)],
        header=score_header(rows),
        tiles=_tiles([row for row in rows if row.run == runs[0].name]) if len(runs) == 1 else [],
        rows=_score_table(runs, rows),
        by_run=len({row.run for row in rows}) > 1,
        notes=contents.notes,
        score_plots=[(words(metric), Markup(score_plot(tables, metric))) for metric in shown] if rows else [],
        row_plots=[(plots, [(name, Markup(svg)) for name, svg in plots.plots]) for plots in row_plots(contents.groups)],
        sections=contents.sections,
        curves=[(curve, Markup(curve.svg)) for curve in learning_curves(runs)],
        cases=case_table(runs),
        panels=[*choose_panels(runs), *heatmap_panels(runs), *confidence_panels(runs)],
        cost_header=COST_HEADER,
        costs=[row for index, run in enumerate(runs) for row in cost_rows(run, index)],
        skipped=contents.skipped,
    )


def page(template: str, **context: Any) -> str:
    """Fills one of this package's templates, which all share the style sheet and the script.

    Args:
        template: file name.
        context: what it names; a name that is missing is an error.

    Returns:
        HTML; texts are escaped unless they are `Markup`.
    """
    environment = Environment(
        loader=PackageLoader("kidney_lab.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(style=_own("report.css"), script=_own("report.js"), **context)


def _own(name: str) -> Markup:
    """Style sheet or script out of this package, which goes into the page as it is."""
    return Markup((files("kidney_lab.reporting") / "templates" / name).read_text(encoding="utf-8"))


def _run_context(run: Run, color: int) -> Context:
    return {
        "name": run.name,
        "color": color,
        "facts": facts(run),
        "command": "" if run.scores_only else command(run),
        "config": run.config,
        "versions": list((run.record.get("versions") or {}).items()),
    }


def _tiles(rows: Sequence[ScoreRow]) -> list[Context]:
    return [
        {
            "name": f"{words(row.region)}, mean Dice",
            "mean": decimal(row.cases.mean),
            "note": f"95 %: {decimal(row.cases.low)} to {decimal(row.cases.high)}, {row.cases.n} cases",
        }
        for row in rows
    ]


def _score_table(runs: Sequence[Run], rows: Sequence[ScoreRow]) -> list[TableRow]:
    color = {run.name: index for index, run in enumerate(runs)}
    return [
        TableRow(row.run, color.get(row.run), score_cells(row), kind="group" if index in _starts(rows) else "")
        for index, row in enumerate(rows)
    ]


def _starts(rows: Sequence[ScoreRow]) -> set[int]:
    """Places where a region begins that has a row per run."""
    if len({row.run for row in rows}) < 2:
        return set()
    return {index for index, row in enumerate(rows) if not index or row.region != rows[index - 1].region}
