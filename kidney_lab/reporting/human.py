"""The human ceiling in tables: how far annotators agree, out of the folder that `task=agreement` writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.metrics.table import read_metrics
from kidney_lab.reporting.differences import measures_surfaces
from kidney_lab.reporting.runs import Run, ScoredBy

NAME: Final = "human agreement"
"""Of the row in the tables of scores."""


@dataclass(frozen=True, eq=False)
class HumanAgreement:
    """Annotators scored against each other.

    Args:
        frame: tidy, `case,region,metric,value`.
        scored_by: how they were scored.
    """

    frame: pd.DataFrame
    scored_by: ScoredBy

    @classmethod
    def read(cls, folder: Path) -> "HumanAgreement":
        """Reads the folder.

        Raises:
            InputError: it is not what `task=agreement` writes.
        """
        missing = [name for name in ("agreement.json", "metrics.csv") if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"human={folder} holds no agreement of annotators (no {' and no '.join(missing)}): name a folder that "
                "task=agreement data=kits23 wrote."
            )
        return cls(read_metrics(folder), ScoredBy.read(folder / "agreement.json"))

    def of_regions(self, regions: Sequence[str]) -> pd.DataFrame:
        """Rows of the regions that runs were scored on."""
        return self.frame[self.frame["region"].isin(regions)]

    def words(self, runs: Sequence[Run]) -> str:
        """Sentence that says what the row is, and what it is not."""
        cases = set(self.frame["case"])
        scored = {case for run in runs for case in run.metrics["case"]}
        return (
            f"{NAME.capitalize()}: annotators against each other on {len(cases)} cases, {len(cases & scored)} of them "
            "among those scored here. They drew the contours of lesions that had been located for them, so this is how "
            "far contours agree, not detection; it takes no part in the tests."
            f"{self._other_surfaces(runs)}"
        )

    def _other_surfaces(self, runs: Sequence[Run]) -> str:
        """Sentence on runs whose distances are not comparable with those of the annotators; "" where all are."""
        metrics, surface = set(self.frame["metric"]), self.scored_by.surface
        unlike = [
            run.name
            for run in runs
            if surface is not None
            and run.scored_by.surface not in (None, surface)
            and measures_surfaces(metrics & set(run.metrics["metric"]))
        ]
        if not unlike:
            return ""
        return (
            f" Its scores of surfaces were made with surface={surface}, those of {', '.join(unlike)} with another, so "
            "they cannot be compared."
        )
