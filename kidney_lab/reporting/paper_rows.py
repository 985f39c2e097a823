"""A paper's table as rows: for each what it publishes, what was measured, and how far several trainings lie apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.reporting.accuracy_remark import with_trivial_accuracy
from kidney_lab.reporting.measured import MeasuredRow, measured_rows
from kidney_lab.reporting.paper_metrics import GAINS
from kidney_lab.reporting.published_checks import MARK, Contradiction, check_published, marked_scores
from kidney_lab.reporting.published_claims import CLAIM_MARK, FalseClaim, false_claims
from kidney_lab.reporting.published_scores import PublishedScore, ScoreKey, read_published
from kidney_lab.reporting.row_runs import choose_runs
from kidney_lab.reporting.row_scores import row_scores, spread_of_runs
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import regions_of
from kidney_lab.reporting.statistics import Interval


@dataclass(frozen=True, eq=False)
class PaperRow:
    """A row of a paper's table, once for every kind of data and settings that it was measured with.

    Args:
        title: its name, with the data and the settings where they are not the table's.
        row: runs of it; None where there are none.
        measured: what they scored.
        spread: standard deviation of the means of its runs, where there are several.
        published: what the paper prints.
        marks: that stand in front of numbers of the paper.
    """

    title: str
    row: MeasuredRow | None
    measured: dict[ScoreKey, Interval]
    spread: dict[ScoreKey, float]
    published: dict[ScoreKey, float | None]
    marks: dict[ScoreKey, str]

    @property
    def data(self) -> tuple[str, str, bool] | None:
        """What was scored: measured values are set against each other within it alone."""
        return None if self.row is None else (self.row.dataset, self.row.split, self.row.synthesized)


@dataclass(frozen=True, eq=False)
class PaperTable:
    """A table of a paper on one of its datasets.

    Args:
        table: `<paper>/<table>`.
        dataset: that the paper scored; None where it does not say.
        keys: scores that the table is about.
        measured: runs that stand in it.
        published: numbers of the paper.
        rows: of the table.
        contradictions: numbers of the paper that no method can have.
        claims: of the paper that its own numbers do not bear out.
        left_out: sentences on runs of the table that do not count.
    """

    table: str
    dataset: str | None
    keys: list[ScoreKey]
    measured: list[MeasuredRow]
    published: list[PublishedScore]
    rows: list[PaperRow]
    contradictions: list[Contradiction]
    claims: list[FalseClaim]
    left_out: list[str]

    @property
    def id(self) -> str:
        """Ends the anchors of its parts of the page."""
        return "-".join([*self.table.split("/"), *([self.dataset] if self.dataset else [])])

    @property
    def title(self) -> str:
        """Names the table and its data."""
        return self.table + (f" on {self.dataset}" if self.dataset else "")


def paper_tables(runs: Sequence[Run], experiments: Path) -> list[PaperTable]:
    """Every table that any of the runs is of, once for each dataset that its paper scored.

    Args:
        runs: of the report.
        experiments: folder of the papers' folders.

    Returns:
        None where no run is of a table. A run on one of the paper's datasets stands beside that one's numbers, a run on
        other data beside all of them.
    """
    tables = []
    for table, measured in measured_rows(runs).items():
        paper, _, name = table.rpartition("/")
        published = [score for score in read_published(experiments / paper / "published.json") if score.table == name]
        datasets: list[str | None] = list(dict.fromkeys(score.dataset for score in published)) or [None]
        for dataset in datasets:
            rows = [row for row in measured if row.dataset == dataset or row.dataset not in datasets]
            scores = [score for score in published if score.dataset == dataset]
            if rows:
                keys = list(dict.fromkeys(score.key for score in scores)) or table_keys(table, experiments, rows)
                of_table = [run for run in runs if run.experiment and run.experiment[0] == table]
                tables.append(_paper_table(table, dataset, rows, scores, keys, choose_runs(of_table)[1]))
    return tables


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


def _paper_table(
    table: str,
    dataset: str | None,
    measured: list[MeasuredRow],
    published: list[PublishedScore],
    keys: Sequence[ScoreKey],
    left_out: list[str],
) -> PaperTable:
    keys = with_trivial_accuracy(keys)
    contradictions, claims = check_published(published), false_claims(published)
    marked = [*((MARK, score) for score in marked_scores(contradictions)), *((CLAIM_MARK, c.score) for c in claims)]
    runs_of = {score.row: score.runs_of for score in published if score.runs_of}
    rows = []
    for name in dict.fromkeys([*(score.row for score in published), *(row.row for row in measured)]):
        own = {score.key: score.value for score in published if score.row == name}
        marks = {key: "".join(f"{mark} " for mark, of in marked if of == (name, key)) for key in own}
        of_it = [row for row in measured if row.row == runs_of.get(name, name)]
        for row in of_it:
            # Other gains stand between the rows, other scores of a row that has two names at its first.
            has = row_scores(row, keys, measured)
            shown = {k: score for k, score in has.items() if k in own or (k[1] not in GAINS and name not in runs_of)}
            spread = {key: spread_of_runs(row, key, keys) for key in shown} if len(row.runs) > 1 else {}
            rows.append(PaperRow(_title(name, row, dataset), row, shown, spread, own, marks))
        if not of_it:
            rows.append(PaperRow(name, None, {}, {}, own, marks))
    return PaperTable(table, dataset, keys, measured, published, rows, contradictions, claims, left_out)


def _title(name: str, row: MeasuredRow, dataset: str | None) -> str:
    data = [] if row.dataset == dataset else [row.dataset]
    marks = [*data, *(["SYNTHESIZED"] if row.synthesized else []), *row.changes]
    return f"{name} ({', '.join(marks)})" if marks else name
