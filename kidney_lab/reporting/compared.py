"""What the plots set side by side: rows of a paper's table, averaged over their runs, or runs of no table."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from kidney_lab.reporting.formatting import MISSING
from kidney_lab.reporting.provenance import split_words
from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import regions_of, shown_metrics, values_of
from kidney_lab.wording import counted


@dataclass(frozen=True, eq=False)
class Method:
    """What a plot shows in one colour: a row of a table, or a run.

    Args:
        name: in the legend.
        metrics: tidy table `case,region,metric,value`; of a row the means over its runs, case by case.
        runs: at least one.
    """

    name: str
    metrics: pd.DataFrame
    runs: list[Run]

    @property
    def strata(self) -> pd.DataFrame | None:
        """What kind of case each case is, by the first run that says it; None where none does."""
        return next((run.strata for run in self.runs if run.strata is not None), None)


@dataclass(frozen=True, eq=False)
class Compared:
    """Methods that were scored on the same split of the same data.

    Args:
        id: ends the names of files and anchors.
        title: names the table, if there is one, and the data.
        data: name of the data, with what a reader must know of it.
        methods: at least one, each with scores.
        scores: regions by metric, of what is drawn.
        of_rows: whether the methods are rows of a table.
    """

    id: str
    title: str
    data: str
    methods: list[Method]
    scores: dict[str, list[str]]
    of_rows: bool

    @property
    def runs(self) -> list[Run]:
        """Runs of all methods."""
        return [run for method in self.methods for run in method.runs]

    @property
    def legend(self) -> list[tuple[int, str]]:
        """Index of the colour and name of every method."""
        return [(index, method.name) for index, method in enumerate(self.methods)]

    @property
    def averaged(self) -> bool:
        """Whether a method has several runs."""
        return any(len(method.runs) > 1 for method in self.methods)

    @property
    def synthesized(self) -> bool:
        """Whether images of any run are made up."""
        return any(run.synthesized for run in self.runs)

    @property
    def note(self) -> str:
        """What every figure of made-up images must say; empty for those of patients."""
        return f"Data: {self.data}" if self.synthesized else ""

    @property
    def dice_regions(self) -> list[str]:
        """Regions that are drawn and that every method has Dice of."""
        drawn = dict.fromkeys(region for regions in self.scores.values() for region in regions)
        return [
            region
            for region in drawn
            if all(values_of(method.metrics, region, "dice").notna().any() for method in self.methods)
        ]


def compared(runs: Sequence[Run], groups: Iterable[RowGroup]) -> list[Compared]:
    """Sorts what a report is about into what its plots show together.

    Args:
        runs: of the report; those without scores are left out.
        groups: rows of papers' tables.

    Returns:
        The groups, then the runs of no table by the split that they were scored on, each with the folders of scores
        alone, of which the split is not known, that are of the same cases.
    """
    groups = list(groups)
    of_rows = {run.path for group in groups for run in group.runs}
    # A run of a table that no row counts is no method of its own.
    others = [run for run in runs if run.path not in of_rows and not ((groups and run.experiment) or run.metrics.empty)]
    by_split = _by_split(others)
    names = [next((str(run.data["name"]) for run in same if run.data), "scores") for same in by_split]
    return [
        *(_of_group(group) for group in groups),
        *(
            _of_runs(same, name, place if names.count(name) > 1 else None)
            for place, (same, name) in enumerate(zip(by_split, names, strict=True))
        ),
    ]


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _by_split(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs on the same data in the order of the report, together with scores of the same cases."""
    splits: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if not run.scores_only:
            key = (str(run.data.get("name")), str(run.data.get("split_hash")), run.scored)
            splits.setdefault(key, []).append(run)
    for run in runs:
        if run.scores_only:
            cases = sorted(set(run.metrics["case"]))
            alike = (same for same in splits.values() if sorted(set(same[0].metrics["case"])) == cases)
            (next(alike, None) or splits.setdefault(("scores", *cases), [])).append(run)
    order = {run.path: place for place, run in enumerate(runs)}
    return [sorted(same, key=lambda run: order[run.path]) for same in splits.values()]


def _of_group(group: RowGroup) -> Compared:
    scores: dict[str, list[str]] = {}
    for region, metric, _ in group.keys:
        if region:
            scores.setdefault(metric, []).append(region)
    methods = [Method(row.title, row.metrics, row.runs) for row in group.rows]
    note = _marked(group.data, synthesized=group.synthesized)
    return Compared(group.id, f"{group.table} on {note}", note, methods, scores, of_rows=True)


def _of_runs(runs: list[Run], name: str, place: int | None) -> Compared:
    """Runs on one split of some data; its place where there are several of them."""
    tables = [run.metrics for run in runs]
    scores = {metric: regions_of(tables) for metric in shown_metrics(tables)}
    note = _marked(name, synthesized=any(run.synthesized for run in runs))
    methods = [Method(run.name, run.metrics, [run]) for run in runs]
    own_id, title = (name, note) if place is None else (f"{name}-{place}", f"{note}, {_cases_words(runs[0])}")
    return Compared(_slug(own_id), title, note, methods, scores, of_rows=False)


def _cases_words(run: Run) -> str:
    split = split_words(run.data)
    return counted(run.metrics["case"].nunique(), "case") if split == MISSING else f"split {split}"


def _marked(data: str, *, synthesized: bool) -> str:
    return f"{data} (SYNTHESIZED images)" if synthesized else data
