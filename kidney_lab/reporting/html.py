"""The report of some runs: one HTML file that needs nothing else, and its tables in Markdown."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kidney_lab.files import write_text
from kidney_lab.reporting.case_table import case_table
from kidney_lab.reporting.contents import Choices, Contents, collect
from kidney_lab.reporting.curves import learning_curves
from kidney_lab.reporting.figure_files import save_figure
from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.gallery import galleries
from kidney_lab.reporting.overview import COST_HEADER, badges, command, cost_rows, facts, warnings
from kidney_lab.reporting.panels import choose_panels, confidence_panels, heatmap_panels
from kidney_lab.reporting.paper_figures import write_figures
from kidney_lab.reporting.pictures import Pictures, case_pictures
from kidney_lab.reporting.plots import score_plot
from kidney_lab.reporting.provenance import comparison_warnings, scored_part, unscored_warning
from kidney_lab.reporting.published import published_markdown
from kidney_lab.reporting.report_tables import report_tables
from kidney_lab.reporting.results import results_json
from kidney_lab.reporting.row_groups import averaged_runs
from kidney_lab.reporting.row_results import rows_json
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import ScoreRow, shown_metrics
from kidney_lab.reporting.sections import TableRow
from kidney_lab.reporting.svg import color_class
from kidney_lab.reporting.table_files import write_tables
from kidney_lab.reporting.tables import cases_markdown, score_cells, score_header, scores_markdown
from kidney_lab.reporting.written_files import keep_only
from kidney_lab.wording import counted

Context = dict[str, Any]

_STYLES = ("report.css", "interactive.css")
_SCRIPTS = ("report.js", "plots.js", "viewer.js")

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
    """Writes `report.html`, `scores.md`, `cases.md`, `results.json`; `published.md` and `rows.json` of papers' tables.

    Every table stands in `tables/` too, as Markdown, CSV and LaTeX; tables and figures that an earlier report left in
    `output` are removed.
    With `choices.pictures` the page shows slices of cases side by side, where the scans and the label maps of the runs
    are still there. With `choices.figures` every plot, and these panels, are PNG and PDF in `figures/` too.

    Args:
        runs: run folders, and folders that `task=evaluate` wrote; other paths are skipped, and the report says so.
        output: the files are written directly into it; created if missing.
        choices: what the runs are compared with, and by what; None: the defaults.

    Returns:
        What was written, and what was skipped.

    Raises:
        InputError: if none of the paths is a run folder, or a choice does not fit the runs.
    """
    chosen = choices or Choices()
    contents = collect(runs, chosen)
    for sentence in (*unscored_warning(contents.runs), *comparison_warnings(contents.runs), *contents.left_out):
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
    pictures = case_pictures(galleries(contents.runs, contents.groups) if chosen.pictures else [])
    for sentence in pictures.notes:
        log.warning("%s", sentence)
    write_text(report.html, render(contents, pictures, figures=chosen.figures))
    write_text(report.scores, scores_markdown(contents.rows, contents.runs, notes=notes, sections=sections))
    write_text(report.cases, cases_markdown(contents.runs))
    write_text(report.results, results_json(contents))
    written = write_tables(report_tables(contents), output / "tables")
    if contents.groups:
        write_text(output / "rows.json", rows_json(contents.groups))
        written.append(output / "rows.json")
    if chosen.figures:
        written += write_figures([plot for found in contents.plots for plot in found.plots], output / "figures")
        for panels in pictures.panels:
            written += save_figure(output / "figures", panels.name, panels.figure)
    keep_only(written, output)
    if report.published is not None:
        write_text(report.published, published_markdown(contents.published))
    else:
        (output / "published.md").unlink(missing_ok=True)  # of other runs, which an earlier report was on
    return report


def render(contents: Contents, pictures: Pictures, *, figures: bool = False) -> str:
    """Makes the HTML page.

    Args:
        contents: of at least one run.
        pictures: of cases.
        figures: whether panels are files too, which the page then names.

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
        plot_sets=[(found, [(plot, Markup(plot.svg)) for plot in found.in_page]) for found in contents.plots],
        sections=contents.sections,
        curves=[(curve, Markup(curve.svg)) for curve in learning_curves(runs, averaged_runs(contents.groups))],
        cases=case_table(runs),
        viewers=pictures.viewers,
        notes_on_pictures=pictures.notes,
        method_panels=pictures.panels,
        figures=figures,
        # of several runs the panels above show more in less room
        panels=[
            *(choose_panels(runs) if len(runs) == 1 or not pictures.panels else []),
            *heatmap_panels(runs),
            *confidence_panels(runs),
        ],
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
    return environment.get_template(template).render(style=_own(_STYLES), script=_own(_SCRIPTS), **context)


def _own(names: Sequence[str]) -> Markup:
    """Style sheets or scripts out of this package, which go into the page as they are."""
    folder = files("kidney_lab.reporting") / "templates"
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))


def _run_context(run: Run, color: int) -> Context:
    return {
        "name": run.name,
        "color": color,
        "facts": facts(run),
        "command": "" if run.scores_only else command(run),
        "config": run.config,
        "versions": list((run.record.get("versions") or {}).items()),
    }


def _interval_words(row: ScoreRow) -> str:
    return "" if isnan(row.cases.low) else f"95 %: {decimal(row.cases.low)} to {decimal(row.cases.high)}, "


def _tiles(rows: Sequence[ScoreRow]) -> list[Context]:
    return [
        {
            "name": f"{words(row.region)}, mean Dice",
            "mean": decimal(row.cases.mean),
            "note": f"{_interval_words(row)}{counted(row.cases.n, 'case')}",
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
