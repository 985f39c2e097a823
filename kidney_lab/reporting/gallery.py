"""Which methods and cases the pictures of a report show: the rows of a paper's table, or runs that are of none.

A row of several runs (seeds) is shown by one of them: the one whose mean Dice is nearest to the mean of all, so that
neither luck nor its lack is on show. Cases are ranked by the mean of all methods, so that no method chooses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import decisive_region, values_of

MAX_METHODS: Final = 10
"""So many methods are shown side by side at most."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One method of a gallery.

    Args:
        name: of the row, or of the run.
        run: whose label maps are shown.
        n_runs: that the method has.
        color: index of its colour in the plots.
    """

    name: str
    run: Run
    n_runs: int
    color: int


@dataclass(frozen=True, eq=False)
class Gallery:
    """Methods whose pictures stand side by side.

    Args:
        id: ends anchors and names of files; empty for runs of no table.
        title: what is compared; empty for runs of no table.
        methods: at least one.
        n_left_out: methods beyond `MAX_METHODS`.
        region: by whose Dice cases are ranked.
        dice: of that region, by case and name of the method: means over its runs, NaN where undefined.
    """

    id: str
    title: str
    methods: list[Shown]
    n_left_out: int
    region: str
    dice: pd.DataFrame

    @property
    def ranked(self) -> list[str]:
        """Cases by the mean of all methods, worst first; those that a method was not scored on are left out."""
        means = self.dice.dropna().mean(axis=1)
        return [str(case) for case in means.sort_values(kind="stable").index]

    @property
    def synthesized(self) -> bool:
        """Whether images of any method are made up."""
        return any(shown.run.synthesized for shown in self.methods)


def galleries(runs: Sequence[Run], groups: Sequence[RowGroup]) -> list[Gallery]:
    """Sorts methods into galleries.

    Args:
        runs: of the report.
        groups: rows of tables; a run of one is shown there.

    Returns:
        One for every group, and one for each set of other runs that were scored on the same cases; none without scores.
    """
    found = [_of_group(group) for group in groups]
    of_rows = [run for group in groups for run in group.runs]
    by_cases: dict[frozenset[str], list[Run]] = {}
    for run in runs:
        if run not in of_rows and not run.metrics.empty:
            by_cases.setdefault(frozenset(run.metrics["case"]), []).append(run)
    color = {run.name: index for index, run in enumerate(runs)}
    for number, together in enumerate(by_cases.values(), start=1):
        methods = [(run.name, [run], run.metrics, color[run.name]) for run in together]
        several = len(by_cases) > 1 or bool(groups)
        title = ", ".join(dict.fromkeys(run.name for run in together)) if several else ""
        found.append(_gallery(f"runs-{number}" if several else "", title, methods))
    return [gallery for gallery in found if gallery is not None and gallery.ranked]


@dataclass(frozen=True)
class Role:
    """Why a case is shown: it is the "worst", "median" or "best" one of a method, or by the mean of all (None)."""

    word: str
    method: str | None = None


def roles(gallery: Gallery, *, best: bool = False) -> dict[str, list[Role]]:
    """Chooses the cases that tell most.

    Args:
        gallery: of at least one ranked case.
        best: whether the best case is one of them; else the worst and the median case of every single method follow.

    Returns:
        Roles by case, the worst and the median case by the mean of all methods first.
    """
    ranked = gallery.ranked
    named = [(Role("worst"), ranked[0]), (Role("median"), ranked[len(ranked) // 2])]
    if best:
        named.append((Role("best"), ranked[-1]))
    elif len(gallery.methods) > 1:
        own = {
            shown.name: gallery.dice[shown.name].dropna().sort_values(kind="stable").index for shown in gallery.methods
        }
        named += [(Role("worst", name), str(cases[0])) for name, cases in own.items()]
        named += [(Role("median", name), str(cases[len(cases) // 2])) for name, cases in own.items()]
    chosen: dict[str, list[Role]] = {}
    for role, case in named:
        chosen.setdefault(case, []).append(role)
    return chosen


def _of_group(group: RowGroup) -> Gallery | None:
    made_up = " (SYNTHESIZED images)" if group.synthesized else ""
    methods = [(row.title, row.runs, row.metrics, index) for index, row in enumerate(group.rows)]
    return _gallery(group.id, f"{group.table} on {group.data}{made_up}", methods)


def _gallery(id: str, title: str, methods: Sequence[tuple[str, list[Run], pd.DataFrame, int]]) -> Gallery | None:
    """Puts methods, each a name, its runs, its scores and its colour, into one gallery; None without any score."""
    region = next((name for *_, scores, _ in methods if (name := decisive_region(scores))), None)
    if region is None:
        return None
    dice = pd.DataFrame({name: values_of(scores, region, "dice") for name, _, scores, _ in methods})
    shown = [Shown(name, _typical(runs, region), len(runs), color) for name, runs, _, color in methods]
    first = shown[:MAX_METHODS]
    return Gallery(id, title, first, len(shown) - len(first), region, dice[[method.name for method in first]])


def _typical(runs: Sequence[Run], region: str) -> Run:
    """The run whose mean Dice is nearest to that of all; the first of equals."""
    means = [values_of(run.metrics, region, "dice").mean() for run in runs]
    middle = pd.Series(means).mean()
    return min(zip(runs, means, strict=True), key=lambda pair: (pd.isna(pair[1]), abs(pair[1] - middle)))[0]
