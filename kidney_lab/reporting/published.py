"""A paper's table beside what was measured: numbers of `experiments/<paper>/published.json`, joined to runs by row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kidney_lab.reporting.formatting import MISSING, decimal, mean_with_interval, words
from kidney_lab.reporting.measured import MeasuredRow, measured_rows
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.paper_metrics import GAINS, MEAN_DICE, SECONDS
from kidney_lab.reporting.published_checks import MARK, check_notes, check_published, marked_scores
from kidney_lab.reporting.published_scores import PublishedScore, ScoreKey, read_published
from kidney_lab.reporting.row_scores import row_scores
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import regions_of
from kidney_lab.reporting.sections import TableRow, TableSection, section_markdown
from kidney_lab.reporting.statistics import Interval

HEADER: Final = ("Row", "Region", "Metric", "Measured [95% CI]", "Runs", "Cases", "Published", "Difference")
N_TEXT: Final = 3
"""Columns of words under `HEADER`."""

_CAPTION: Final = (
    "Measured: mean over cases with its 95 % bootstrap interval; several runs of a row, such as seeds, are first "
    "averaged case by case. Difference: measured minus published. The paper scored cases of its own, so that there is "
    "no paired test of a difference."
)
_JACCARD: Final = " The Jaccard index of a case is that of its Dice, D / (2 - D), where it was not scored itself."
_NO_REGION: Final = " A score of no region is the mean over the regions whose Dice the table has."
_GAIN: Final = " A gain is the difference of two rows, of scores case by case, and not relative to either."
_SECONDS: Final = " The time per case is that of the machine that ran it."


def published_sections(runs: Sequence[Run], experiments: Path) -> list[TableSection]:
    """Lays out every table that any of the runs is of, once for each dataset that its paper scored.

    Args:
        runs: of the report.
        experiments: folder of the papers' folders.

    Returns:
        A section per table and dataset; none where no run is of a table. A run on one of the paper's datasets stands
        beside that one's numbers, a run on other data beside all of them.
    """
    sections = []
    for table, measured in measured_rows(runs).items():
        paper, _, name = table.rpartition("/")
        published = [score for score in read_published(experiments / paper / "published.json") if score.table == name]
        datasets: list[str | None] = list(dict.fromkeys(score.dataset for score in published)) or [None]
        for dataset in datasets:
            rows = [row for row in measured if row.dataset == dataset or row.dataset not in datasets]
            scores = [score for score in published if score.dataset == dataset]
            if rows:
                keys = list(dict.fromkeys(score.key for score in scores)) or table_keys(table, experiments, rows)
                sections.append(_section(table, dataset, rows, scores, keys))
    return sections


def published_markdown(sections: Sequence[TableSection]) -> str:
    """Writes the tables of `published_sections` in Markdown."""
    lines = [line for section in sections for line in section_markdown(section)]
    return "\n".join(["# Measured beside published", "", *lines])


def table_keys(table: str, experiments: Path, measured: Sequence[MeasuredRow]) -> list[ScoreKey]:
    """Scores that a table is about.

    Args:
        table: `<paper>/<table>`.
        experiments: folder of the papers' folders.
        measured: rows of the table.

    Returns:
        Those that it publishes; of a table that is not in the paper those of the paper's tables; else Dice by region.
    """
    paper, _, name = table.rpartition("/")
    published = read_published(experiments / paper / "published.json")
    keys = dict.fromkeys(score.key for score in [s for s in published if s.table == name] or published)
    return list(keys) or [(region, "dice", "case") for region in regions_of(row.metrics for row in measured)]


def _section(
    table: str,
    dataset: str | None,
    measured: Sequence[MeasuredRow],
    published: Sequence[PublishedScore],
    keys: Sequence[ScoreKey],
) -> TableSection:
    names = dict.fromkeys([*(score.row for score in published), *(row.row for row in measured)])
    runs_of = {score.row: score.runs_of for score in published if score.runs_of}
    contradictions = check_published(published)
    marked = marked_scores(contradictions)
    rows = []
    for name in names:
        own = {score.key: score.value for score in published if score.row == name}
        marks = {key for row, key in marked if row == name}
        of_it = [row for row in measured if row.row == runs_of.get(name, name)]
        for row in of_it:
            # Other gains stand between the rows, other scores of a row that has two names at its first.
            has = row_scores(row, keys, measured)
            shown = {k: score for k, score in has.items() if k in own or (k[1] not in GAINS and name not in runs_of)}
            rows += _lines(_title(name, row, dataset), len(row.runs), shown, own, keys, marks)
        if not of_it:
            rows += _lines(name, 0, {}, own, keys, marks)
    return TableSection(
        id="-".join(["published", *table.split("/"), *([dataset] if dataset else [])]),
        title=f"Beside the paper: {table}" + (f" on {dataset}" if dataset else ""),
        caption=_caption(keys),
        header=HEADER,
        rows=rows,
        notes=[*_notes(dataset, measured), *check_notes(contradictions)],
        by_run=False,
        n_text=N_TEXT,
    )


def _lines(
    title: str,
    n_runs: int,
    measured: dict[ScoreKey, Interval],
    published: dict[ScoreKey, float],
    keys: Sequence[ScoreKey],
    marked: set[ScoreKey],
) -> list[TableRow]:
    """Lines of a row: the scores that were measured or published, these with a mark where no method can have them."""
    lines: list[TableRow] = []
    for key in keys:
        interval, value = measured.get(key), published.get(key)
        if interval is None and value is None:
            continue
        cells = [
            title,
            words(key[0]) if key[0] else "",
            metric_title(key[1]),
            *([MISSING] * 3 if interval is None else [mean_with_interval(interval), str(n_runs), _cases(interval)]),
            MISSING if value is None else (f"{MARK} " if key in marked else "") + _as_printed(value),
            MISSING if interval is None or value is None else f"{interval.mean - value:+.3f}",
        ]
        lines.append(TableRow("", None, cells, kind="" if lines else "group"))
    return lines


def _caption(keys: Sequence[ScoreKey]) -> str:
    """What the numbers are, as far as the table has such."""
    metrics = {metric for _, metric, _ in keys}
    parts = {
        _JACCARD: "jaccard" in metrics,
        _NO_REGION: any(region is None and level == "case" and name != MEAN_DICE for region, name, level in keys),
        _GAIN: not metrics.isdisjoint(GAINS),
        _SECONDS: SECONDS in metrics,
    }
    return _CAPTION + "".join(sentence for sentence, needed in parts.items() if needed)


def _cases(interval: Interval) -> str:
    """Number of cases; what is measured of a network has none."""
    return str(interval.n) if interval.n else MISSING


def _title(name: str, row: MeasuredRow, dataset: str | None) -> str:
    data = [] if row.dataset == dataset else [row.dataset]
    marks = [*data, *(["SYNTHESIZED"] if row.synthesized else []), *row.changes]
    return f"{name} ({', '.join(marks)})" if marks else name


def _notes(dataset: str | None, measured: Sequence[MeasuredRow]) -> list[str]:
    notes = []
    made_up = sorted({row.dataset for row in measured if row.synthesized})
    if made_up:
        notes.append(
            f"SYNTHESIZED: the images of {', '.join(made_up)} are made up, so that what was measured on them says "
            "nothing about patients, and its difference to the paper nothing about the method."
        )
    others = sorted({row.dataset for row in measured if row.dataset != dataset and not row.synthesized})
    if dataset is not None and others:
        notes.append(f"The paper scored {dataset}: what was measured on {', '.join(others)} does not reproduce it.")
    return notes


def _as_printed(value: float) -> str:
    """Four decimals, which are two of a percentage; a rank is whole."""
    return str(value) if isinstance(value, int) else decimal(value, 4)
