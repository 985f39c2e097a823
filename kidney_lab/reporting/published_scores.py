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
        level: `case` for means over cases, the only ones that are measured; `pooled` for counts summed over cases.
        value: a fraction, for Dice and the like.
        runs_of: row whose runs these are, where the paper prints two numbers of one; None: of `row`.
    """

    table: str
    row: str
    dataset: str | None
    region: str | None
    metric: str
    level: str | None
    value: float
    runs_of: str | None = None

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
