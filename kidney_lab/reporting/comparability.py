"""Whether runs may stand side by side: the same cases of the same data, scored in the same way."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kidney_lab.errors import InputError
from kidney_lab.metrics.scoring import find_metric
from kidney_lab.reporting.formatting import first_few
from kidney_lab.reporting.provenance import split_words
from kidney_lab.reporting.runs import Run
from kidney_lab.wording import counted


@dataclass(frozen=True)
class Fact:
    """Something in which runs must agree.

    Args:
        title: what it is, in words.
        of: what a run has; None where it does not say, which agrees with everything.
        words: tells it of the first run, beside the second; None: as it is.
    """

    title: str
    of: Callable[[Run], Hashable | None]
    words: Callable[[Run, Run], str] | None = None

    def told(self, run: Run, other: Run) -> str:
        """What a run has, in words."""
        return str(self.of(run)) if self.words is None else self.words(run, other)


@dataclass(frozen=True)
class Difference:
    """A fact in which two runs do not agree."""

    fact: Fact
    first: Run
    second: Run

    @property
    def words(self) -> str:
        """What either run has, under its name and its folder."""
        pairs = ((self.first, self.second), (self.second, self.first))
        return ", ".join(f"{run.name} ({run.path}) has {self.fact.told(run, other)}" for run, other in pairs)


def check_comparable(runs: Sequence[Run]) -> None:
    """Makes sure that runs may stand side by side in tables, tests and plots.

    Args:
        runs: of a report; those without scores are beside none.

    Raises:
        InputError: two of them differ in what was scored, or in how; the first difference is named.
    """
    found = first_difference(runs)
    if found is None:
        return
    tables = list(dict.fromkeys(run.experiment[0] for run in (found.first, found.second) if run.experiment))
    of_tables = f", and they are of the tables {' and '.join(tables)}" if len(tables) > 1 else ""
    raise InputError(
        f"These runs cannot stand side by side, since they differ in {found.fact.title}: {found.words}{of_tables}; "
        "narrow runs= (and baseline=) to one of the two kinds, or let mixed=true show both, without tests where they "
        "cannot be paired."
    )


def first_difference(runs: Sequence[Run], facts: Sequence[Fact] | None = None) -> Difference | None:
    """The first fact in which runs with scores do not agree, with the first two of them that do not.

    Args:
        runs: those without scores are skipped.
        facts: in which they must agree, in order; None: all of them.
    """
    scored = [run for run in runs if not run.metrics.empty]
    for fact in FACTS if facts is None else facts:
        known = [(run, value) for run in scored if (value := fact.of(run)) is not None]
        for run, value in known[1:]:
            if value != known[0][1]:
                return Difference(fact, known[0][0], run)
    return None


def measures_surfaces(metrics: Iterable[str]) -> bool:
    """Whether what counts as surface changes one of the metrics."""
    return any((metric := find_metric(name)) is not None and metric.needs == "surfaces" for name in metrics)


def _data(run: Run, key: str) -> str | None:
    value = run.data.get(key)
    return None if value is None else str(value)


def _images(run: Run) -> str | None:
    known = "synthesized" in run.data
    return ("synthesized images" if run.synthesized else "real images") if known else None


def _part(run: Run) -> str | None:
    return None if run.scores_only else f"scores of {run.scored} cases"


def _split(run: Run) -> str | None:
    """Folds of one split that were scored on the same cases, as an ensemble's members are, may stand side by side."""
    return _data(run, "split_hash" if run.data.get("fold") is None else "split")


def _split_words(run: Run, _: Run) -> str:
    return split_words(run.data)


def _cases(run: Run) -> frozenset[str]:
    return frozenset(run.metrics["case"])


def _cases_words(run: Run, other: Run) -> str:
    alone = sorted(_cases(run) - _cases(other))
    lacking = f", {len(alone)} of which the other lacks ({first_few(alone)})" if alone else ""
    return f"{counted(len(_cases(run)), 'case')}{lacking}"


def _surface(run: Run) -> str | None:
    return run.scored_by.surface if measures_surfaces(run.metrics["metric"].unique()) else None


SURFACE: Final = Fact("what counts as surface (surface=)", _surface)
FACTS: Final = (
    Fact("the data", lambda run: _data(run, "name")),
    Fact("the kind of images", _images),
    Fact("the annotation that they were scored by", lambda run: _data(run, "annotation")),
    Fact("the part of the split that was scored", _part),
    Fact("the split", _split, _split_words),
    Fact("the cases that were scored", _cases, _cases_words),
    Fact("the rules of the score (score=)", lambda run: run.scored_by.score),
    Fact("the references", lambda run: run.scored_by.references),
    SURFACE,
    Fact("the version of the metrics", lambda run: run.scored_by.version),
)
"""What must agree, in the order in which a difference is told.

Regions need not: a method that predicts fewer is compared in those that it has.
"""
