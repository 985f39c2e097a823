"""A paper's table against itself: which of its rows no method can have, as marks and sentences for the report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from kidney_lab.metrics.scoring import METRIC_TABLE
from kidney_lab.reporting.consistency import Finding, Printed, contradictions
from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.published_scores import PublishedScore, ScoreKey
from kidney_lab.wording import counted

MARK: Final = "\N{DAGGER}"
"""Stands before printed numbers that contradict each other."""

_DIGITS: Final = 4


@dataclass(frozen=True)
class Contradiction:
    """Scores of one row in one region that break a law.

    Args:
        row: as the paper names it.
        region: None where the scores are of no single region.
        level: of the scores.
        finding: which law, and by how much.
    """

    row: str
    region: str | None
    level: str | None
    finding: Finding

    @property
    def scores(self) -> list[tuple[str, ScoreKey]]:
        """Row and key of the scores that take part."""
        law = self.finding.law
        return [(self.row, (self.region, metric, self.level)) for metric in (law.metric, *law.given)]


def check_published(scores: Sequence[PublishedScore]) -> list[Contradiction]:
    """Checks every row of a table, region by region and level by level.

    Args:
        scores: of one table and one dataset. JSON keeps no trailing zeros, so that a metric is taken to be printed with
            as many decimals throughout as its longest number has.

    Returns:
        What contradicts itself, in the table's order.
    """
    digits: dict[str, int] = {}
    printed = [(score, score.value) for score in scores if score.value is not None]
    for score, value in printed:
        digits[score.metric] = max(digits.get(score.metric, 0), _decimals(value))
    groups: dict[tuple[str, str | None, str | None], dict[str, Printed]] = {}
    for score, value in printed:
        group = groups.setdefault((score.row, score.region, score.level), {})
        group[score.metric] = Printed(value, digits[score.metric])
    return [
        Contradiction(row, region, level, finding)
        for (row, region, level), group in groups.items()
        for finding in contradictions(group, level=level)
    ]


def marked_scores(found: Iterable[Contradiction]) -> set[tuple[str, ScoreKey]]:
    """Row and key of the numbers that no method can have together."""
    return {score for one in found if not one.finding.only_if_pooled for score in one.scores}


def check_notes(found: Sequence[Contradiction]) -> list[str]:
    """Says why, in a sentence or two for every law that is broken.

    Args:
        found: of one table; where a row cannot be at all, it need not be said that it cannot be pooled.

    Returns:
        First, with the mark, what no method can have, place by place; then what cannot come of pooled counts.
    """
    impossible = [one for one in found if not one.finding.only_if_pooled]
    places = {(one.row, one.region, one.level) for one in impossible}
    pooled = [one for one in found if one.finding.only_if_pooled and (one.row, one.region, one.level) not in places]
    return [
        *(_impossible_note(same) for same in _by_law(impossible)),
        *(_pooled_note(same) for same in _by_law(pooled)),
    ]


def _by_law(found: Iterable[Contradiction]) -> list[list[Contradiction]]:
    laws: dict[tuple[str, str, str], list[Contradiction]] = {}
    for one in found:
        law = one.finding.law
        laws.setdefault((law.metric, law.sense, law.words), []).append(one)
    return list(laws.values())


def _impossible_note(found: Sequence[Contradiction]) -> str:
    law = found[0].finding.law
    places = [
        f"{_place(one)} ({_printed(one.finding.value)}, {law.sense} {_printed(one.finding.limit)})" for one in found
    ]
    who, where = (
        ("As pooled counts no", "") if law.pooled else ("No", ", for pooled counts and for means over the same cases")
    )
    return (
        f"{MARK} {who} method can have these numbers: {METRIC_TABLE[law.metric].title} is {law.sense} {law.words}"
        f"{where}. Broken by {'; '.join(places)}."
    )


def _pooled_note(found: Sequence[Contradiction]) -> str:
    law, worst = found[0].finding.law, max(found, key=lambda one: abs(one.finding.excess))
    return (
        "The paper's own numbers are possible as means over cases alone: for pooled counts "
        f"{METRIC_TABLE[law.metric].title} is {law.sense} {law.words}. "
        f"Broken in {counted(len(found), 'place')}, most by {_place(worst)} "
        f"({_printed(worst.finding.value)}, pooled {_printed(worst.finding.limit)})."
    )


def _printed(value: float) -> str:
    return decimal(value, _DIGITS)


def _place(one: Contradiction) -> str:
    return one.row if one.region is None else f"{one.row}, {words(one.region).lower()}"


def _decimals(value: float) -> int:
    """Digits behind the point.

    >>> _decimals(0.896), _decimals(7), _decimals(1e-05)
    (3, 0, 5)
    """
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
