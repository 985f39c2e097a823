"""The numbers that a paper prints: `experiments/<paper>/published.json`."""

import json
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.errors import InputError

ScoreKey = tuple[str | None, str, str | None]
"""Region, metric and level of a number."""


@dataclass(frozen=True)
class PublishedScore:
    """One number of a paper.

    Args:
        table: without the paper, such as `table4_2`.
        row: as the paper names it.
        dataset: that the paper scored; None where it does not say.
        region: None where a number is of no single region, as a rank.
        metric: one of ours, `mean_dice`, or one that only the paper has, such as `leaderboard_rank`.
        level: `case` for means over cases; `pooled` for counts summed over cases; None for what is of no cases. A
            number of which the paper does not say it stands twice, once as each.
        value: a fraction, for Dice and the like; None where it cannot be read.
        runs_of: row whose runs these are, where the paper prints two numbers of one; None: of `row`.
        claimed_best: whether the paper's text calls the number the best of its table.
    """

    table: str
    row: str
    dataset: str | None
    region: str | None
    metric: str
    level: str | None
    value: float | None
    runs_of: str | None = None
    claimed_best: bool = False

    @property
    def key(self) -> ScoreKey:
        """What was scored, and how."""
        return self.region, self.metric, self.level


def read_published(file: Path) -> list[PublishedScore]:
    """Reads a paper's numbers, in the paper's order.

    Args:
        file: `published.json`; where there is none, nothing is published.

    Raises:
        InputError: the file is damaged.
    """
    if not file.is_file():
        return []
    try:
        return [PublishedScore(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        fields = ", ".join(PublishedScore.__dataclass_fields__)
        raise InputError(f"{file} is no list of numbers with {fields} ({error}): correct it.") from error
