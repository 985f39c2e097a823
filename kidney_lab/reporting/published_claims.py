"""A paper's text against its table: numbers that it calls the best, where another row has a better one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kidney_lab.reporting.formatting import decimal
from kidney_lab.reporting.metric_words import better, metric_name
from kidney_lab.reporting.published_scores import PublishedScore, ScoreKey

CLAIM_MARK: Final = "\N{DOUBLE DAGGER}"
"""Stands before a printed number that the text calls the best and that is not."""


@dataclass(frozen=True)
class FalseClaim:
    """A number that is called the best of its table.

    Args:
        claimed: the number.
        beaten_by: better numbers of other rows, the best first.
    """

    claimed: PublishedScore
    beaten_by: tuple[PublishedScore, ...]

    @property
    def score(self) -> tuple[str, ScoreKey]:
        """Row and key of the number."""
        return self.claimed.row, self.claimed.key

    @property
    def sentence(self) -> str:
        """Says what the text claims and what the table has."""
        others = ", ".join(f"{score.row} {decimal(score.value, 4)}" for score in self.beaten_by)
        return (
            f"{CLAIM_MARK} The paper's text calls this the best of its table, which it is not: {self.claimed.row}, "
            f"{metric_name(self.claimed.metric)} {decimal(self.claimed.value, 4)}, beside {others}."
        )


def false_claims(scores: Sequence[PublishedScore]) -> list[FalseClaim]:
    """Compares each number that is called the best with those of the other rows.

    Args:
        scores: of one table and one dataset.

    Returns:
        Claims that the table contradicts, in its order. Of a metric without a direction there is no best.
    """
    found = []
    for claimed in [score for score in scores if score.claimed_best]:
        sign = {"higher": 1, "lower": -1}.get(better(claimed.metric) or "", 0)
        ranked = [
            (sign * (other.value - claimed.value), other)
            for other in scores
            if other.key == claimed.key and other.value is not None and claimed.value is not None
        ]
        ahead = sorted([pair for pair in ranked if pair[0] > 0], key=lambda pair: -pair[0])
        if ahead:
            found.append(FalseClaim(claimed, tuple(other for _, other in ahead)))
    return found
